"""Health of binary codes: does each bit carry information, do different items differ?"""

from typing import Any

import numpy as np
from scipy.special import entr

from mmhash.codes import unpack


def code_metrics(codes: np.ndarray, soft: np.ndarray | None = None) -> dict[str, Any]:
    """Return figures of packed codes (n, B / 8) uint8 as a flat dict of plain numbers.

    bit_imbalance: mean over bits of |mean of b|, b in {-1, 1}; 0 is balanced, 1 a constant bit.
    bit_correlation: mean |Pearson correlation| over pairs of bits; constant bits have none and are
    left out (constant_bits counts them; 0 where fewer than two bits vary). bit_entropy: mean over
    bits of the binary entropy, at most 1. quantisation_error: mean (|h| - 1)² of the soft codes
    ``soft`` (n, B), absent without them. unique_codes and unique_share = unique_codes / n.
    code_entropy: entropy in bits of the distribution of whole codes, at most
    code_entropy_limit = min(B, log2 n). collisions: items whose code another item has too;
    collision_probability: chance that two different items have equal codes; largest_bucket: items
    of the commonest code.
    """
    n = len(codes)
    mean = bit_means(codes)
    correlation = bit_correlation(codes)
    varying = np.abs(mean) < 1
    pairs = np.abs(correlation[np.ix_(varying, varying)])
    count = int(varying.sum())
    off_diagonal = (pairs.sum() - count) / (count * (count - 1)) if count > 1 else 0.0
    sizes = bucket_sizes(codes)
    share = sizes / n
    figures: dict[str, Any] = {
        "bit_imbalance": float(np.abs(mean).mean()),
        "bit_correlation": float(off_diagonal),
        "bit_entropy": float(_binary_entropy((1 + mean) / 2).mean()),
        "constant_bits": int(len(mean) - count),
        "unique_codes": len(sizes),
        "unique_share": len(sizes) / n,
        "code_entropy": float(entr(share).sum() / np.log(2)),
        "code_entropy_limit": float(min(len(mean), np.log2(n))),
        "collisions": int(sizes[sizes > 1].sum()),
        "collision_probability": float((sizes * (sizes - 1.0)).sum() / max(1.0, n * (n - 1.0))),
        "largest_bucket": int(sizes.max()),
    }
    if soft is not None:
        figures["quantisation_error"] = quantisation_error(soft)
    return figures


def bit_means(codes: np.ndarray) -> np.ndarray:
    """Return the mean of each bit as ±1, (B,) float64."""
    return 2 * unpack(codes).mean(axis=0, dtype=np.float64) - 1


def bit_correlation(codes: np.ndarray) -> np.ndarray:
    """Return the Pearson correlation of the bits, (B, B) float64; 0 where a bit is constant."""
    bits = unpack(codes).astype(np.float32)  # sums of products are integers, exact below 2^24 items
    both = (bits.T @ bits).astype(np.float64) / len(bits)
    ones = np.diag(both)
    covariance = both - np.outer(ones, ones)
    deviation = np.sqrt(ones * (1 - ones))
    scale = np.outer(deviation, deviation)
    return np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)


def bucket_sizes(codes: np.ndarray) -> np.ndarray:
    """Return the number of items of each code that occurs, (unique codes,) int64."""
    rows = np.ascontiguousarray(codes)
    keys = rows.view(np.dtype((np.void, rows.shape[1])))
    if rows.shape[1] == 8:  # integers sort much faster than strings of bytes
        keys = rows.view(np.uint64)
    return np.unique(keys.ravel(), return_counts=True)[1]


def quantisation_error(soft: np.ndarray) -> float:
    """Return mean (|h| - 1)² of soft codes in [-1, 1], the loss term L_quant; 0 is fully binary."""
    return float(((np.abs(soft.astype(np.float64)) - 1) ** 2).mean())


def _binary_entropy(p: np.ndarray) -> np.ndarray:
    return (entr(p) + entr(1 - p)) / np.log(2)
