"""Bootstrap intervals over images (Efron & Tibshirani 1993).

A resample of n images with replacement is a vector of n counts. Figures are computed from the
counts as weights, with the ranking done once; for the same counts they equal those of the resampled
arrays. Two methods compared on the same images should share one count matrix (paired comparison).
"""

import numpy as np
from scipy import sparse

from mmhash.metrics.ranking import average_precision


def resample_counts(n: int, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each of n images is drawn in each resample, (n, samples) int32."""
    counts = np.empty((n, samples), dtype=np.int32)
    for s in range(samples):
        counts[:, s] = np.bincount(rng.integers(0, n, n), minlength=n)
    return counts


def resampled_map(scores: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the macro mAP of each resample, (samples,) float64.

    ``scores`` and ``labels`` are (n, C), ``counts`` (n, samples). A class that has no positive in a
    resample is left out of that resample; a resample without any positive is NaN.
    """
    samples = counts.shape[1]
    counts = counts.astype(np.float32)  # sums of counts are exact below 2^24 images
    total, classes = np.zeros(samples), np.zeros(samples)
    for c in np.flatnonzero(labels.any(axis=0)):
        ap, present = _resampled_ap(scores[:, c], labels[:, c].astype(bool), counts)
        total += ap
        classes += present
    return np.divide(total, classes, out=np.full(samples, np.nan), where=classes > 0)


def _resampled_ap(
    scores: np.ndarray, positive: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return one class's AP in each resample (0 without a positive) and whether it has any.

    AP = Σ_g t_g (T_g / N_g) / T over groups g of equal score from the top, with t_g the weight of
    the positives in g and T_g, N_g the weights of positives and of all items down to g.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hit = scores[order], positive[order]
    group = np.concatenate([[0], np.cumsum(ranked[1:] != ranked[:-1])])
    holds = np.unique(group[hit])  # groups without a positive add nothing to AP
    ends = np.searchsorted(group, holds, side="right")
    everything = _segment_sums(order, ends, counts).cumsum(axis=0)
    hits = _segment_sums(order[hit], np.cumsum(hit)[ends - 1], counts)
    found = hits.cumsum(axis=0)
    mass = (hits * (found / np.maximum(everything, 1))).sum(axis=0)
    return mass / np.maximum(found[-1], 1), found[-1] > 0


def _segment_sums(rows: np.ndarray, ends: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Add up ``counts[rows]`` over consecutive segments that end at ``ends``, as float64."""
    chosen = rows[: ends[-1]]
    lims = np.concatenate([[0], ends])
    ones = np.ones(len(chosen), dtype=counts.dtype)
    picker = sparse.csr_array((ones, chosen, lims), shape=(len(ends), len(counts)))
    return (picker @ counts).astype(np.float64)


def centred_interval(
    resampled: np.ndarray, figure: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the interval that holds ``confidence`` of the resampled figures, moved to ``figure``.

    A resample holds copies of an image, which rank side by side, and that alone raises the AP of
    rare classes: the resampled figures scatter around a mean above the figure itself. The interval
    is moved by that difference, or it might not even contain the figure (bias correction: Efron
    and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 10). Resamples in which the
    figure is undefined (NaN) are left out.
    """
    tail = 50 * (1 - confidence)
    low, high = np.nanpercentile(resampled, [tail, 100 - tail]) - np.nanmean(resampled) + figure
    return float(low), float(high)


def bootstrap_map(
    scores: np.ndarray, labels: np.ndarray, samples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the 95 % interval of macro mAP over ``samples`` resamples of the images.

    Moving it to the figure may carry an end past 0 or 1, where no mAP can be: it is cut there.
    """
    counts = resample_counts(len(scores), samples, rng)
    figure = float(np.nanmean(average_precision(scores, labels)))
    low, high = centred_interval(resampled_map(scores, labels, counts), figure)
    return max(low, 0.0), min(high, 1.0)
