"""The worst mistakes as pictures: classes named that an image lacks, labels that were missed.

Each class gives its worst mistake of a kind (:func:`mmhash.metrics.mistakes.worst_mistakes`), so
that no common class fills the sheet; of these the sheet shows the worst.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mmhash.heads import HEADS
from mmhash.metrics.mistakes import worst_mistakes
from mmhash.plots import cells
from mmhash.plots.cells import Cell

SHOWN, COLUMNS = 12, 6  # mistakes of each kind, in a line
CELL, HEIGHT, LOW_HEIGHT, HEADING = 1.65, 2.25, 1.2, 0.3  # inches; low: without pictures
TITLES = {
    "positives": "False positives: named, but no label of the image",
    "negatives": "False negatives: labels that were not named",
}


@dataclass(frozen=True)
class Mistake:
    """A class that an image was wrongly given, or not given: one of ``count`` of its kind."""

    kind: str
    image: int
    category: str
    score: float
    threshold: float
    count: int


def worst_of_classes(
    scores: np.ndarray,
    labels: np.ndarray,
    threshold: float | np.ndarray,
    names: Sequence[str],
    image_id: np.ndarray,
) -> list[Mistake]:
    """Return the worst false positives, then the worst false negatives, at most one a class.

    Of each kind :data:`SHOWN`, the worst first; of equal scores the earlier row, then the lower
    class. Shapes as in :func:`mmhash.metrics.mistakes.worst_mistakes`, ``image_id`` (n,).
    """
    cuts = np.broadcast_to(np.asarray(threshold, dtype=np.float64), len(names))
    chosen = []
    for kind, (rows, count) in worst_mistakes(scores, labels, cuts, 1).items():
        sign = -1 if kind == "positives" else 1
        pairs = [(int(first[0]), c) for c, first in enumerate(rows) if len(first)]
        pairs.sort(key=lambda pair: (sign * scores[pair], pair))
        chosen += [
            Mistake(
                kind, int(image_id[r]), names[c], float(scores[r, c]), float(cuts[c]), int(count[c])
            )
            for r, c in pairs[:SHOWN]
        ]
    return chosen


def worst_figure(
    mistakes: Sequence[Mistake],
    about: Mapping[int, Mapping[str, Any]],
    shown: Mapping[int, np.ndarray],
    head: str,
    subject: str,
) -> Figure:
    """Draw the mistakes of ``head`` in lines of :data:`COLUMNS`, one kind below the other.

    ``about`` and ``shown`` are :func:`mmhash.plots.cells.described` and
    :func:`mmhash.plots.cells.thumbnails` of their images.
    """
    height = HEIGHT if shown else LOW_HEIGHT
    groups = {kind: [one for one in mistakes if one.kind == kind] for kind in TITLES}
    lines = [-(-len(group) // COLUMNS) for group in groups.values() if group]
    figure, axis = cells.canvas(
        CELL * COLUMNS,
        height * sum(lines) + HEADING * len(lines),
        f"Worst mistakes of the {HEADS[head]} head",
        "Each class has its worst mistake of a kind, the worst of them are shown. Score against "
        "the threshold from val; in italics the labels.",
        subject,
    )
    top = 0.0
    for kind, group in groups.items():
        if not group:
            continue
        cells.write(axis, cells.PADDING, top + 0.07, TITLES[kind], "bold", 10)
        top += HEADING
        for place, one in enumerate(group):
            x, y = CELL * (place % COLUMNS), top + height * (place // COLUMNS)
            cells.draw_cell(axis, x, y, CELL, height, _cell(one, about[one.image], shown))
            cells.frame(axis, x, y, CELL, height, good=False)
        top += height * -(-len(group) // COLUMNS)
    return figure


def _cell(one: Mistake, facts: Mapping[str, Any], shown: Mapping[int, np.ndarray]) -> Cell:
    sign, mark = ("≥", "✗") if one.kind == "positives" else ("<", "–")
    rank = f"worst of {one.count}" if one.count > 1 else "the only one"
    return Cell(
        f"{mark} {one.category}",
        notes=(f"{one.score:.3f} {sign} {one.threshold:.3f}, {rank}", f"image {one.image}"),
        picture=shown.get(one.image),
        text=facts["caption"],
        lines=2 if one.image in shown else 3,
        classes=facts["classes"] or "no label",
        class_lines=3,
    )
