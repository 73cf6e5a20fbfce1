"""What the pictures show."""

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure

from mmhash.plots import figures, heat_maps, tables


def title_is_inside(figure: Figure) -> bool:
    figure.draw_without_rendering()
    title = next(text for text in figure.texts if text.get_text() == figure.get_suptitle())
    extent = title.get_window_extent()
    return extent.x0 >= 0 and extent.x1 <= figure.bbox.x1


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


def test_a_heat_map_has_its_share_in_the_cell_of_both_classes() -> None:
    labels = np.array([[1, 1], [1, 0], [1, 0]], dtype=np.uint8)
    scores = {"knn": np.array([[0.9, 0.1], [0.1, 0.8], [0.9, 0.8]])}
    table = tables.confusion_table(scores, labels, {"knn": 0.5}, ["cat", "dog"])
    with figures.style():
        figure = heat_maps.confusion_figure(table, "sample, test")
    truth, knn = (np.asarray(axis.images[0].get_array()) for axis in figure.axes[:2])
    np.testing.assert_allclose(truth, [[1, 1 / 3], [1, 1]])
    np.testing.assert_allclose(knn, [[2 / 3, 2 / 3], [1, 0]])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["cat", "dog"]
    assert figure.axes[0].get_ylabel() == "class present"
    assert figure.axes[1].get_xlabel() == "class predicted"
    assert figure.get_suptitle().endswith("sample, test")


def test_the_correlation_of_bits_is_drawn_on_both_sides_of_the_diagonal() -> None:
    table = {"bit": [1, 2, 2], "other": [0, 0, 1], "correlation": [0.5, -0.25, 0.0]}
    with figures.style():
        axis = heat_maps.bit_correlation_figure(table, "sample, test, 8 bits").axes[0]
    drawn = np.asarray(axis.images[0].get_array())
    np.testing.assert_allclose(drawn, [[1, 0.5, -0.25], [0.5, 1, 0], [-0.25, 0, 1]])
    assert "mean |r| of different bits 0.250" in axis.get_title()


def test_the_reliability_diagram_gives_the_calibration_error_before_and_after() -> None:
    table = {
        "head": ["knn"] * 3,
        "kind": ["raw", "raw", "calibrated"],
        "bin": [0, 9, 5],
        "score": [0.1, 0.6, 0.5],
        "frequency": [0.2, 0.9, 0.5],
        "count": [30, 10, 40],
    }
    with figures.style():
        above, below = figures.reliability_figure(table, "sample, test").axes
    texts = [entry.get_text() for entry in above.get_legend().get_texts()]
    assert texts == ["raw, ECE 0.1500", "calibrated, ECE 0.0000"]
    assert below.lines[0].get_ydata().tolist() == [30, 10]
    assert below.get_yscale() == "log"


def test_with_a_single_head_the_titles_fit_the_picture() -> None:
    reliability = {
        "head": ["knn", "knn"],
        "kind": ["raw", "calibrated"],
        "bin": [0, 0],
        "score": [0.1, 0.2],
        "frequency": [0.2, 0.2],
        "count": [30, 30],
    }
    frequency = {"head": ["knn"], "class": ["cat"], "images": [9], "AP": [0.5]}
    with figures.style():
        for figure in (
            figures.reliability_figure(reliability, "features, test, 64 bits"),
            figures.frequency_figure(frequency, "features, test, 64 bits"),
        ):
            assert title_is_inside(figure)


def test_the_legend_of_the_reliability_diagram_covers_no_point() -> None:
    table = {
        "head": ["knn"] * 4,
        "kind": ["raw", "raw", "calibrated", "calibrated"],
        "bin": [1, 3, 4, 9],
        "score": [0.15, 0.35, 0.45, 0.95],
        "frequency": [0.9, 1.0, 1.0, 1.0],
        "count": [5, 5, 5, 5],
    }
    with figures.style():
        figure = figures.reliability_figure(table, "features, test")
        figure.draw_without_rendering()
    axis = figure.axes[0]
    covered = axis.get_legend().get_window_extent()
    points = zip(table["score"], table["frequency"], strict=True)
    assert not any(covered.contains(*axis.transData.transform(point)) for point in points)


@pytest.mark.parametrize("classes", [2, 6, 20])
def test_the_heat_maps_of_few_and_of_many_classes_do_not_overlap(classes: int) -> None:
    names = ["cat", "dog", "car", "boat", "tree", "hat"][:classes]
    names += [f"dining table {number}" for number in range(classes - len(names))]
    labels = np.ones((3, classes), dtype=np.uint8)
    heads = ("knn", "classifier", "hybrid")
    scores = {head: np.ones((3, classes)) for head in heads}
    table = tables.confusion_table(scores, labels, dict.fromkeys(heads, 0.5), names)
    with figures.style():
        figure = heat_maps.confusion_figure(table, "features, test, 64 bits")
        figure.draw_without_rendering()
    panels = [axis.get_tightbbox() for axis in figure.axes if axis.get_visible() and axis.images]
    assert len(panels) == 4
    assert not any(a.overlaps(b) for a, b in itertools.combinations(panels, 2))


@pytest.mark.parametrize(("panels", "grid"), [(1, (1, 1)), (4, (2, 2)), (5, (2, 3))])
def test_panels_by_epoch_fill_a_grid_under_their_title(panels: int, grid: tuple[int, int]) -> None:
    table = {
        "epoch": [0] * panels,
        "panel": [f"p{i}" for i in range(panels)],
        "series": ["val"] * panels,
        "value": [0.5] * panels,
    }
    with figures.style():
        figure = figures.training_figure(table, "Health", "sample, val")
    geometry = figure.axes[0].get_subplotspec().get_gridspec()
    assert (geometry.nrows, geometry.ncols) == grid
    assert figure.get_suptitle() == "Health\nsample, val"


def test_numbers_on_the_retrieval_curve_keep_apart() -> None:
    recall = [0.1, 0.11, 0.3, 0.31, 0.9]
    table = {"distance": list(range(5)), "recall": recall, "precision": [0.5] * 5}
    with figures.style():
        axis = figures.distance_figure(table, "sample, test, 8 bits").axes[0]
    assert [note.get_text() for note in axis.texts] == ["0", "2", "4"]
    assert list(axis.lines[0].get_xdata()) == recall
