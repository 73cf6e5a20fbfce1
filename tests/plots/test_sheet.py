"""Retrieval sheets."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmhash.files import write_table
from mmhash.metrics.tasks import CROSSING
from mmhash.plots import cells, figures, sheet

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]


def found() -> pa.Table:
    """One query that finds images 1 and 2 at two bits, in both tasks."""
    rows = [
        {"task": task, "query": 1, "query_id": 5, "rank": rank, "item_id": rank}
        | {"distance": 2.0, "shared": int(rank == 1)}
        for task in CROSSING
        for rank in (1, 2)
    ]
    return pa.Table.from_pylist(rows)


def images(path: Path, pictures: bool = True, captions: bool = True) -> Path:
    """The table of images 1 to 6, odd ones cats, even ones without a label."""
    ids = list(range(1, 7))
    columns = {
        "image_id": ids,
        "folder": ["val2014" if pictures else ""] * 6,
        "file_name": [f"{i}.png" if pictures else "" for i in ids],
        "captions": [[f"first ${i}", "second"] if captions else [""] for i in ids],
        "category_ids": [[3, 7] if i % 2 else [] for i in ids],
    }
    write_table(path, pa.table(columns))
    return path


def texts(figure: figures.Figure) -> str:
    return "\n".join(text.get_text() for text in figure.axes[0].texts)


def test_a_row_tells_query_and_item_with_classes_and_first_caption(tmp_path: Path) -> None:
    about = cells.described({1, 2, 5}, images(tmp_path / "images.parquet"), CATEGORIES)
    assert set(about) == sheet.sheet_ids(found())
    table = sheet.sheet_table(found(), about, "text_to_image")
    assert table["query_caption"] == ["first $5"] * 2
    assert table["query_classes"] == ["cat, dog"] * 2
    assert table["item_classes"] == ["cat, dog", ""]
    assert table["relevant"] == ["relevant", "not relevant"]
    assert tuple(table) == sheet.COLUMNS


def test_without_a_row_nothing_is_read_and_the_header_stays(tmp_path: Path) -> None:
    nothing = found().slice(0, 0)
    assert cells.described(sheet.sheet_ids(nothing), tmp_path / "absent.parquet", CATEGORIES) == {}
    assert cells.thumbnails({}, "coco2014", tmp_path) == {}
    assert sheet.sheet_table(nothing, {}, "image_to_text") == {name: [] for name in sheet.COLUMNS}


@pytest.mark.parametrize("task", CROSSING)
def test_relevant_items_are_marked_without_colour_too(tmp_path: Path, task: str) -> None:
    about = cells.described({1, 2, 5}, images(tmp_path / "images.parquet"), CATEGORIES)
    table = sheet.sheet_table(found(), about, task)
    shown = {image: np.zeros((8, 4, 3), np.uint8) for image in (1, 2, 5)}
    with figures.style():
        figure = sheet.sheet_figure(table, shown, task, 16, "sample, test, 16 bits")
    assert "1 ✓ 2 of 16 bits" in texts(figure)
    assert "2 ✗ 2 of 16 bits" in texts(figure)
    good, bad = figure.axes[0].patches
    assert good.get_linewidth() > bad.get_linewidth()
    assert good.get_linestyle() != bad.get_linestyle()
    # the query is a picture where the items are texts, and the other way round
    assert len(figure.axes[0].images) == (1 if task == "image_to_text" else 2)
    assert ("first $5" in texts(figure)) == (task == "text_to_image")
    assert ("first $2" in texts(figure)) == (task == "image_to_text")
    assert "no label" in texts(figure)
    assert "1 test queries (sample, test, 16 bits)" in " ".join(texts(figure).split())


def test_features_alone_show_ids_and_classes_in_low_cells(tmp_path: Path) -> None:
    path = images(tmp_path / "images.parquet", pictures=False, captions=False)
    about = cells.described({1, 2, 5}, path, CATEGORIES)
    table = sheet.sheet_table(found(), about, "image_to_text")
    with figures.style():
        figure = sheet.sheet_figure(table, {}, "image_to_text", None, "features, test, no hash")
    assert "image of id 5" in texts(figure)
    assert "text of id 2" in texts(figure)
    assert "1 − cos 2.000" in texts(figure)
    assert figure.get_size_inches()[1] < sheet.LOW_CELL + 1
