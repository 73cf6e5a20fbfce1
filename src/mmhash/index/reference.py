"""The reference of every search: all pairs compared, and the recall of others against it."""

import numpy as np

from mmhash.codes import hamming, unpack
from mmhash.index.neighbours import Metric, Neighbours, ragged
from mmhash.index.vectors import product_distance, unit_rows

ITEM_BLOCK = 4096


def brute_force(items: np.ndarray, queries: np.ndarray, k: int) -> Neighbours:
    """Return every item at a distance up to the K-th smallest, by comparing every pair.

    Packed codes (uint8) on both sides: Hamming distances. Real vectors on both: 1 - cos. Real soft
    codes h as queries against packed codes b: the asymmetric distance 1 - hᵀb / B. Memory grows
    with n × size: the reference for tests and for the recall of indexes.
    """
    metric: Metric = "cosine"
    if items.dtype == np.uint8 and queries.dtype == np.uint8:
        metric = "hamming"
        distances = hamming(queries, items).astype(np.int32)
    elif items.dtype == np.uint8:
        metric = "asymmetric"
        signs = unpack(items).astype(np.float64) * 2 - 1
        distances = product_distance(queries.astype(np.float64) @ signs.T / signs.shape[1])
    else:
        left, right = unit_rows(queries).astype(np.float64), unit_rows(items)
        distances = np.empty((len(queries), len(items)), dtype=np.float32)
        for start in range(0, len(items), ITEM_BLOCK):
            part = slice(start, start + ITEM_BLOCK)
            distances[:, part] = product_distance(left @ right[part].astype(np.float64).T)
    kth = np.partition(distances, k - 1, axis=1)[:, k - 1 : k]
    owner, row = np.nonzero(distances <= kth)
    order = np.lexsort((row, distances[owner, row], owner))
    owner, row = owner[order], row[order]
    bits = items.shape[1] * 8 if metric == "hamming" else 0
    return ragged(owner, distances[owner, row], row, len(queries), metric, bits)


def tie_aware_recall(found: np.ndarray, reference_kth_distance: np.ndarray) -> float:
    """Return the share of found items at a distance up to the true K-th, over all queries.

    ``found`` (n, K) holds the distances of the K items that an index returned (what it could not
    fill carries a distance larger than any other); ``reference_kth_distance`` (n,). Any item of
    the K-th shell counts: which of the tied are returned is not an error.
    """
    return float((found <= reference_kth_distance[:, None]).mean())
