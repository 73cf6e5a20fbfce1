import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmhash.prediction import Item, Prediction, Tag, Voter, Voters, best_tags, thresholds_of

scores = st.lists(st.integers(0, 10).map(lambda n: n / 10), min_size=1, max_size=20)


@given(scores, st.integers(1, 25))
def test_tags_are_the_best_in_order_and_of_equals_the_lower_class(
    values: list[float], top_n: int
) -> None:
    names = [f"class {c}" for c in range(len(values))]
    found = best_tags(np.array(values), np.full(len(values), 0.5), names, top_n)
    expected = sorted(range(len(values)), key=lambda c: (-values[c], c))[:top_n]
    assert [tag.name for tag in found] == [names[c] for c in expected]
    assert all(tag.chosen == (tag.score >= 0.5) for tag in found)


def test_thresholds_are_those_of_the_head_and_of_the_votes_for_added_categories() -> None:
    cuts = {
        "knn": {"global": 0.1, "per_class": [0.2, 0.3]},
        "classifier": {"global": 0.4, "per_class": [0.5, 0.6]},
    }
    assert thresholds_of(cuts, "classifier", "global", 2, 2).tolist() == [0.4, 0.4]
    assert thresholds_of(cuts, "classifier", "per_class", 2, 3).tolist() == [0.5, 0.6, 0.1]
    assert thresholds_of(cuts, "classifier", "global", 2, 3).tolist() == [0.4, 0.4, 0.1]


def test_voters_are_a_sequence_nearest_first() -> None:
    items = [Item(n, f"caption {n}", ("cat", "dog")[: n - 6], None) for n in (7, 8)]
    voters = Voters(items, np.array([1, 3], np.int32), np.array([0.75, 0.25], np.float32))
    made = [
        Voter(7, 1.0, 0.75, "caption 7", ["cat"], None),
        Voter(8, 3.0, 0.25, "caption 8", ["cat", "dog"], None),
    ]
    assert voters == made
    assert list(reversed(voters)) == made[::-1]
    assert voters[-1] == made[-1]
    assert voters[:5] == made
    assert repr(voters) == repr(made)
    assert voters != made[:1]
    assert voters != "what else there is"
    voters[0].categories.append("of the caller alone")
    assert voters == made
    with pytest.raises(IndexError):
        voters[2]


@pytest.mark.parametrize("picture", [None, Path("a/b.jpg")])
def test_json_has_every_field_and_stays_what_it_is(picture: Path | None) -> None:
    caption = "<script>\x1b[31m\u202e😀"
    voter = Voter(7, 3.0, 0.25, caption, ["cat", "שלום"], picture)
    made = Prediction([Tag("cat", 0.123456789, True, 0.1)], [voter], image_only=True)
    values = json.loads(json.dumps(made.as_json()))
    assert values == {
        "tags": [{"name": "cat", "score": 0.123457, "chosen": True, "threshold": 0.1}],
        "neighbours": [
            {
                "image_id": 7,
                "distance": 3.0,
                "share": 0.25,
                "caption": caption,
                "categories": ["cat", "שלום"],
                "picture": None if picture is None else "a/b.jpg",
            }
        ],
        "image_only": True,
    }
