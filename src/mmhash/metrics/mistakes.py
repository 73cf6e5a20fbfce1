"""Wrong decisions of a head, the worst first."""

from typing import NamedTuple

import numpy as np


class Mistakes(NamedTuple):
    """Mistakes of one kind: by class the rows of the worst, and how many there are (C,)."""

    rows: list[np.ndarray]
    counts: np.ndarray


def worst_mistakes(
    scores: np.ndarray, labels: np.ndarray, threshold: float | np.ndarray, most: int
) -> dict[str, Mistakes]:
    """Return the ``most`` worst ``positives`` and ``negatives`` of each class.

    ``scores`` and ``labels`` are (n, C), ``threshold`` one number or (C,). A false positive is an
    image without the label whose score reaches the threshold, the highest score first; a false
    negative one with the label whose score does not, the lowest first. Of equal scores the earlier
    row comes first.
    """
    passed = scores.astype(np.float64) >= threshold
    found = {}
    for kind, sign, mask in (
        ("positives", -1, passed & (labels == 0)),
        ("negatives", 1, ~passed & (labels == 1)),
    ):
        order = np.argsort(sign * scores, axis=0, kind="stable")
        rows = [column[mask[column, c]][:most] for c, column in enumerate(order.T)]
        found[kind] = Mistakes(rows, mask.sum(axis=0))
    return found
