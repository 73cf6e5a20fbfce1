import numpy as np
import pytest

from mmhash.ablations.study import Row, Study
from mmhash.comparison.report import (
    Origin,
    comparison_markdown,
    comparison_records,
    markdown_table,
    mean_and_std,
)
from mmhash.comparison.summary import Cell, Line

ROWS = (Row("64 bits"), Row("16 bits", {"hash.bits": 16}), Row("no hash"))
STUDY = Study("A2", "Code length", "64 bits", ROWS, notes=("A remark.",))
LINES = [
    Line(
        "64 bits",
        {"knn": Cell((0.5, 0.6)), "classifier": Cell((0.7, 0.7))},
        {"balance": (0.1, 0.3)},
        {},
        ("base-s1", "base-s2"),
        "64 bits",
    ),
    Line(
        "16 bits",
        {"knn": Cell((0.4, 0.5), (-0.1, -0.12, -0.08)), "classifier": None},
        {"balance": ()},
        {"hash.bits": 16},
        ("A2-16-bits-s1", "A2-16-bits-s2"),
        "64 bits",
    ),
]
SAMPLE = Origin("sample", 2, "0123456789abcdef", False, {})


def test_a_mean_has_a_deviation_from_two_values_on() -> None:
    assert mean_and_std((0.5,)) == "0.5000"
    assert mean_and_std((0.5, 0.6)) == f"0.5500 ± {np.std([0.5, 0.6], ddof=1):.4f}"
    assert mean_and_std(()) == "–"


def test_the_page_holds_figures_differences_settings_and_notes() -> None:
    page = comparison_markdown(STUDY, LINES, SAMPLE, 1000)
    assert page.startswith("# A2: Code length\n")
    assert "| 64 bits | 0.5500 ± 0.0707 |  | 0.7000 ± 0.0000 |  | 0.2000 ± 0.1414 | 2 |" in page
    assert (
        "| 16 bits | 0.4500 ± 0.0707 | -0.1000 [-0.1200, -0.0800] | – | – | – | 2 "
        "| `hash.bits=16` | A2-16-bits-s1 … s2 |" in page
    )
    assert "–: no such head in the run (16 bits)." in page
    assert "A remark." in page


def test_figures_of_the_sample_are_never_called_coco() -> None:
    line = SAMPLE.line()
    assert "sample (synthetic, drawn by this repository" in line
    assert "say nothing about COCO" in line
    assert "MS-COCO" not in comparison_markdown(STUDY, LINES, SAMPLE, 1000)


def test_the_origin_names_seeds_commit_changes_and_settings() -> None:
    line = Origin("coco2014", 1, "0123456789abcdef", True, {"train.num_epochs": 3}).line()
    assert line == (
        "Dataset: MS-COCO 2014; seed 1 (n = 1); commit 0123456789ab with uncommitted changes; "
        "for every row: `train.num_epochs=3`."
    )


def test_rows_that_are_one_experiment_are_named() -> None:
    twin = Line("no hash", LINES[0].cells, LINES[0].also, {}, LINES[0].experiments, "64 bits")
    page = comparison_markdown(STUDY, [*LINES, twin], SAMPLE, 1000)
    assert "One experiment, read as several rows: 64 bits; no hash." in page
    assert "One experiment" not in comparison_markdown(STUDY, LINES, SAMPLE, 1000)


def test_what_was_expected_stands_in_a_table_of_its_own() -> None:
    study = Study("X", "t", "64 bits", ROWS, expected=(("expected", "mAP"), ("MLP", ".68")))
    page = comparison_markdown(study, LINES, SAMPLE, 1000)
    assert page.endswith(markdown_table(("expected", "mAP"), [("MLP", ".68")]))


def test_the_csv_has_one_row_a_figure() -> None:
    records = comparison_records(STUDY, LINES, SAMPLE)
    assert [(r["row"], r["head"], r["metric"]) for r in records] == [
        ("64 bits", "knn", "mAP"),
        ("64 bits", "classifier", "mAP"),
        ("64 bits", "", "balance"),
        ("16 bits", "knn", "mAP"),
    ]
    last = records[-1]
    assert (last["difference"], last["low"], last["high"]) == (-0.1, -0.12, -0.08)
    assert (last["baseline"], last["overrides"], last["n"]) == ("64 bits", "hash.bits=16", 2)
    assert last["mean"] == pytest.approx(0.45)
    assert records[0]["difference"] is None
    assert all(list(r) == list(last) for r in records)
