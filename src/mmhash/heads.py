"""The ways to score classes that are computed from numbers at hand.

A *head* scores every class of an image in [0, 1]: ``knn`` (the neighbours vote), ``classifier``
(the sigmoid of the network's logits), ``hybrid`` (a convex mix of these two) and ``zeroshot`` (the
image against the text vector of each class name).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmhash.errors import InputError
from mmhash.metrics.ranking import average_precision

# Each head and its title in tables and plots.
HEADS = {"knn": "KNN", "classifier": "classifier", "hybrid": "hybrid", "zeroshot": "zero-shot"}
WEIGHTS = np.arange(21) / 20  # 0, 0.05, …, 1: weight of the votes in the hybrid head


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the sigmoid of logits (n, C) as float32, without overflow for large negatives."""
    positive = np.exp(-np.abs(logits.astype(np.float64)))
    return (np.where(logits >= 0, 1.0, positive) / (1.0 + positive)).astype(np.float32)


def mix(knn: np.ndarray, classifier: np.ndarray, weight: float) -> np.ndarray:
    """Return weight · knn + (1 - weight) · classifier, (n, C) float32."""
    return (weight * knn.astype(np.float64) + (1 - weight) * classifier).astype(np.float32)


def choose_weight(knn: np.ndarray, classifier: np.ndarray, labels: np.ndarray) -> float:
    """Return the weight of :data:`WEIGHTS` with the highest mAP, of equals the smallest.

    ``knn`` and ``classifier`` are scores (n, C), ``labels`` (n, C) of 0 and 1, all of the
    validation set. Raises InputError where no image has a label.
    """
    if not labels.any():
        raise InputError("no label in the validation set: the hybrid head cannot be weighed")
    figures = [
        np.nanmean(average_precision(mix(knn, classifier, weight), labels)) for weight in WEIGHTS
    ]
    return float(WEIGHTS[int(np.argmax(figures))])


def scores_of(head: str, heads: Mapping[str, Any]) -> Any:
    """Return ``heads[head]``; InputError naming the heads there are where this one is not."""
    if head not in heads:
        raise InputError(
            f"knn.head is {head!r}, which this model does not have; "
            f"set knn.head to {' or '.join(name for name in heads if name != 'zeroshot')}"
        )
    return heads[head]
