"""Tables behind the plots."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_score, recall_score

from mmhash.errors import InputError
from mmhash.plots import tables

NAMES = ["cat", "dog", "owl", "yak"]


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    labels = (rng.random((80, 4)) < 0.3).astype(np.uint8)
    labels[:, 2] = 0
    scores = np.round(0.4 * labels + 0.6 * rng.random((80, 4)), 1).astype(np.float32)
    return scores, labels


def test_classes_stand_in_order_of_ap_with_those_without_positives_last(
    scored: tuple[np.ndarray, np.ndarray],
) -> None:
    scores, labels = scored
    table = tables.class_table(scores, labels, 0.5, NAMES, {"cat": 9, "owl": 1})
    assert table["class"][-1] == "owl"
    assert [table[name][-1] for name in tables.FIGURES] == [None] * 4
    aps = table["AP"][:-1]
    assert aps == sorted(aps, reverse=True)
    for row, name in enumerate(table["class"][:-1]):
        c = NAMES.index(name)
        chosen = scores[:, c].astype(np.float64) >= 0.5
        assert table["AP"][row] == pytest.approx(
            average_precision_score(labels[:, c], scores[:, c]), abs=1e-9
        )
        assert table["precision"][row] == pytest.approx(precision_score(labels[:, c], chosen))
        assert table["recall"][row] == pytest.approx(recall_score(labels[:, c], chosen))
        assert table["support"][row] == labels[:, c].sum()
    assert table["images"][table["class"].index("cat")] == 9


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 9))
def test_every_point_of_the_curve_is_reached_by_its_threshold(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.random((30, 3)) < 0.4).astype(np.uint8)
    labels[0, 0] = 1
    scores = np.round(rng.random((30, 3)) * levels) / levels
    table = tables.precision_recall_table({"knn": scores}, labels, {"knn": 0.5}, points=11)
    assert table["recall"].count(1.0) >= 1
    for threshold, recall, precision, operating in zip(
        *(table[name] for name in ("threshold", "recall", "precision", "operating")), strict=True
    ):
        chosen = scores >= threshold
        assert recall == pytest.approx(labels[chosen].sum() / labels.sum(), abs=1e-12)
        assert precision == pytest.approx(labels[chosen].mean(), abs=1e-12)
        assert operating == 0 or threshold == 0.5
    curve = [r for r, kind in zip(table["recall"], table["operating"], strict=True) if kind == 0]
    assert curve == sorted(curve)
    assert len(curve) <= 11


def test_a_threshold_that_chooses_nothing_has_no_point_on_the_curve() -> None:
    scores, labels = np.array([[0.1], [0.2]]), np.array([[0], [1]])
    table = tables.precision_recall_table({"knn": scores}, labels, {"knn": 0.9})
    assert set(table["operating"]) == {0}


def test_terms_that_are_no_part_of_the_loss_are_not_drawn() -> None:
    history: tables.Table = {
        "epoch": [0.0, 1.0],
        "loss": [2.0, 1.0],
        "val_loss": [3.0, None],
        "loss_hash": [0.0, 0.0],
        "unknown": [5.0, 5.0],
    }
    table = tables.training_table(history)
    assert list(zip(*table.values(), strict=True)) == [
        (0, "total loss", "train", 2.0),
        (1, "total loss", "train", 1.0),
        (0, "total loss", "val", 3.0),
    ]


@pytest.mark.parametrize(
    ("scales", "also", "drawn"),
    [
        ([1.0, 1.0], {}, False),
        ([1.0, 2.0], {}, True),  # UCMFH may follow a schedule
        ([1.0, 1.0], {"loss_classification": [0.2, 0.1]}, True),
    ],
)
def test_a_hash_scale_that_a_cross_modal_method_does_not_have_is_not_drawn(
    scales: list[float], also: tables.Table, drawn: bool
) -> None:
    history: tables.Table = {"epoch": [0.0, 1.0], "loss": [2.0, 1.0], "hash_scale": scales, **also}
    panels = set(tables.training_table(history)["panel"])
    assert (tables.PANELS["hash_scale"][0] in panels) == drawn


def test_health_of_codes_is_a_table_of_its_own_and_zeros_are_shown() -> None:
    history: tables.Table = {
        "epoch": [0.0, 1.0],
        "loss": [2.0, 1.0],
        "val_bit_correlation": [0.0, 0.0],
        "val_unique_share": [None, 0.5],
    }
    rows = list(zip(*tables.code_health_table(history).values(), strict=True))
    assert rows == [
        (0, tables.CODE_PANELS["val_bit_correlation"][0], "val", 0.0),
        (1, tables.CODE_PANELS["val_bit_correlation"][0], "val", 0.0),
        (1, tables.CODE_PANELS["val_unique_share"][0], "val", 0.5),
    ]
    assert set(tables.training_table(history)["panel"]) == {"total loss"}
    del history["val_bit_correlation"], history["val_unique_share"]
    assert not any(tables.code_health_table(history).values())


def test_confusion_is_recall_on_the_diagonal_and_leaves_out_classes_without_an_image(
    scored: tuple[np.ndarray, np.ndarray],
) -> None:
    scores, labels = scored
    cuts = np.array([0.5, 0.4, 0.3, 0.6])
    table = tables.confusion_table({"knn": scores}, labels, {"knn": cuts}, NAMES)
    support = labels.sum(axis=0, dtype=int)
    places = dict(zip(table["present"], table["row"], strict=True))
    assert set(places) == {"cat", "dog", "yak"}
    by_place = sorted(places, key=lambda name: places[name])
    assert by_place == sorted(places, key=lambda name: -support[NAMES.index(name)])
    for row in zip(*table.values(), strict=True):
        source, present, predicted, place, other, share, images = row
        i, j = NAMES.index(present), NAMES.index(predicted)
        assert (place, other) == (places[present], places[predicted])
        made = labels[:, j] == 1 if source == "labels" else scores[:, j].astype(float) >= cuts[j]
        assert share == pytest.approx(made[labels[:, i] == 1].mean(), abs=1e-12)
        assert images == support[i]
        if i == j:
            recall = 1 if source == "labels" else recall_score(labels[:, i], made)
            assert share == pytest.approx(recall, abs=1e-12)
    assert len(table["share"]) == 2 * 9


def test_confusion_shows_the_classes_of_most_images() -> None:
    count = tables.MOST_CONFUSED + 5
    labels = np.tril(np.ones((count, count), dtype=np.uint8))  # class c in count - c images
    table = tables.confusion_table({}, labels, {}, [f"c{i}" for i in range(count)])
    assert list(dict.fromkeys(table["present"])) == [f"c{i}" for i in range(tables.MOST_CONFUSED)]


def test_each_pair_of_bits_has_its_correlation_once() -> None:
    soft = np.random.default_rng(0).normal(size=(50, 8))
    soft[:, 3] = soft[:, 1]
    soft[:, 5] = 1.0  # never changes
    table = tables.bit_correlation_table(soft)
    assert len(table["bit"]) == 8 * 7 / 2
    bits = np.where(soft >= 0, 1.0, 0.0)
    for bit, other, r in zip(*table.values(), strict=True):
        assert bit > other
        constant = 5 in (bit, other)
        expected = 0.0 if constant else np.corrcoef(bits[:, bit], bits[:, other])[0, 1]
        assert r == pytest.approx(expected, abs=1e-9)


def test_reliability_is_shown_before_and_after_the_calibration(
    scored: tuple[np.ndarray, np.ndarray],
) -> None:
    scores, labels = scored
    cuts = {"knn": {"calibration": {"slope": 1.0, "intercept": 50.0}}}  # moves all scores to 1
    table = tables.reliability_rows({"knn": scores}, labels, cuts)
    assert table["kind"].count("calibrated") == 1
    assert (table["bin"][-1], table["count"][-1]) == (14, labels.size)
    assert table["score"][-1] == pytest.approx(1)
    assert table["frequency"][-1] == pytest.approx(labels.mean(), abs=1e-12)
    raw = [n for kind, n in zip(table["kind"], table["count"], strict=True) if kind == "raw"]
    assert sum(raw) == labels.size


def test_without_codes_their_tables_have_a_header_only() -> None:
    nothing = np.empty((0, 0))
    assert tables.bit_table(nothing) == {"rank": [], "bit": [], "ones": []}
    assert tables.bit_correlation_table(nothing) == {"bit": [], "other": [], "correlation": []}
    assert set(map(len, tables.distance_table(None).values())) == {0}


def test_histograms_of_what_the_dataset_lacks_are_left_out() -> None:
    table = tables.histogram_table(
        {
            "labels_per_image": {"histogram": {"10": 1, "2": 3}},
            "captions_per_image": {"histogram": {"0": 4}},
            "caption_words": {"histogram": {}},
        }
    )
    assert table["quantity"] == ["labels an image"] * 2
    assert table["value"] == [2, 10]
    assert table["share"] == [0.75, 0.25]


def test_bits_are_ranked_by_their_share_of_ones_and_zero_counts_as_one() -> None:
    soft = np.array([[0.0, -1.0, 0.5], [0.2, -0.1, -0.5]])
    assert tables.bit_table(soft) == {"rank": [1, 2, 3], "bit": [1, 2, 0], "ones": [0.0, 0.5, 1.0]}


def test_frequencies_stand_commonest_first() -> None:
    assert tables.class_frequency_table({"owl": 1, "cat": 9})["class"] == ["cat", "owl"]


def test_a_table_survives_writing_and_reading(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    tables.write_csv(path, {"epoch": [0, 1], "loss": [1 / 3, None]})
    assert path.read_bytes() == b"epoch,loss\n0,0.333333\n1,\n"
    table = tables.read_csv(path)
    assert table["epoch"] == [0.0, 1.0]
    assert math.isclose(table["loss"][0], 1 / 3, rel_tol=1e-5)
    assert table["loss"][1] is None


@pytest.mark.parametrize("text", ["", "epoch,loss\n0,high\n", "epoch,loss\n0\n1,2\n"])
def test_a_damaged_history_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "history.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"history\.csv"):
        tables.read_csv(path)


def test_a_missing_history_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"history\.csv: no such file"):
        tables.read_csv(tmp_path / "history.csv")
