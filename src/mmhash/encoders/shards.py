"""Finished pieces of an extraction: whole or not there, so that a killed run goes on after them.

A shard is one safetensors file for a range of rows of the image table: ``image_id`` (n,), ``image``
(n, D_i), ``caption_count`` (n,), ``text`` (Σ caption_count, D_t) for the n readable images of the
range, and in its metadata the unreadable ones. Shards are written one by one and strung together at
the end, so memory does not grow with the number of images.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mmhash.files import atomic_path, write_npy


def shard_ranges(count: int, size: int) -> list[tuple[int, int]]:
    """Return the row ranges [start, stop) of shards of ``size`` rows."""
    return [(start, min(start + size, count)) for start in range(0, count, size)]


def shard_path(cache: Path, rows: tuple[int, int]) -> Path:
    """Return the file of the shard of ``rows``."""
    return cache / f"{rows[0]:08d}-{rows[1]:08d}.safetensors"


def write_shard(path: Path, arrays: dict[str, np.ndarray], bad: list[dict[str, Any]]) -> None:
    """Write a shard atomically; ``bad`` describes its unreadable images."""
    with atomic_path(path) as temporary:
        save_file(arrays, temporary, metadata={"bad": json.dumps(bad)})


def read_bad(path: Path) -> list[dict[str, Any]] | None:
    """Return the unreadable images of a shard, or None where there is no whole shard yet."""
    try:
        with safe_open(path, framework="numpy") as shard:
            bad: list[dict[str, Any]] = json.loads(shard.metadata()["bad"])
            return bad
    except (FileNotFoundError, SafetensorError):
        return None


def assemble(paths: Sequence[Path], out: Path) -> tuple[int, int]:
    """String the shards together into the feature arrays below ``out``; returns (images, captions).

    ``image.npy``, ``text.npy`` and ``image_id.npy`` in the order of ``paths``, and
    ``caption_offset.npy`` (n + 1,): caption t of image i is row ``caption_offset[i] + t``.
    """
    image_id = np.concatenate(list(_each(paths, "image_id")))
    counts = np.concatenate(list(_each(paths, "caption_count")))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    images, captions = len(image_id), int(offsets[-1])
    _string(out / "image.npy", lambda: _each(paths, "image"), images)
    _string(out / "text.npy", lambda: _each(paths, "text"), captions)
    write_npy(out / "caption_offset.npy", offsets)
    write_npy(out / "image_id.npy", image_id)
    return images, captions


def _each(paths: Sequence[Path], name: str) -> Iterator[np.ndarray]:
    for path in paths:
        with safe_open(path, framework="numpy") as shard:
            yield shard.get_tensor(name)


def _string(path: Path, pieces: Callable[[], Iterator[np.ndarray]], rows: int) -> None:
    """Write the pieces one after another as one .npy array of ``rows`` rows.

    Written as a stream and not through a memory map, whose dirty pages would count as this
    process's memory until the system gets round to writing them.
    """
    first = next(pieces())
    header = {
        "descr": np.lib.format.dtype_to_descr(first.dtype),
        "fortran_order": False,
        "shape": (rows, *first.shape[1:]),
    }
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for piece in pieces():
            stream.write(np.ascontiguousarray(piece).data)
