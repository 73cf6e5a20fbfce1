"""Neighbours vote for classes: score_c = Σ w_i y_ic over the K nearest, with Σ w_i = 1.

Similarity: s = 1 - d_H / B for Hamming distances, s = (1 + cos) / 2 for cosine; both lie in [0, 1].
``softmax`` weights are w = softmax(s / tau) over the K neighbours taken; ``uniform`` weights 1 / K.

Ties at the K-th distance. ``expected``: where m of the K places fall to n tied items, each has the
expectation of its weight over all orders of the tied, m / n of a full share, so that scores do not
depend on the order of insertion. ``row_id``: the order among ties is the row id, cut at K.
"""

from typing import Literal

import numpy as np
from scipy import sparse

from mmhash.errors import InputError
from mmhash.index import Neighbours, kth_distance

Voting = Literal["softmax", "uniform"]
Ties = Literal["expected", "row_id"]


def similarity(neighbours: Neighbours) -> np.ndarray:
    """Return the similarity in [0, 1] of each entry, float64: 1 - d_H / B, or (1 + cos) / 2."""
    span = neighbours.bits if neighbours.metric == "hamming" else 2
    return 1 - neighbours.distances.astype(np.float64) / span


def weights(
    neighbours: Neighbours,
    k: int,
    voting: Voting = "softmax",
    tau: float = 0.07,
    ties: Ties = "expected",
) -> np.ndarray:
    """Return the weight of each entry of ``neighbours``, float64, summing to 1 a query.

    ``neighbours`` come from a search of at least ``k`` with the last shell complete; entries beyond
    the K-th place have weight 0. Raises InputError where fewer than k were searched, or for an
    unknown voting or ties.
    """
    if voting not in ("softmax", "uniform"):
        raise InputError(f"knn.voting is {voting!r}; allowed: softmax, uniform")
    if ties not in ("expected", "row_id"):
        raise InputError(f"knn.ties is {ties!r}; allowed: expected, row_id")
    if not len(neighbours):
        return np.empty(0)
    start, counts = neighbours.lims[:-1], np.diff(neighbours.lims)
    owner = np.repeat(np.arange(len(neighbours)), counts)
    last = kth_distance(neighbours, k)[owner]
    if ties == "row_id":
        share = (np.arange(len(owner)) - start[owner] < k).astype(np.float64)
    else:
        nearer = neighbours.distances < last
        tied = neighbours.distances == last
        places = k - np.add.reduceat(nearer, start, dtype=np.int64)
        share = nearer + tied * (places / np.add.reduceat(tied, start, dtype=np.int64))[owner]
    if voting == "softmax":
        if not tau > 0:
            raise InputError(f"knn.tau is {tau}; it must be greater than 0")
        s = similarity(neighbours)
        share *= np.exp((s - s[start][owner]) / tau)  # the nearest comes first: exponents <= 0
    return share / np.add.reduceat(share, start)[owner]


def vote(
    neighbours: Neighbours,
    labels: np.ndarray | sparse.csr_array,
    k: int,
    voting: Voting = "softmax",
    tau: float = 0.07,
    ties: Ties = "expected",
) -> np.ndarray:
    """Return the class scores (n, C) float32 in [0, 1] of n queries.

    ``labels`` (M, C) of 0 and 1 belong to the index's rows; pass a CSR matrix where many chunks of
    queries share it. ``k``, ``voting``, ``tau`` and ``ties`` as in :func:`weights`.
    """
    matrix = labels if sparse.issparse(labels) else sparse.csr_array(labels, dtype=np.float64)
    shape = (len(neighbours), matrix.shape[0])
    w = weights(neighbours, k, voting, tau, ties)
    table = sparse.csr_array((w, neighbours.rows, neighbours.lims), shape=shape)
    return np.clip((table @ matrix).toarray(), 0, 1).astype(np.float32)
