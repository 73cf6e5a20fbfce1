"""Pictures and captions through the towers in batches, to vectors as they are stored."""

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from functools import partial
from itertools import repeat
from typing import Any, TypeVar

import numpy as np
import torch

from mmhash.encoders.batch import BatchSize
from mmhash.encoders.checkpoint import Towers
from mmhash.encoders.pictures import Chunk
from mmhash.encoders.pixels import Pictures

T = TypeVar("T")


def encode_pictures(
    count: int, chunks: Iterator[Chunk], towers: Towers, size: BatchSize
) -> Generator[None, None, tuple[list[torch.Tensor], dict[int, str]]]:
    """Encode the next ``count`` pictures; returns the vectors and {position: why unreadable}.

    ``chunks`` are what :func:`mmhash.encoders.pictures.decoded` yields for them. Yields once for
    every picture done. Chunks are gathered on the device to batches of readable pictures, so that
    where a batch ends depends on the batch size alone. Nothing here waits for the device (but a
    naflex tower, once a batch).
    """
    vectors: list[torch.Tensor] = []
    reasons: dict[int, str] = {}
    waiting: Pictures | None = None
    first = 0
    while first < count:
        pictures, bad = next(chunks)
        reasons |= {first + position: reason for position, reason in bad}
        chunk = len(pictures.grids) + len(bad)
        first += chunk
        pixels = pictures.pixels.to(towers.device, non_blocking=True)
        if waiting is None:
            held = Pictures(pixels, pictures.grids)
        else:
            held = Pictures(*map(torch.cat, zip(waiting, (pixels, pictures.grids), strict=True)))
        done = 0
        for piece in _in_batches(
            partial(_encode_rows, towers, held), len(held.grids), size, last=first >= count
        ):
            vectors.append(piece)
            done += len(piece)
        waiting = held.rows(done, len(held.grids))
        yield from repeat(None, chunk)
    return vectors, reasons


def _encode_rows(towers: Towers, pictures: Pictures, start: int, stop: int) -> torch.Tensor:
    return towers.encode_images(pictures.rows(start, stop))


def encode_captions(
    texts: list[str], towers: Towers, size: BatchSize, dtype: np.dtype, normalise: bool
) -> Generator[None, None, np.ndarray]:
    """Encode captions; returns their vectors as they are stored, (n, D_t), a row a caption.

    Equal captions have equal vectors: one pass serves. Yields once for every caption done.
    """
    unique = list(dict.fromkeys(texts))
    vectors: list[torch.Tensor] = []
    for piece in _in_batches(
        lambda start, stop: towers.encode_texts(unique[start:stop]), len(unique), size, last=True
    ):
        vectors.append(piece)
        yield from repeat(None, len(piece))
    yield from repeat(None, len(texts) - len(unique))
    place = {text: row for row, text in enumerate(unique)}
    order = np.array([place[text] for text in texts], dtype=np.int64)
    return stored(vectors, towers.width_text, dtype, normalise)[order]


def _in_batches(
    encode: Callable[[int, int], torch.Tensor], count: int, size: BatchSize, last: bool
) -> Iterator[torch.Tensor]:
    """Yield ``encode(start, stop)`` for full batches of ``count`` rows, and the rest if ``last``.

    Where the device has no room for a batch it is tried again in halves, and the size stays halved.
    """
    start = 0
    while count - start >= size.rows or (last and start < count):
        piece = None
        with suppress(torch.OutOfMemoryError):
            piece = encode(start, min(start + size.rows, count))
        if piece is None:  # only here has the traceback let go of the failed batch's memory
            size.halve()
            continue
        start += len(piece)
        yield piece


def stored(pieces: list[torch.Tensor], width: int, dtype: np.dtype, normalise: bool) -> np.ndarray:
    """Return the vectors as they are stored, (rows, ``width``), fetched from the device at once."""
    if not pieces:
        return np.empty((0, width), dtype=dtype)
    vectors = torch.cat(pieces).cpu().numpy()
    with np.errstate(all="ignore"):  # what is not finite is reported with its image
        if normalise:
            vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors.astype(dtype)


def finished(work: Generator[Any, None, T]) -> T:
    """Do ``work`` to its end and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value
