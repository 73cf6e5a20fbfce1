"""Decision thresholds that maximise F1; meant for validation scores, never for test scores."""

from typing import Literal, overload

import numpy as np

from mmhash.errors import InputError


@overload
def choose_thresholds(scores: np.ndarray, labels: np.ndarray, mode: Literal["global"]) -> float: ...


@overload
def choose_thresholds(
    scores: np.ndarray, labels: np.ndarray, mode: Literal["per_class"]
) -> np.ndarray: ...


def choose_thresholds(
    scores: np.ndarray, labels: np.ndarray, mode: Literal["global", "per_class"]
) -> float | np.ndarray:
    """Return the threshold t of the rule "score >= t" with the highest F1, over every cut there is.

    ``scores`` (n, C) real, ``labels`` (n, C) of 0 and 1, both of the validation set. ``global``:
    one float that maximises the overall F1 (OF1, micro F1). ``per_class``: (C,) float64, each
    maximising its class's F1; a class without a positive takes the global one, since every cut
    gives it F1 = 0. The threshold lies half-way between the lowest score that passes and the next
    one below. Of several cuts with equal F1 the highest threshold is taken.
    Raises InputError where there is no positive at all, or for an unknown mode.
    """
    if mode not in ("global", "per_class"):
        raise InputError(f"evaluate.thresholds is {mode!r}; allowed: global, per_class")
    if not labels.any():
        raise InputError("no label in the validation set: a threshold cannot be chosen")
    overall = float(_best_cuts(scores.reshape(1, -1), labels.reshape(1, -1))[0])
    if mode == "global":
        return overall
    return np.where(labels.any(axis=0), _best_cuts(scores.T, labels.T), overall)


def _best_cuts(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the F1-optimal threshold of each row of (m, n) scores, (m,) float64."""
    n = scores.shape[1]
    order = np.argsort(-scores, axis=1)
    ranked = np.take_along_axis(scores, order, axis=1).astype(np.float64)
    hits = np.take_along_axis(labels, order, axis=1).cumsum(axis=1, dtype=np.int64)
    f1 = 2 * hits / (np.arange(1, n + 1) + hits[:, -1:])
    f1[:, :-1][ranked[:, 1:] == ranked[:, :-1]] = -1  # a cut cannot part equal scores
    best = f1.argmax(axis=1)  # the first of equals: the highest threshold
    rows = np.arange(len(ranked))
    lowest_passing = ranked[rows, best]
    next_below = ranked[rows, np.minimum(best + 1, n - 1)]
    middle = (lowest_passing + next_below) / 2
    return np.where(middle > next_below, middle, lowest_passing)
