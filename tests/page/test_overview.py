from collections.abc import Callable
from typing import Any

from mmhash.page.overview import across, across_ids, cost, overview


def test_every_head_stands_on_both_splits_with_interval_and_chance(outputs: Any) -> None:
    section = overview(outputs.run())
    assert [(row["split"], row["head"]) for row in section["heads"][:2]] == [
        ("test", "KNN"),
        ("test", "classifier"),
    ]
    assert len(section["heads"]) == 8
    for row in section["heads"]:
        assert {"mAP", "mAP_low", "mAP_high", "mAP_chance"} <= row["figures"].keys()
    assert section["retrieval"]["test"]["mAP@50_chance"] == 0.3
    assert section["samples"] == 100


def test_across_modalities_where_it_was_measured(make_outputs: Callable[..., Any]) -> None:
    section = across(make_outputs(across=True).run())
    assert section["rows"][0]["task"] == "image to text"
    first = section["sheets"]["image to text"][0]
    assert first == {"id": 1, "items": [[504, 2.0, True], [505, 4.0, False], [506, 6.0, True]]}
    assert across_ids(section)[:2] == [1, 504]
    absent = across(make_outputs().run())
    assert "evaluate.across=always" in absent["mend"]
    assert across_ids(absent) == []


def test_cost_says_where_nothing_has_run(make_outputs: Callable[..., Any]) -> None:
    made = make_outputs()
    assert cost(made.run())["stages"]["train"]["seconds"] == 12.5
    assert cost(made.run())["index"]["bytes"] == 120
    (made.root / "metrics/cost/train.json").unlink()
    assert "no stage has run" in cost(made.run())["absent"]
