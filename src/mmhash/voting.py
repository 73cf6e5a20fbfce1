"""Neighbours vote for classes: score_c = Σ w_i y_ic over the K nearest, with Σ w_i = 1.

Similarity: s = 1 - d_H / B for Hamming distances, s = 1 - d / 2 for the others, which is
(1 + cos) / 2 for cosine and (1 + hᵀb / B) / 2 for asymmetric; all lie in [0, 1]. Weights over the K
neighbours taken: ``softmax`` w = softmax(s / tau); ``uniform`` 1 / K; ``rank`` w ∝ 1 / r for the
r-th nearest; ``threshold`` equal for those with s >= threshold, and where none has that the nearest
alone.

Ties. ``expected``: each item has the expectation of its weight over all orders of the tied, so that
scores do not depend on the order of insertion. A shell of n tied items that fills the places p to
q of the K gives each item the n-th part of what those places weigh: (q - p + 1) / n of a full
share, or of Σ 1 / r from p to q with ``rank``. ``row_id``: the order among ties is the row id, cut
at K.
"""

from typing import Literal

import numpy as np
from scipy import sparse

from mmhash.errors import InputError
from mmhash.index.neighbours import Neighbours, kth_distance

Voting = Literal["softmax", "uniform", "rank", "threshold"]
Ties = Literal["expected", "row_id"]


def similarity(neighbours: Neighbours) -> np.ndarray:
    """Return the similarity in [0, 1] of each entry, float64: 1 - d_H / B, or 1 - d / 2."""
    span = neighbours.bits if neighbours.metric == "hamming" else 2
    return 1 - neighbours.distances.astype(np.float64) / span


def weights(
    neighbours: Neighbours,
    k: int,
    voting: Voting = "softmax",
    tau: float = 0.07,
    ties: Ties = "expected",
    threshold: float = 0.8,
) -> np.ndarray:
    """Return the weight of each entry of ``neighbours``, float64, summing to 1 a query.

    ``neighbours`` come from a search of at least ``k`` with the last shell complete; entries beyond
    the K-th place have weight 0, but for the nearest of ``threshold``, which share one vote however
    many they are. Raises InputError where fewer than k were searched, or for an unknown voting or
    ties.
    """
    if voting not in ("softmax", "uniform", "rank", "threshold"):
        allowed = "softmax, uniform, rank, threshold"
        raise InputError(f"knn.voting is {voting!r}; allowed: {allowed}")
    if ties not in ("expected", "row_id"):
        raise InputError(f"knn.ties is {ties!r}; allowed: expected, row_id")
    if not len(neighbours):
        return np.empty(0)
    kth_distance(neighbours, k)  # refuses a narrower search
    start = neighbours.lims[:-1]
    owner = np.repeat(np.arange(len(neighbours)), np.diff(neighbours.lims))
    place, size = _shells(neighbours, owner, ties)
    if voting == "rank":
        share = _share(place, size, np.cumsum(np.append(0, 1 / np.arange(1, k + 1))))
    else:
        share = _share(place, size, np.arange(k + 1.0))
    if voting == "softmax":
        if not tau > 0:
            raise InputError(f"knn.tau is {tau}; it must be greater than 0")
        s = similarity(neighbours)
        share *= np.exp((s - s[start][owner]) / tau)  # the nearest comes first: exponents <= 0
    elif voting == "threshold":
        enough = similarity(neighbours) >= threshold
        nearest = _share(place, size, np.arange(2.0))
        share = np.where(enough[start][owner], share * enough, nearest)
    return share / np.add.reduceat(share, start)[owner]


def _shells(neighbours: Neighbours, owner: np.ndarray, ties: Ties) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each entry, the places before its shell of tied items and the shell's size."""
    place = np.arange(len(owner)) - neighbours.lims[:-1][owner]
    if ties == "row_id":
        return place, np.ones_like(place)
    new = np.ones(len(owner), dtype=bool)
    new[1:] = (np.diff(neighbours.distances) != 0) | (np.diff(owner) != 0)
    shell = np.cumsum(new) - 1
    return place[new][shell], np.bincount(shell)[shell]


def _share(place: np.ndarray, size: np.ndarray, weight_up_to: np.ndarray) -> np.ndarray:
    """Return the mean over its shell of what the places that the shell fills weigh.

    ``weight_up_to`` (K + 1,): the summed weights of the first 0, 1, ..., K places.
    """
    last = len(weight_up_to) - 1
    filled = weight_up_to[np.minimum(place + size, last)] - weight_up_to[np.minimum(place, last)]
    return filled / size


def vote(
    neighbours: Neighbours, labels: np.ndarray | sparse.csr_array, w: np.ndarray
) -> np.ndarray:
    """Return the class scores (n, C) float32 in [0, 1] of n queries.

    ``labels`` (M, C) of 0 and 1 belong to the index's rows; pass a CSR matrix where many chunks of
    queries share it. ``w`` are the entries' :func:`weights`.
    """
    matrix = labels if sparse.issparse(labels) else sparse.csr_array(labels, dtype=np.float64)
    shape = (len(neighbours), matrix.shape[0])
    table = sparse.csr_array((w, neighbours.rows, neighbours.lims), shape=shape)
    return np.clip((table @ matrix).toarray(), 0, 1).astype(np.float32)
