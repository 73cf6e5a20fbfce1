from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from mmhash.errors import InputError
from mmhash.files import write_table
from mmhash.page import explorer
from mmhash.page.explorer import captions_of, chosen_queries, query_ids


def test_the_first_queries_are_the_wanted_ones_then_a_fixed_sample(
    outputs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = outputs.run()
    monkeypatch.setattr(explorer, "QUERIES", 6)
    rows = chosen_queries(run, [9, 4, 9, 10_000])
    assert rows[:2] == [8, 3]  # images 9 and 4; one that is no test image is left out
    assert len(rows) == len(set(rows)) == 6
    assert rows == chosen_queries(outputs.run(), [9, 4])
    monkeypatch.setattr(explorer, "QUERIES", 1000)
    assert sorted(chosen_queries(run, [])) == list(range(30))


def test_neighbours_stand_with_their_votes_and_the_rest_is_summed(outputs: Any) -> None:
    run = outputs.run()
    section = explorer.explorer(run, [2, 0])
    assert [query["id"] for query in section["queries"]] == [3, 1]
    query, row = section["queries"][0], run.neighbours.slice(2, 1).to_pylist()[0]
    assert [entry[0] for entry in query["near"]] == row["neighbour_ids"][:20]
    assert [entry[2] for entry in query["near"]] == [round(w, 4) for w in row["weights"][:20]]
    assert query["rest"] == pytest.approx(sum(row["weights"][20:]), abs=1e-4)
    total = sum(entry[2] for entry in query["near"]) + query["rest"] + query["beyond"]
    assert total == pytest.approx(1, abs=0.01)
    for head, scores in outputs.scores.items():
        best = [score for _, score in query["tags"][head]]
        assert best == sorted(best, reverse=True)
        assert best[0] == round(float(scores[2].max()), 3)
    assert query_ids(section)[0] == 3
    assert section["bits"] == 16


def test_a_method_without_codes_has_cosine_distances(make_outputs: Callable[..., Any]) -> None:
    section = explorer.explorer(make_outputs(bits=0, heads=("knn",)).run(), [0])
    assert section["bits"] == 0
    assert "cosine" in section["distance"]


def test_neighbours_of_other_images_are_refused(make_outputs: Callable[..., Any]) -> None:
    made = make_outputs()
    table = made.run().neighbours
    other = table.set_column(0, "image_id", pa.array(range(100, 130), pa.int64()))
    write_table(made.root / "predictions/test/neighbours.parquet", other)
    with pytest.raises(InputError, match="differ in images"):
        explorer.explorer(made.run(), [0])


def test_long_captions_are_cut() -> None:
    row = {"captions": ["x" * 100_000, "short", "third"]}
    assert captions_of(row, 2, 50) == ["x" * 49 + "…", "short"]
    assert captions_of({"captions": None}, 2, 50) == []
    assert captions_of({"captions": [" ", None, "x"]}, 3, 50) == ["x"]
