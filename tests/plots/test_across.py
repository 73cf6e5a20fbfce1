"""Tables and pictures of retrieval across modalities."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmhash.files import read_json, read_table
from mmhash.metrics.tasks import TASKS
from mmhash.plots import across, figures, tables

CURVES = {
    "task": ["image_to_text"] * 4 + ["text_to_image"] * 4,
    "distance": [0, 1, 2, 3] * 2,
    "precision": [0.0, 0.9, 0.6, 0.3, 0.5, 0.7, 0.5, 0.3],
    "recall": [0.0, 0.2, 0.7, 1.0, 0.1, 0.3, 0.8, 1.0],
    "retrieved": [0.0, 4.0, 20.0, 40.0, 3.0, 6.0, 25.0, 40.0],
}


def test_chance_is_the_precision_of_all_items() -> None:
    table = tables.across_distance_table(CURVES)
    assert table["task"] == ["image to text"] * 4 + ["text to image"] * 4
    assert set(table["chance"]) == {0.3}
    assert [table[name] for name in ("recall", "precision")] == [
        CURVES["recall"],
        CURVES["precision"],
    ]


def test_nothing_measured_across_modalities_leaves_headers() -> None:
    empty = {name: [] for name in CURVES}
    assert tables.across_distance_table(empty) == {**empty, "chance": []}
    assert tables.top_n_table({}) == {"task": [], "n": [], "precision": [], "chance": []}


def test_the_precision_of_the_first_n_is_that_of_evaluate() -> None:
    found = {"mAP@50": 0.9, "P@1": 0.8, "P@10": 0.6, "P_chance": 0.3, "queries": 12}
    rows = list(zip(*tables.top_n_table({"text_to_image": found}).values(), strict=True))
    assert rows == [("text to image", 1, 0.8, 0.3), ("text to image", 10, 0.6, 0.3)]


def test_both_tasks_the_radius_and_the_chance_level_are_drawn() -> None:
    with figures.style():
        axis = across.distance_figure(tables.across_distance_table(CURVES), "here").axes[0]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == [
        *("image to text", "text to image", "within 2 bits", "chance, 0.300"),
    ]
    lines = [line.get_xydata().tolist() for line in axis.lines]
    assert [0.7, 0.6] in lines[0]
    assert lines[1] == [[0.7, 0.6]]  # the ring around two bits
    assert axis.lines[0].get_linestyle() != axis.lines[2].get_linestyle()


def test_every_task_has_a_curve_that_colour_marker_or_dash_alone_tells(
    make_stages: Callable[..., Any],
) -> None:
    root = make_stages(classes=3, epochs=1).root
    curves = read_table(root / "predictions/test/across_by_distance.parquet").to_pydict()
    first = read_json(root / "metrics/eval.json")["across"]["test"]
    titles = [task.title for task in TASKS.values()]
    with figures.style():
        axes = (
            across.distance_figure(tables.across_distance_table(curves), "here").axes[0],
            across.top_n_figure(tables.top_n_table(first), "here").axes[0],
        )
    for axis in axes:
        drawn = {line.get_label(): line for line in axis.lines}
        assert [title for title in drawn if title in titles] == titles
        assert {text.get_text() for text in axis.get_legend().get_texts()} >= set(titles)
    for looks in zip(*(across.LOOKS[title] for title in titles), strict=True):
        assert len(set(looks)) == len(titles)


@pytest.mark.parametrize("template", ["across_by_distance", "across_top_n"])
def test_a_template_names_every_task_and_gives_it_a_dash(repository: Path, template: str) -> None:
    chart = json.loads((repository / f".dvc/plots/{template}.json").read_text(encoding="utf-8"))
    (dash,) = [
        encoding["strokeDash"]
        for encoding in (layer["encoding"] for layer in chart["layer"])
        if "strokeDash" in encoding
    ]
    titles = [task.title for task in TASKS.values()]
    assert dash["scale"]["domain"] == dash["sort"] == titles
    assert len({tuple(pattern) for pattern in dash["scale"]["range"]}) == len(titles)


def test_the_first_n_stand_on_a_log_axis_above_chance() -> None:
    found = {"P@1": 0.8, "P@5": 0.7, "P@5000": 0.4, "P_chance": 0.3}
    with figures.style():
        table = tables.top_n_table({"image_to_text": found, "fused_to_fused": found})
        axis = across.top_n_figure(table, "sample, test, 64 bits").axes[0]
    assert axis.get_xscale() == "log"
    assert axis.get_xticks().tolist() == [1, 5, 5000]
    assert axis.lines[-1].get_ydata() == [0.3, 0.3]
    assert axis.get_title().endswith("sample, test, 64 bits")


def test_diagnostics_of_agch_have_a_panel_a_quantity_and_a_series_a_figure() -> None:
    history: tables.Table = {"epoch": [0.0, 1.0], "loss": [2.0, 1.0]}
    assert not any(tables.diagnostics_table(history).values())
    history |= {name: [0.0, 0.1] for name in tables.DIAGNOSTIC_PANELS}
    table = tables.diagnostics_table(history)
    assert len(table["value"]) == 2 * len(tables.DIAGNOSTIC_PANELS)
    assert set(table["series"]) <= set(figures.SERIES)
    with figures.style():
        figure = figures.training_figure(table, "Diagnostics", "here")
    shown = {axis.get_title(): len(axis.lines) for axis in figure.axes if axis.get_visible()}
    assert len(shown) == 8
    assert sum(shown.values()) == len(tables.DIAGNOSTIC_PANELS)
    for axis in figure.axes:  # apart without colour, too
        assert len({line.get_linestyle() for line in axis.lines}) == len(axis.lines)


@pytest.mark.parametrize(
    ("terms", "panel"),
    [
        (["loss_classification"], "mAP, classifier head"),
        (["loss_l1", "loss_l2"], tables.ACROSS_PANEL[0]),
        (["loss_fusion", "loss_codes"], tables.ACROSS_PANEL[0]),
    ],
)
def test_map_of_val_is_named_by_what_was_measured(terms: list[str], panel: str) -> None:
    history = {"epoch": [0.0], "val_mAP": [0.5], **{name: [1.0] for name in terms}}
    found = tables.training_table(history)["panel"]
    assert panel in found
    assert len(found) == len(terms) + 1
