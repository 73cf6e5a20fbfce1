"""Real vectors: scaled to length one, and inner-product distances in which equal vectors tie."""

import numpy as np

DISTANCE_STEPS = 1 << 30  # finer than float32 vectors are known, far coarser than float64 noise
ENTRIES_A_BLOCK = 1 << 22


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Return (n, D) vectors scaled to length one as float32; a zero vector stays zero."""
    length = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(length == 0, 1, length), dtype=np.float32)


def product_distance(product: np.ndarray) -> np.ndarray:
    """Return 1 - product in [0, 2] as float32, in steps that keep equal products tied.

    Sums taken in another order differ in their last bits; float32 alone would show that near 0.
    """
    steps = np.rint((1 - product) * DISTANCE_STEPS) / DISTANCE_STEPS
    return np.clip(steps, 0, 2).astype(np.float32)


def pair_distances(
    items: np.ndarray, queries: np.ndarray, row: np.ndarray, owner: np.ndarray
) -> np.ndarray:
    """Return 1 - queries[owner] · items[row] of each pair (n,) as float32.

    ``items`` (M, D) and ``queries`` (Q, D) are float32; sums are float64. Works on blocks of
    pairs, so that memory beyond the result stays bounded.
    """
    result = np.empty(len(row), dtype=np.float32)
    step = max(1, ENTRIES_A_BLOCK // items.shape[1])
    for start in range(0, len(row), step):
        part = slice(start, start + step)
        left = queries[owner[part]].astype(np.float64)
        product = np.einsum("ij,ij->i", left, items[row[part]].astype(np.float64))
        result[part] = product_distance(product)
    return result
