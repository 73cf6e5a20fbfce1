"""The sheet of the worst mistakes."""

import numpy as np

from mmhash.plots import figures, worst
from mmhash.plots.worst import Mistake

NAMES = ["cat", "dog", "cow"]
IDS = np.array([11, 12, 13, 14])


def test_each_class_gives_its_worst_and_the_worst_class_comes_first() -> None:
    scores = np.array([[0.7, 0.9, 0.1], [0.8, 0.6, 0.0], [0.8, 0.2, 0.0], [0.1, 0.3, 0.0]])
    labels = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 1], [1, 0, 0]])
    found = worst.worst_of_classes(scores, labels, np.array([0.5, 0.6, 0.4]), NAMES, IDS)
    assert found == [
        Mistake("positives", 11, "dog", 0.9, 0.6, 2),
        Mistake("positives", 12, "cat", 0.8, 0.5, 3),  # of equals the earlier row
        Mistake("negatives", 12, "cow", 0.0, 0.4, 2),
        Mistake("negatives", 14, "cat", 0.1, 0.5, 1),
        Mistake("negatives", 13, "dog", 0.2, 0.6, 1),
    ]


def test_no_more_than_fit_the_sheet_are_shown_of_a_kind() -> None:
    names = [f"class {c}" for c in range(worst.SHOWN + 5)]
    labels = np.tile([[0], [1]], len(names))
    scores = np.tile([[1.0], [0.0]], len(names))
    found = worst.worst_of_classes(scores, labels, 0.5, names, IDS)
    kinds = [one.kind for one in found]
    assert kinds == ["positives"] * worst.SHOWN + ["negatives"] * worst.SHOWN
    assert [one.category for one in found[: worst.SHOWN]] == names[: worst.SHOWN]


def test_a_mistake_is_told_with_class_score_threshold_and_labels() -> None:
    mistakes = [
        Mistake("positives", 11, "dog", 0.9, 0.6, 2),
        Mistake("negatives", 12, "cat", 0.1, 0.6, 1),
    ]
    about = {
        11: {"caption": "a cow", "classes": "cow, grass"},
        12: {"caption": "", "classes": ""},
    }
    shown = {11: np.zeros((8, 4, 3), np.uint8)}
    with figures.style():
        figure = worst.worst_figure(mistakes, about, shown, "hybrid", "a subject")
        low = worst.worst_figure(mistakes[1:], about, {}, "hybrid", "a subject")
    lines = [text.get_text() for text in figure.axes[0].texts]
    for line in (
        *("Worst mistakes of the hybrid head (a subject)", "✗ dog", "0.900 ≥ 0.600, worst of 2"),
        *("image 11", "a cow", "cow, grass", "– cat", "0.100 < 0.600, the only one", "no label"),
    ):
        assert line in lines
    assert len(figure.axes[0].images) == 1
    lines = [text.get_text() for text in low.axes[0].texts]
    assert not any("False positives" in line for line in lines)
    assert low.get_size_inches()[1] < figure.get_size_inches()[1] / 2
