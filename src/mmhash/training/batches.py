"""Features as arrays, and which rows and captions make up each step of an epoch."""

import warnings
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from mmhash.errors import InputError
from mmhash.seeding import numpy_stream

# What the features may take of the free memory of a GPU; the rest is for weights and activations.
RESIDENT_SHARE = 0.5


@dataclass(frozen=True)
class Features:
    """Image and caption vectors with labels; the arrays may be memory-mapped.

    ``image`` (N, D_i) and ``text`` (ΣT, D_t) float16 or float32; caption t of row i is
    ``text[caption_offset[i] + t]``, with ``caption_offset`` (N + 1,) int64; ``labels`` (N, C)
    uint8. Raises :class:`InputError` where the shapes do not belong together.
    """

    image: np.ndarray
    text: np.ndarray
    caption_offset: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.image)
        for name, array in (("image", self.image), ("text", self.text), ("labels", self.labels)):
            if array.ndim != 2:
                raise InputError(f"{name} features have shape {array.shape}; two axes are needed")
        if len(self.labels) != n:
            raise InputError(f"{n} image rows but {len(self.labels)} label rows; they must match")
        offset = self.caption_offset
        if (
            offset.shape != (n + 1,)
            or int(offset[0]) != 0
            or int(offset[-1]) != len(self.text)
            or bool((np.diff(offset) < 0).any())
        ):
            raise InputError(
                f"caption_offset must rise from 0 to {len(self.text)} in {n + 1} values "
                f"(one a row and the end); it has shape {offset.shape}"
            )

    def captions_per_row(self, rows: np.ndarray) -> np.ndarray:
        """Return how many captions each of ``rows`` has."""
        return self.caption_offset[rows + 1] - self.caption_offset[rows]

    def first_pairs(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return image (n, D_i) and first caption (n, D_t) of each of ``rows``, float32."""
        image = np.asarray(self.image[rows], dtype=np.float32)
        return image, np.asarray(self.text[self.caption_offset[rows]], dtype=np.float32)


class EpochPlan(NamedTuple):
    """The rows of an epoch in order, and beside each the row of ``text`` drawn for it."""

    rows: np.ndarray
    captions: np.ndarray


def plan_epoch(features: Features, rows: np.ndarray, seed: int, epoch: int) -> EpochPlan:
    """Shuffle ``rows`` and draw one caption each, both by (``seed``, ``epoch``) alone.

    The captions are drawn in the order of ``rows``, before shuffling, from a stream of their own.
    """
    count = features.captions_per_row(rows)
    draw = numpy_stream(seed, "caption", epoch).random(len(rows))
    # A draw just below 1 times a large count may round up to the count itself.
    chosen = np.minimum((draw * count).astype(np.int64), count - 1)
    captions = features.caption_offset[rows] + chosen
    order = numpy_stream(seed, "shuffle", epoch).permutation(len(rows))
    return EpochPlan(rows[order], captions[order])


def micro_batches(count: int, batch_size: int) -> list[tuple[int, int]]:
    """Cut ``count`` rows into (start, stop) slices of ``batch_size``, the last one shorter.

    A last slice of a single row joins the slice before it: BatchNorm cannot normalise one row.

    >>> micro_batches(7, 3)
    [(0, 3), (3, 7)]
    """
    starts = list(range(0, count, batch_size))
    if len(starts) > 1 and batch_size > 1 and count - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], count], strict=True))


def windows(count: int, batch_size: int, accumulation: int) -> list[list[tuple[int, int]]]:
    """Group the micro batches of an epoch into optimiser steps of ``accumulation`` each.

    The last window may hold fewer; it is a step like the others.
    """
    slices = micro_batches(count, batch_size)
    return [slices[at : at + accumulation] for at in range(0, len(slices), accumulation)]


def grouped(window: list[tuple[int, int]], rows: int) -> list[list[tuple[int, int]]]:
    """Group the consecutive micro batches of a window, those of one size, up to ``rows`` rows.

    A micro batch with more rows than that is a group of its own.

    >>> grouped([(0, 4), (4, 8), (8, 12), (12, 13)], 8)
    [[(0, 4), (4, 8)], [(8, 12)], [(12, 13)]]
    """
    groups = [[window[0]]]
    for start, stop in window[1:]:
        first, end = groups[-1][0]
        if stop - start == end - first and stop - first <= rows:
            groups[-1].append((start, stop))
        else:
            groups.append([(start, stop)])
    return groups


class Store(Protocol):
    """Where the loop gets the vectors of a micro batch from: stored, or from towers that learn."""

    device: torch.device
    labels: Tensor

    def index(self, rows: np.ndarray) -> Tensor:
        """Return row numbers as a tensor where :meth:`batch` wants them."""

    def batch(self, rows: Tensor, captions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (image (n, D_i), text (n, D_t), labels (n, C) float32) on the device."""


class FeatureStore:
    """Features as tensors, on the computing device if they fit, and gathered from there."""

    def __init__(self, features: Features, device: torch.device) -> None:
        self.device = device
        arrays = (features.image, features.text, features.labels)
        home = torch.device("cpu")
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if sum(array.nbytes for array in arrays) < RESIDENT_SHARE * free:
                home = device
        self.home = home
        with warnings.catch_warnings():
            # PyTorch warns of read-only memory maps; nothing here writes to them.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self.image, self.text, self.labels = (
                torch.from_numpy(np.asarray(array)).to(home) for array in arrays
            )

    def index(self, rows: np.ndarray) -> Tensor:
        """Return row numbers as a tensor where the features are."""
        return torch.from_numpy(np.ascontiguousarray(rows, dtype=np.int64)).to(self.home)

    def batch(self, rows: Tensor, captions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (image (n, D_i), text (n, D_t), labels (n, C) float32) on the device."""
        image = self.image.index_select(0, rows).to(self.device, non_blocking=True)
        text = self.text.index_select(0, captions).to(self.device, non_blocking=True)
        labels = self.labels.index_select(0, rows).to(self.device, non_blocking=True)
        return image, text, labels.float()
