"""What a search returns: the neighbours of each query, nearest first, as one ragged table."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mmhash.errors import InputError

Metric = Literal["hamming", "cosine", "asymmetric"]
Entries = tuple[np.ndarray, np.ndarray, np.ndarray]  # query, distance and row of each entry


@dataclass(frozen=True)
class Neighbours:
    """The neighbours of n queries as a ragged table (CSR).

    Entries ``lims[q]:lims[q + 1]`` belong to query q, sorted by (distance, row). ``distances`` are
    int32 (Hamming) or float32 in [0, 2] (cosine: 1 - cos; asymmetric: 1 - hᵀb / B), ``rows`` int64
    rows of the index, ``lims`` (n + 1,) int64. ``bits`` is the code length where distances are
    Hamming distances, else 0.
    """

    lims: np.ndarray
    distances: np.ndarray
    rows: np.ndarray
    metric: Metric
    bits: int

    def __len__(self) -> int:
        return len(self.lims) - 1


def ragged(
    owner: np.ndarray, distances: np.ndarray, rows: np.ndarray, n: int, metric: Metric, bits: int
) -> Neighbours:
    """Return the table of entries sorted by (owner, distance, row); ``owner`` lies in [0, n)."""
    lims = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(np.bincount(owner, minlength=n), out=lims[1:])
    return Neighbours(lims, distances, rows, metric, bits)


def kth_distance(neighbours: Neighbours, k: int) -> np.ndarray:
    """Return each query's K-th smallest distance, (n,), from a search of at least k."""
    if len(neighbours) and np.diff(neighbours.lims).min() < k:
        raise InputError(f"{k} neighbours wanted, but the search was made with a smaller k")
    return neighbours.distances[neighbours.lims[:-1] + k - 1]
