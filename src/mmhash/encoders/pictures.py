"""Picture files to pixels in worker processes, and decoded pictures kept in one file.

Frozen towers see every picture once; towers that learn see it in every epoch. Decoding costs more
than reading the pixels back, so for training it is done once, into a file that is read row by row:
123,287 pictures of 256 × 256 are 24 GB, which no memory has to hold.
"""

import fcntl
import math
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, Dataset

from mmhash.encoders import pixels
from mmhash.encoders.pixels import Pictures, PixelSettings, decode, empty_pictures
from mmhash.errors import InputError
from mmhash.files import atomic_path, digest, read_npy, write_npy
from mmhash.progress import track

CHUNK = 32  # pictures that a worker decodes at a time; bounds the memory of the queue
GB = 1e9

Locate = Callable[[str, str], Path]
Chunk = tuple[Pictures, list[tuple[int, str]]]


def decoded(
    images: pa.Table,
    locate: Locate,
    ranges: list[tuple[int, int]],
    settings: PixelSettings,
    *,
    chunk: int = CHUNK,
    workers: int = 0,
    prefetch_factor: int = 2,
    pin_memory: bool = False,
) -> Iterator[Chunk]:
    """Decode the pictures of the row ``ranges`` in order, ``chunk`` at a time, never across two.

    Yields what :func:`mmhash.encoders.pixels.decode` returns. The order, and so the result, is the
    same whatever the number of ``workers``.
    """
    lists = _Chunks(images, locate, ranges, chunk)
    return decoded_lists(lists, settings, workers, prefetch_factor, pin_memory)


def decoded_lists(
    lists: Iterable[list[Any]],
    settings: PixelSettings,
    workers: int = 0,
    prefetch_factor: int = 2,
    pin_memory: bool = False,
) -> Iterator[Chunk]:
    """Decode lists of picture files (paths, or without workers open streams), one after another."""
    loader = DataLoader(
        _Decoder(settings),
        sampler=lists,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=prefetch_factor if workers else None,
        pin_memory=pin_memory,
        worker_init_fn=_leave_ctrl_c_to_the_parent,
        generator=torch.Generator(),  # or it would draw from, and so move, the global stream
    )
    return iter(loader)


def _leave_ctrl_c_to_the_parent(_: int) -> None:
    """Ignore the signal: a terminal sends it to the workers too, and the parent stops them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Decoder(Dataset[Chunk]):
    """Decodes a list of paths; all that a worker process holds is the pixel settings."""

    def __init__(self, settings: PixelSettings) -> None:
        self.settings = settings

    def __getitem__(self, paths: Any) -> Chunk:
        return decode(paths, self.settings)


class _Chunks:
    """Yields the paths of the pictures to decode, ``chunk`` at a time, never across two ranges."""

    def __init__(
        self, images: pa.Table, locate: Locate, ranges: list[tuple[int, int]], chunk: int
    ) -> None:
        self.images, self.locate, self.ranges, self.chunk = images, locate, ranges, chunk

    def __iter__(self) -> Iterator[list[str]]:
        for start, stop in self.ranges:
            for first in range(start, stop, self.chunk):
                rows = self.images.slice(first, min(self.chunk, stop - first))
                rows = rows.select(["folder", "file_name"])
                yield [
                    str(self.locate(row["folder"], row["file_name"])) for row in rows.to_pylist()
                ]


class PictureFile:
    """Decoded pictures on disk. Rows are read, not mapped: mapped pages would count as memory."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("rb")  # stays readable if the file is deleted meanwhile
        np.lib.format.read_magic(self._stream)
        shape, _, _ = np.lib.format.read_array_header_1_0(self._stream)
        self._start, self._shape = self._stream.tell(), shape[1:]
        self.grids = torch.from_numpy(read_npy(_grids_path(path)))

    def __len__(self) -> int:
        return len(self.grids)

    def rows(self, rows: np.ndarray) -> Pictures:
        """Return the pictures ``rows`` (n,) in the given order, as they were decoded."""
        out = np.empty((len(rows), *self._shape), dtype=np.uint8)
        size = math.prod(self._shape)
        for place, row in zip(out, rows.tolist(), strict=True):
            if os.preadv(self._stream.fileno(), [place.data], self._start + row * size) != size:
                raise InputError(f"{self._stream.name}: ends too early; delete it and run again")
        return Pictures(torch.from_numpy(out), self.grids[torch.from_numpy(rows)])


def decode_once(
    images: pa.Table,
    locate: Locate,
    settings: PixelSettings,
    folder: Path,
    *,
    raw: str = "",
    workers: int = 0,
    prefetch_factor: int = 2,
) -> PictureFile:
    """Return the pictures of ``images`` decoded, from ``folder`` if they are there already.

    ``images`` has columns folder and file_name; ``raw`` is a digest of the raw data, whose pictures
    themselves are not compared. Only the newest file is kept: each takes 24 GB at COCO's size.

    Raises :class:`InputError` where a picture cannot be read (all of them named) or the disk has
    no room.
    """
    names = [images[column].to_pylist() for column in ("folder", "file_name")]
    looks = {key: value for key, value in asdict(settings).items() if key not in ("mean", "std")}
    # The code that decodes, and not that of the whole library: an edit elsewhere keeps the file.
    code = Path(pixels.__file__).read_bytes()
    key = digest(names, looks, raw, PIL.__version__, code)
    path = folder / f"{key[:32]}.npy"
    folder.mkdir(parents=True, exist_ok=True)
    # A second run waits for the pictures that the first one decodes.
    with (folder / "lock").open("w", encoding="utf-8") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        if not path.is_file():
            for old in folder.glob("*.npy"):  # what a kill left half written, too
                old.unlink()
            chunks = decoded(
                images,
                locate,
                [(0, images.num_rows)],
                settings,
                workers=workers,
                prefetch_factor=prefetch_factor,
            )
            _write(path, chunks, images, settings)
        return PictureFile(path)


def _grids_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}-grids.npy")


def _write(path: Path, chunks: Iterator[Chunk], images: pa.Table, settings: PixelSettings) -> None:
    """Write the pixels, as a stream, behind the grids: the pixels' file says that all is there."""
    shape = (images.num_rows, *empty_pictures(settings).pixels.shape[1:])
    free = shutil.disk_usage(path.parent).free
    if free < math.prod(shape):
        raise InputError(
            f"the decoded pictures take {math.prod(shape) / GB:.1f} GB, and {path.parent} has "
            f"{free / GB:.1f} GB free; free some space, or lower "
            "datasets.<name>.encoder.max_num_patches"
        )
    grids: list[torch.Tensor] = []
    bad: list[str] = []
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for first in track(range(shape[0]), shape[0], "decode", "picture"):
            if first % CHUNK:
                continue
            pictures, unreadable = next(chunks)
            for position, reason in unreadable:
                row = images.slice(first + position, 1).to_pylist()[0]
                bad.append(f"{row['folder']}/{row['file_name']} ({reason})")
            stream.write(pictures.pixels.numpy().data)
            grids.append(pictures.grids)
        if bad:
            raise InputError(
                f"{len(bad)} of {images.num_rows} pictures cannot be read any more: "
                f"{', '.join(bad)}; replace them, or leave them out with "
                "features.on_bad_image=skip and dvc repro -f extract_features"
            )
        write_npy(_grids_path(path), torch.cat(grids).numpy())
