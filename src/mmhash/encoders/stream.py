"""New pictures and captions to vectors, a piece at a time, just as the extraction makes them."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmhash.encoders.batch import BatchSize
from mmhash.encoders.checkpoint import Towers
from mmhash.encoders.pictures import CHUNK, decoded_lists
from mmhash.encoders.rows import encode_captions, encode_pictures, finished, stored
from mmhash.encoders.text import lowered

Picture = Path | str | bytes  # a path, or what a picture file holds


class Vectors(NamedTuple):
    """The pictures ``start`` to ``stop`` of a stream.

    ``readable`` are the positions of those that could be read, ``reasons`` says by position why
    others could not. ``image`` (n, D_i) and ``text`` (n, D_t) belong to the readable ones; where
    ``captioned`` (n,) is False there was no caption, and the text's row is zero, which no model
    must be given.
    """

    start: int
    stop: int
    readable: list[int]
    reasons: dict[int, str]
    image: np.ndarray
    text: np.ndarray
    captioned: np.ndarray


def stream_vectors(
    pictures: Sequence[Picture],
    captions: Sequence[str | None],
    towers: Towers,
    *,
    dtype: str,
    normalise: bool,
    batch: int,
    workers: int = 0,
    prefetch_factor: int = 2,
    pin_memory: bool = False,
) -> Iterator[Vectors]:
    """Encode pictures, each with its caption or None, and yield pieces of at least a batch.

    ``dtype`` and ``normalise`` are those of the stored features. ``workers`` processes decode where
    there is more than one chunk of paths to decode. Memory is that of a few pieces.
    """
    size = BatchSize(batch)
    step = -(-batch // CHUNK) * CHUNK
    files: list[Any] = [BytesIO(one) if isinstance(one, bytes) else str(one) for one in pictures]
    many = len(files) > CHUNK and not any(isinstance(one, bytes) for one in pictures)
    lists = [files[first : first + CHUNK] for first in range(0, len(files), CHUNK)]
    chunks = decoded_lists(
        lists,
        towers.pixels,
        workers=min(workers, len(lists)) if many else 0,
        prefetch_factor=prefetch_factor,
        pin_memory=pin_memory and towers.device.type == "cuda",
    )
    kept: dict[str, Any] = {"dtype": np.dtype(dtype), "normalise": normalise}
    for start in range(0, len(files), step):
        stop = min(start + step, len(files))
        vectors, bad = finished(encode_pictures(stop - start, chunks, towers, size))
        readable = [at for at in range(start, stop) if at - start not in bad]
        said = lowered([one for at in readable if (one := captions[at]) is not None])
        image = stored(vectors, towers.width_image, **kept)
        captioned = np.array([captions[at] is not None for at in readable], dtype=bool)
        text = np.zeros((len(readable), towers.width_text), dtype=image.dtype)
        text[captioned] = finished(encode_captions(said, towers, size, **kept))
        reasons = {start + at: reason for at, reason in bad.items()}
        yield Vectors(start, stop, readable, reasons, image, text, captioned)
