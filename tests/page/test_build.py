import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmhash.errors import InputError
from mmhash.page import build
from mmhash.page.build import page_values
from mmhash.page.document import embedded
from mmhash.page.write import write_page


def test_every_section_is_there_and_every_image_described_once(outputs: Any) -> None:
    values, thumbs = page_values(outputs.run())
    sections = values["sections"]
    assert not any("missing" in section for section in sections.values())
    shown = {query["id"] for query in sections["explorer"]["queries"]}
    shown |= {entry[0] for query in sections["explorer"]["queries"] for entry in query["near"]}
    assert {str(image) for image in shown} == values["images"].keys() == thumbs.keys()
    assert len(values["images"]["1"]["c"]) == 2  # a query has its captions, an item its first
    assert len(values["images"]["501"]["c"]) == 1
    assert values["dataset"]["line"] == "MS-COCO 2014"
    assert values["note"] == ""


def test_the_head_says_where_predictions_search_another_database(
    make_outputs: Callable[..., Any],
) -> None:
    made = make_outputs()
    (made.root / "collection").mkdir()
    state = {"current": 2, "versions": [1, 2], "next_version": 3, "next_image_id": 9}
    for current, expected in (
        (0, []),
        (2, [["database", "as built; predictions search version 2 of mmhash index"]]),
        ("x", []),  # damaged: a line in the terminal, and the page all the same
    ):
        made.json("collection/state.json", state | {"current": current})
        values, _ = page_values(made.run())
        assert [fact for fact in values["facts"] if fact[0] == "database"] == expected


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("predictions/test/soft.npy", "bits"),
        ("predictions/test/neighbours.parquet", "explorer"),
        ("model/history.csv", "training"),
        ("data/statistics.json", "data"),
    ],
)
def test_a_missing_file_costs_its_section_only(
    make_outputs: Callable[..., Any], name: str, section: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = make_outputs()
    page_values(made.run())
    assert not any("empty sections" in line for line in caplog.messages)
    (made.root / name).unlink()
    values, _ = page_values(made.run())
    missing = {key for key, value in values["sections"].items() if "missing" in value}
    assert missing == {section}
    assert name in values["sections"][section]["missing"]
    count = len(values["sections"])
    assert caplog.messages[-1] == f"empty sections: 1 of {count}; dvc repro fills them"


def test_a_clone_with_figures_only_has_a_headline(
    make_outputs: Callable[..., Any], tmp_path: Path
) -> None:
    made = make_outputs()
    for name in ("data", "predictions", "model", "index"):
        shutil.rmtree(made.root / name)
    values, thumbs = page_values(made.run())
    assert values["sections"]["overview"]["heads"]
    assert "missing" in values["sections"]["explorer"]
    assert thumbs == {}
    assert write_page(made.root, tmp_path / "page.html") > 0


def test_missing_pictures_are_said_once_and_the_rest_stays(
    make_outputs: Callable[..., Any],
) -> None:
    made = make_outputs()
    shutil.rmtree(made.root / "raw")
    values, thumbs = page_values(made.run())
    assert thumbs == {}
    assert values["note"].startswith("Pictures are missing: ")
    assert values["images"]["2"]["c"][0] == "a picture of 2"


def test_features_without_pictures_and_captions_are_shown_by_id(
    make_outputs: Callable[..., Any],
) -> None:
    made = make_outputs(pictures=False, captions=False, bits=0, heads=("knn",), epochs=0)
    values, thumbs = page_values(made.run())
    assert thumbs == {}
    assert "without pictures" in values["note"]
    assert values["images"]["1"]["c"] == []
    assert values["dataset"]["line"] == "features (brought by the user)"


def test_the_budget_says_what_was_left_out(outputs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    values, thumbs = page_values(outputs.run())
    needed = len(embedded(values)) + sum(len(text) for text in thumbs.values()) // 2
    monkeypatch.setattr(build, "MOST_BYTES", build.RESERVED_BYTES + needed)
    values, thumbs = page_values(outputs.run())
    assert 0 < len(thumbs) < len(values["images"])
    assert "worst mistakes first" in values["note"]


def test_the_same_run_gives_the_same_bytes(
    make_outputs: Callable[..., Any], tmp_path: Path
) -> None:
    made = make_outputs(across=True)
    size = write_page(made.root, tmp_path / "a.html")
    write_page(made.root, tmp_path / "b.html")
    first = (tmp_path / "a.html").read_bytes()
    assert first == (tmp_path / "b.html").read_bytes()
    assert len(first) == size
    with pytest.raises(InputError, match="is a folder"):
        write_page(made.root, tmp_path)
