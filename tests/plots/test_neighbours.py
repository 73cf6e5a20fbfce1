"""Neighbour sheets."""

import numpy as np
import pyarrow as pa
import pytest

from mmhash.plots import figures, neighbours
from mmhash.plots.cells import Distance
from mmhash.plots.neighbours import Query, Tag

NAMES = ["cat", "dog", "a class with a name that is much too long"]


def found(n: int, k: int = 3) -> pa.Table:
    """Images 101 to 100 + n; the neighbours of each are 1 to k at 0, 1, ... bits."""
    columns = {
        "neighbour_ids": np.tile(np.arange(1, k + 1), n),
        "distances": np.tile(np.arange(k, dtype=np.float32), n),
        "weights": np.full(n * k, 0.25, np.float32),
    }
    parts = {name: pa.FixedSizeListArray.from_arrays(v, k) for name, v in columns.items()}
    return pa.table({"image_id": range(101, 101 + n), **parts})


def about() -> dict[int, dict[str, object]]:
    facts = {}
    for image in (1, 2, 3, 101):
        ids = [image % 2]
        names = ", ".join(NAMES[c] for c in ids)
        facts[image] = {"caption": f"caption {image}", "classes": names, "category_ids": ids}
    return facts


def drawn(asked: list[Query], shown: dict[int, np.ndarray]) -> tuple[figures.Figure, str]:
    with figures.style():
        distance = Distance("hamming", 16)
        figure = neighbours.neighbour_figure(asked, about(), shown, "knn", distance, "a subject")
    return figure, "\n".join(text.get_text() for text in figure.axes[0].texts)


def test_queries_are_spaced_evenly_among_the_images_with_labels() -> None:
    labels = np.ones((40, 3), np.uint8)
    labels[[0, 1, 20, 39]] = 0
    scores = np.zeros((40, 3), np.float32)
    asked = neighbours.queries(found(40), scores, labels, 0.5, NAMES)
    assert [query.image for query in asked] == [103, 112, 122, 130, 139]
    again = neighbours.queries(found(40), 1 - scores, labels, 0.5, NAMES)
    assert [query.image for query in again] == [query.image for query in asked]
    labels[2:38] = 0
    (one,) = neighbours.queries(found(40), scores, labels, 0.5, NAMES)
    assert one.image == 139


def test_tags_are_the_classes_named_and_the_labels_missed_best_first() -> None:
    scores = np.array([[0.5, 0.75, 0.25]], np.float32)
    labels = np.array([[0, 1, 1]], np.uint8)
    (query,) = neighbours.queries(found(1), scores, labels, np.array([0.5, 0.5, 0.3]), NAMES)
    assert query.tags == [
        Tag("dog", 0.75, 0.5, True),
        Tag("cat", 0.5, 0.5, False),
        Tag(NAMES[2], 0.25, 0.3, True),
    ]
    assert [tag.named for tag in query.tags] == [True, True, False]


def test_the_first_neighbours_are_shown_with_distance_and_vote() -> None:
    labels, scores = np.ones((1, 3), np.uint8), np.zeros((1, 3), np.float32)
    (query,) = neighbours.queries(found(1, k=9), scores, labels, 0.5, NAMES)
    assert query.near == [(i, float(i - 1), 0.25) for i in range(1, 7)]
    assert query.k == 9
    assert neighbours.image_ids([query]) == {101, *range(1, 7)}


@pytest.mark.parametrize("pictures", [True, False])
def test_a_line_tells_query_tags_and_who_voted(pictures: bool) -> None:
    tags = [Tag("dog", 0.75, 0.5, True), Tag("cat", 0.5, 0.5, False), Tag("toy", 0.1, 0.5, True)]
    query = Query(101, tags, [(1, 2.0, 0.25), (2, 3.0, 0.125)], 50)
    images = (1, 2, 101)
    shown = {i: np.zeros((8, 4, 3), np.uint8) for i in images} if pictures else {}
    figure, text = drawn([query], shown)
    for line in (
        *("query 1", "image 101", "caption 101", "✓ dog 0.750 ≥ 0.500", "✗ cat 0.500 ≥ 0.500"),
        *("labels missed", "– toy 0.100 < 0.500", "these 2 of 50: 38 % of the vote"),
        *("1 ✓ 2 of 16 bits", "2 ✗ 3 of 16 bits", "25.0 % of the vote", "caption 2"),
    ):
        assert f"\n{line}\n" in f"\n{text}\n"
    assert "(a subject)" in " ".join(text.split())
    assert len(figure.axes[0].images) == len(shown)
    good, bad = figure.axes[0].patches
    assert good.get_linewidth() > bad.get_linewidth()


def test_more_tags_than_fit_are_counted_and_none_is_said() -> None:
    many = Query(101, [Tag(NAMES[2], 0.9, 0.5, False)] * 40, [(1, 2.0, 0.25)], 1)
    none = Query(101, [], [(1, 2.0, 0.25)], 1)
    _, text = drawn([many, none], {})
    lines = text.split("\n")
    listed = sum("≥ 0.500" in line for line in lines)
    assert 0 < listed < 40
    assert f"… {40 - listed} more" in lines
    assert "no score reaches its threshold" in lines
    assert "labels missed" not in lines
