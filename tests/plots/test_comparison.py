"""What the pictures of a study show."""

from dataclasses import replace

import numpy as np
import pytest

from mmhash.comparison.summary import Cell, Line
from mmhash.plots import comparison, figures

LINES = [
    Line(
        "64 bits",
        {"knn": Cell((0.5, 0.6)), "classifier": None},
        {"bit_imbalance": (0.1, 0.2)},
        {},
        ("base-s1", "base-s2"),
        "64 bits",
    ),
    Line(
        "16 bits",
        {"knn": Cell((0.4, 0.5), (-0.1, -0.12, -0.07)), "classifier": Cell((0.6, 0.7))},
        {"bit_imbalance": (0.3, 0.4)},
        {},
        ("A2-16-s1", "A2-16-s2"),
        "64 bits",
    ),
    Line("no hash", {"knn": None, "classifier": None}, {"bit_imbalance": ()}, {}, (), "64 bits"),
]


def test_rows_stand_in_order_with_their_mean_and_interval() -> None:
    with figures.style():
        figure = comparison.comparison_figure(LINES, "A2: Code length", "sample")
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == [
        "64 bits",
        "16 bits",
        "no hash",
    ]
    means = [float(np.ravel(bar.lines[0].get_xdata())[0]) for bar in left.containers]
    np.testing.assert_allclose(means, [0.55, 0.45, 0.65])
    (interval,) = right.containers
    np.testing.assert_allclose(
        interval.lines[2][0].get_segments()[0][:, 0], [-0.12, -0.07], atol=1e-12
    )


def test_image_to_text_and_back_are_drawn_with_each_run() -> None:
    both = {"I→T mAP@50": (0.2, 0.3), "T→I mAP@50": (0.5, 0.7), "I→T mAP@all": (0.1, 0.1)}
    lines = [replace(LINES[0], also=both), replace(LINES[1], also={})]
    with figures.style():
        figure = comparison.across_figure(lines, "ucmfh", "wiki")
    for axis, (what, runs) in zip(
        figure.axes, {"image to text": (0.2, 0.3), "text to image": (0.5, 0.7)}.items(), strict=True
    ):
        assert axis.get_title() == what
        (bar,) = axis.containers
        assert float(np.ravel(bar.lines[0].get_xdata())[0]) == pytest.approx(np.mean(runs))
        (dots,) = [line for line in axis.lines if len(line.get_xdata()) == 2]
        np.testing.assert_allclose(dots.get_xdata(), runs)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["64 bits", "16 bits"]


def test_code_health_leaves_out_rows_without_codes() -> None:
    with figures.style():
        (axis,) = comparison.code_figure(LINES, "A2", "sample").axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["64", "16"]
    assert axis.get_ylabel() == "bit imbalance"


def test_soft_codes_are_those_of_the_last_epoch() -> None:
    table = {
        "epoch": [0.0, 0.0, 1.0, 1.0],
        "bin_left": [-1.0, 0.0, -1.0, 0.0],
        "bin_right": [0.0, 1.0, 0.0, 1.0],
        "fraction": [0.5, 0.5, 0.25, 0.75],
    }
    with figures.style():
        figure = comparison.soft_code_panels({"linear": table, "step": table}, "D1", "sample")
    assert [axis.get_title() for axis in figure.axes] == ["linear", "step"]
    for axis in figure.axes:
        assert [bar.get_height() for bar in axis.patches] == [0.25, 0.75]


def test_search_cost_is_drawn_for_both_distances_by_length() -> None:
    table = [
        {
            "distance": distance,
            "bits": bits,
            "query_ms_p50": bits / scale,
            "queries_per_second_batched": 1e6 / bits,
            "bytes_per_item": bits,
        }
        for bits in (64, 16)
        for distance, scale in (("hamming", 100), ("cosine", 10))
    ]
    with figures.style():
        axes = comparison.cost_figure(table, "E1", "sample").axes
    for axis in axes:
        assert [line.get_label() for line in axis.lines] == ["hamming", "cosine"]
        assert list(axis.lines[0].get_xdata()) == [16, 64]
