"""What the pictures show."""

import numpy as np

from mmhash.plots import figures


def test_many_classes_show_the_best_and_the_worst() -> None:
    count = figures.MOST_CLASSES + 30
    table = {
        "class": [f"c{i}" for i in range(count)],
        **{
            name: [1 - i / count for i in range(count)]
            for name in ("AP", "precision", "recall", "F1")
        },
    }
    with figures.style():
        figure = figures.class_figure(table, "knn", "somewhere")
        shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(shown) == figures.MOST_CLASSES
    assert (shown[0], shown[-1]) == ("c0", f"c{count - 1}")
    assert "30 in the middle" in figure.get_suptitle()


def test_a_class_without_a_positive_is_named_and_has_no_bar() -> None:
    table = {"class": ["cat", "owl"], **{name: [0.5, None] for name in figures.FIGURES}}
    with figures.style():
        figure = figures.class_figure(table, "classifier", "somewhere")
    for axis in figure.axes:
        assert [bar.get_width() for bar in axis.patches] == [0.5, 0.0]
        assert [note.get_text() for note in axis.texts] == ["no positive image"]


def test_the_soft_codes_of_one_epoch_are_drawn() -> None:
    table = {
        "epoch": [0.0, 0.0],
        "bin_left": [-1.0, 0.0],
        "bin_right": [0.0, 1.0],
        "fraction": [0.25, 0.75],
    }
    with figures.style():
        figure = figures.soft_code_figure(table, "somewhere")
    over_time, last = figure.axes[:2]
    assert np.ravel(over_time.collections[0].get_array()).tolist() == [0.25, 0.75]
    assert [bar.get_width() for bar in last.patches] == [0.25, 0.75]
    assert last.get_title() == "epoch 0"


def test_every_axis_of_a_picture_has_a_label_and_the_title_its_subject() -> None:
    table = {"rank": [1, 2], "bit": [1, 0], "ones": [0.2, 0.6]}
    with figures.style():
        axis = figures.bit_figure(table, "sample, test, 16 bits").axes[0]
    assert axis.get_xlabel()
    assert axis.get_ylabel()
    assert axis.get_title().endswith("sample, test, 16 bits")
    assert [round(bar.get_height(), 9) for bar in axis.patches] == [-0.3, 0.1]  # from 0.5
