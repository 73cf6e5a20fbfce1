"""Do class scores mean what they say? Calibration of scores taken as probabilities.

Guo et al. (ICML 2017) bin the confidence of the one predicted class. With several labels an image
each image-class pair is a forecast of its own: its score against whether the label is there. All
pairs are pooled, in equal-width bins ((m - 1) / M, m / M], a score of 0 in the first. Most pairs
are negatives with scores near 0, which keeps the expected error small: compare heads on the same
images, and look at the maximum error and the reliability table beside it.
"""

import numpy as np
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

BINS = 15
# Scores are kept this far from 0 and 1 before the logit: a class for which no neighbour voted has
# a score of exactly 0. Of 1e-7 … 1e-2 this gave the lowest Brier score of votes on val (sample).
CLIP = 1e-3
# Inverse strength of a ridge penalty that bounds the slope where scores part the labels perfectly;
# on the sample it moves slope and intercept by less than 1e-4.
RIDGE = 100.0


def reliability_table(
    scores: np.ndarray, labels: np.ndarray, bins: int = BINS
) -> dict[str, np.ndarray]:
    """Return the bins that hold a pair, lowest first, from (n, C) scores in [0, 1] and labels.

    Columns: ``bin`` (from 0 on), ``score`` (mean score), ``frequency`` (share of pairs with the
    label), ``count`` (pairs). A perfectly calibrated head has frequency = score in every bin.
    """
    flat = scores.ravel().astype(np.float64)
    owner = np.searchsorted(np.arange(1, bins) / bins, flat, side="left")
    count = np.bincount(owner, minlength=bins)
    held = np.flatnonzero(count)
    total = np.bincount(owner, weights=flat, minlength=bins)[held]
    hits = np.bincount(owner, weights=labels.ravel().astype(np.float64), minlength=bins)[held]
    return {
        "bin": held,
        "score": total / count[held],
        "frequency": hits / count[held],
        "count": count[held],
    }


def calibration_figures(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return ECE, MCE and Brier score of (n, C) scores over all image-class pairs.

    ECE = Σ_m n_m / n |frequency_m - score_m| and MCE the largest of these gaps, over 15 bins;
    Brier = mean (score - label)² (Brier 1950).
    """
    table = reliability_table(scores, labels)
    gap = np.abs(table["frequency"] - table["score"])
    return {
        "ECE": float(np.average(gap, weights=table["count"])),
        "MCE": float(gap.max()),
        "Brier": float(((scores.astype(np.float64) - labels) ** 2).mean()),
    }


def fit_calibration(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return slope and intercept of calibrated = σ(slope · logit(score) + intercept).

    Platt scaling (1999) of all classes together: the maximum-likelihood logistic regression on the
    logit of the score (1 / slope is the temperature), meant for validation scores (n, C). Where
    the pairs are all positive or all negative nothing can be fitted: slope 1, intercept 0.
    """
    truth = labels.ravel()
    if truth.min() == truth.max():
        return 1.0, 0.0
    model = LogisticRegression(C=RIDGE, solver="newton-cholesky", tol=1e-10)
    with threadpool_limits(1):  # the order of BLAS sums depends on the number of threads
        model.fit(_logits(scores).reshape(-1, 1), truth)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def calibrated(scores: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Return calibrated scores, float64 of the shape of ``scores``, by :func:`fit_calibration`."""
    return expit(slope * _logits(scores) + intercept)


def _logits(scores: np.ndarray) -> np.ndarray:
    return logit(np.clip(scores.astype(np.float64), CLIP, 1 - CLIP))
