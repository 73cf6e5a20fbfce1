"""Ranking figures for multi-label scores, vectorised over classes or over samples.

All of them follow from three counts for each item of a ranking: how many items, and how many
positives, score at least as high, and how many negatives score strictly higher. Items of equal
score thus share one place, as in scikit-learn's ``average_precision_score``, ``roc_auc_score``,
``coverage_error`` and ``label_ranking_loss``.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rankings:
    """m rankings of n items each, best first; all arrays are (m, n).

    ``positive``: the label, 0 or 1; ``at_least``: items that score as high or higher, itself
    included; ``positives_at_least``: the positives among them; ``negatives_above``: negatives that
    score strictly higher.
    """

    positive: np.ndarray
    at_least: np.ndarray
    positives_at_least: np.ndarray
    negatives_above: np.ndarray

    @property
    def positives(self) -> np.ndarray:
        """Number of positives in each ranking, (m,)."""
        return self.positives_at_least[:, -1]


def rank_rows(scores: np.ndarray, labels: np.ndarray) -> Rankings:
    """Rank each row of (m, n) scores in descending order; ``labels`` (m, n) of 0 and 1.

    For rankings of images within a class pass the transposed (C, n) arrays.
    """
    n = scores.shape[1]
    order = np.argsort(-scores, axis=1)  # the order inside a tie does not matter
    ranked = np.take_along_axis(scores, order, axis=1)
    positive = np.take_along_axis(labels, order, axis=1).astype(np.int32)
    hits = positive.cumsum(axis=1, dtype=np.int32)
    place = np.arange(n, dtype=np.int32)
    step = ranked[:, 1:] != ranked[:, :-1]
    edge = np.ones((len(scores), 1), dtype=bool)
    last = np.where(np.hstack([step, edge]), place, n)
    last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
    first = np.maximum.accumulate(np.where(np.hstack([edge, step]), place, 0), axis=1)
    hits_above = np.take_along_axis(hits - positive, first, axis=1)
    return Rankings(positive, last + 1, np.take_along_axis(hits, last, axis=1), first - hits_above)


def _mean_over_positives(rankings: Rankings, values: np.ndarray) -> np.ndarray:
    """Mean of ``values`` over the positives of each ranking; NaN where there is none."""
    total = (rankings.positive * values).sum(axis=1, dtype=np.float64)
    count = rankings.positives
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


def precision_curve(rankings: Rankings) -> np.ndarray:
    """Return the precision among all items that score at least as high as each item, (m, n)."""
    return rankings.positives_at_least / rankings.at_least


def ranked_average_precision(rankings: Rankings) -> np.ndarray:
    """Average precision of each ranking, not interpolated, (m,); NaN without a positive.

    AP = Σ_n (R_n - R_{n-1}) P_n over distinct scores; equals scikit-learn's.
    """
    return _mean_over_positives(rankings, precision_curve(rankings))


def interpolated_average_precision(rankings: Rankings) -> np.ndarray:
    """Average precision with the precision at recall r replaced by the largest at recall >= r.

    The area under the interpolated curve at all recalls, as in PASCAL VOC from 2010 on
    (Everingham et al., IJCV 2010 and devkit). Never lower than the plain AP; (m,), NaN without
    a positive.
    """
    curve = precision_curve(rankings)
    return _mean_over_positives(rankings, np.maximum.accumulate(curve[:, ::-1], axis=1)[:, ::-1])


def roc_auc(rankings: Rankings) -> np.ndarray:
    """Area under the ROC curve, tied pairs counting half, (m,); NaN without both kinds."""
    negatives = rankings.positive.shape[1] - rankings.positives
    at_least = rankings.at_least - rankings.positives_at_least
    wrong = _mean_over_positives(rankings, (at_least + rankings.negatives_above) / 2)
    return 1 - np.divide(wrong, negatives, out=np.full(len(wrong), np.nan), where=negatives > 0)


def coverage(rankings: Rankings) -> np.ndarray:
    """How far down a ranking one must go to meet every positive, (m,); 0 without a positive."""
    return (rankings.positive * rankings.at_least).max(axis=1)


def ranking_loss(rankings: Rankings) -> np.ndarray:
    """Share of (positive, negative) pairs in wrong order, a tie being wrong, (m,).

    0 where a ranking has no such pair, as scikit-learn's ``label_ranking_loss``.
    """
    negatives = rankings.positive.shape[1] - rankings.positives
    wrong = rankings.positive * (rankings.at_least - rankings.positives_at_least)
    pairs = rankings.positives.astype(np.float64) * negatives
    return np.divide(wrong.sum(axis=1), pairs, out=np.zeros(len(pairs)), where=pairs > 0)


def average_precision(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average precision of each class, (C,), from (n, C) scores and labels; NaN without positives.

    >>> average_precision(np.array([[0.9], [0.8], [0.1]]), np.array([[1], [0], [1]])).round(3)
    array([0.833])
    """
    return ranked_average_precision(rank_rows(scores.T, labels.T))


def top_share(scores: np.ndarray, k: int) -> np.ndarray:
    """Return which classes are among the top k of each image, (n, C) float64 in [0, 1].

    Where m of the k places fall to t tied classes, each counts m / t, its expectation over all
    orders; a fixed order would favour the classes with low ids. k is limited to C.
    """
    k = min(k, scores.shape[1])
    kth = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
    above, tied = scores > kth, scores == kth
    open_places = k - above.sum(axis=1, keepdims=True)
    return above + tied * (open_places / tied.sum(axis=1, keepdims=True))
