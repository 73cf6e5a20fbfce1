import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import f1_score

from mmhash.codes import binarise, pack
from mmhash.errors import InputError
from mmhash.evaluation import (
    ScoredSplit,
    evaluate_head,
    evaluate_heads,
    evaluate_image_only,
    evaluate_retrieval,
    headline,
    search_cost,
    with_hybrid,
)
from mmhash.features import Dataset
from mmhash.index.kinds import build
from mmhash.metrics.multilabel import rare_classes
from mmhash.retriever import Retriever
from mmhash.training.batches import Features

CLASSES = ["a", "b", "c", "d", "e", "f", "g"]
SETTINGS = {"thresholds": "per_class", "bootstrap_samples": 100, "bootstrap_seed": 0}


def drawn(seed: int, n: int = 60, c: int = len(CLASSES)) -> tuple[np.ndarray, np.ndarray]:
    """Labels with a long tail and two heads of scores for them, (2, n, c)."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, c)) < 0.5 / np.arange(1, c + 1) ** 0.5).astype(np.uint8)
    labels[np.arange(c), np.arange(c)] = 1
    scores = 0.35 * labels + 0.65 * rng.random((2, n, c))
    scores[0] = np.round(scores[0], 1)
    return labels, scores.astype(np.float32)


def scored(name: str, seed: int, classifier: bool = True) -> ScoredSplit:
    labels, (knn, network) = drawn(seed)
    n = len(labels)
    heads = {"knn": knn} | ({"classifier": network} if classifier else {})
    vectors = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    return ScoredSplit(
        name, np.arange(n), labels, vectors, vectors, False, pa.table({"x": range(n)}), heads
    )


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    labels, _ = drawn(9, n=90)
    vectors = np.zeros((90, 3), np.float32)
    return Dataset(
        Features(vectors, vectors, np.arange(91), labels),
        np.arange(90),
        np.repeat(["train", "restval"], 45),
        CLASSES,
        None,
        {},
    )


@pytest.fixture(scope="module")
def retriever(dataset: Dataset) -> Retriever:
    items = np.random.default_rng(0).normal(size=(90, 3)).astype(np.float32)
    labels = dataset.features.labels
    return Retriever(build(items), labels, np.arange(90), 5, "softmax", 0.07, "expected")


def evaluated(
    splits: dict[str, ScoredSplit], dataset: Dataset, retriever: Retriever
) -> tuple[dict[str, Any], dict[str, Any]]:
    mixed, weight = with_hybrid(splits)
    return evaluate_heads(mixed, retriever, dataset, SETTINGS, weight)


def test_nothing_that_is_chosen_or_fitted_moves_with_the_test_set(
    dataset: Dataset, retriever: Retriever
) -> None:
    val = scored("val", 1)
    before, chosen = evaluated({"val": val, "test": scored("test", 2)}, dataset, retriever)
    after, again = evaluated({"val": val, "test": scored("test", 3)}, dataset, retriever)
    assert set(chosen) == {"knn", "classifier", "hybrid"}
    for entry in chosen.values():
        assert {"global", "per_class", "calibration"} <= set(entry)
    assert chosen == again  # thresholds, weight, slope and intercept
    assert before["val"] == after["val"]
    assert before["test"]["hybrid"]["mAP"] != after["test"]["hybrid"]["mAP"]
    _, other = evaluated({"val": scored("val", 4), "test": val}, dataset, retriever)
    for head, entry in other.items():
        assert entry["calibration"] != chosen[head]["calibration"]
        assert entry["per_class"] != chosen[head]["per_class"]


def test_the_hybrid_is_at_least_as_good_as_both_on_val_and_its_weight_is_written(
    dataset: Dataset, retriever: Retriever
) -> None:
    figures, chosen = evaluated(
        {"val": scored("val", 1), "test": scored("test", 2)}, dataset, retriever
    )
    heads = figures["val"]
    assert heads["hybrid"]["mAP"] >= max(heads["knn"]["mAP"], heads["classifier"]["mAP"])
    weight = chosen["hybrid"]["knn_weight"]
    assert 0 < weight < 1
    assert (
        figures["val"]["hybrid"]["knn_weight"] == figures["test"]["hybrid"]["knn_weight"] == weight
    )
    assert "knn_weight" not in figures["test"]["knn"]


def test_without_a_classifier_there_is_no_hybrid(dataset: Dataset, retriever: Retriever) -> None:
    splits = {name: scored(name, seed, False) for name, seed in (("val", 1), ("test", 2))}
    figures, chosen = evaluated(splits, dataset, retriever)
    assert set(chosen) == set(figures["test"]) == {"knn"}
    with pytest.raises(InputError, match=r"knn\.head is 'hybrid'"):
        splits["test"].tags(CLASSES, 2, "hybrid")


def test_tags_are_the_best_classes_of_the_head_that_is_named() -> None:
    splits, _ = with_hybrid({"val": scored("val", 1), "test": scored("test", 2)})
    tables = {head: splits["test"].tags(CLASSES, 3, head) for head in splits["test"].heads}
    for head, table in tables.items():
        scores = splits["test"].heads[head]
        for row, (tags, values) in enumerate(zip(table["tags"], table["scores"], strict=True)):
            places = [CLASSES.index(tag) for tag in tags.as_py()]
            assert scores[row, places].tolist() == values.as_py()
            assert sorted(scores[row], reverse=True)[:3] == values.as_py()
    assert tables["knn"]["tags"] != tables["classifier"]["tags"]


def test_both_kinds_of_thresholds_are_judged_on_rare_and_frequent_classes(
    dataset: Dataset, retriever: Retriever
) -> None:
    test = scored("test", 2)
    figures, chosen = evaluated({"val": scored("val", 1), "test": test}, dataset, retriever)
    rare = rare_classes(dataset.features.labels)
    assert figures["data"]["rare_classes"] == [CLASSES[c] for c in np.flatnonzero(rare)]
    assert len(figures["data"]["rare_classes"]) == 2
    assert sorted(figures["data"]["rare_classes"] + figures["data"]["frequent_classes"]) == CLASSES
    for kind in ("global", "per_class"):
        passed = test.heads["knn"].astype(np.float64) >= np.asarray(chosen["knn"][kind])
        for suffix, group in (("", slice(None)), ("_rare", rare), ("_frequent", ~rare)):
            assert figures["test"]["knn"][f"F1_macro_{kind}{suffix}"] == pytest.approx(
                f1_score(test.labels[:, group], passed[:, group], average="macro", zero_division=0),
                abs=1e-9,
            )
    # the mode of the settings decides which of them is the F1_macro beside CF1 and OF1
    assert figures["test"]["knn"]["F1_macro"] == figures["test"]["knn"]["F1_macro_per_class"]


def test_thresholds_come_from_val_and_serve_both_splits() -> None:
    labels, scores = {}, {}
    for name, seed in (("val", 5), ("test", 6)):
        labels[name], (_, scores[name]) = drawn(seed)
    settings = {"mode": "global", "bootstrap_samples": 100, "bootstrap_seed": 0}
    rare = rare_classes(labels["val"])
    figures, chosen, notes = evaluate_head("knn", scores, labels, rare, **settings)
    assert figures["val"]["threshold"] == figures["test"]["threshold"] == chosen["global"]
    assert figures["test"]["mAP_low"] <= figures["test"]["mAP"] <= figures["test"]["mAP_high"]
    assert figures["val"]["Brier_calibrated"] < figures["val"]["Brier"]
    assert isinstance(notes, list)


def test_a_constant_head_is_said_to_be_at_chance() -> None:
    labels = (np.random.default_rng(3).random((30, 4)) < 0.4).astype(np.uint8)
    both = {"val": labels, "test": labels}
    constant = {name: np.full((30, 4), 0.5, np.float32) for name in both}
    _, _, notes = evaluate_head(
        "knn",
        constant,
        both,
        rare_classes(labels),
        mode="global",
        bootstrap_samples=100,
        bootstrap_seed=0,
    )
    assert len(notes) == 2
    assert "at chance" in notes[0]


@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("perfect", "test retrieval: mAP is exactly 1"),
        ("collapsed", "is at chance"),
        ("usual", None),
    ],
)
def test_retrieval_that_looks_wrong_says_what_to_check(
    hashed: bool, case: str, words: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Two classes; items of a class have one code, all have the same, or some have the other's."""
    labels = np.eye(2, dtype=np.uint8)[np.arange(20) % 2]
    shown = np.zeros_like(labels) if case == "collapsed" else labels.copy()
    if case == "usual":
        shown[:4] = shown[:4, ::-1]
    soft = np.repeat(shown.astype(np.float32) * 2 - 1, 8, axis=1)
    items = pack(binarise(soft)) if hashed else soft
    scored = ScoredSplit(
        "test", np.arange(20), labels, soft, items, hashed, pa.table({"x": range(20)})
    )
    with caplog.at_level(logging.WARNING):
        evaluate_retrieval(
            scored, Retriever(build(items), labels, np.arange(20), 5, "softmax", 0.07, "expected")
        )
    if words is None:
        assert caplog.messages == []
    else:
        (line,) = caplog.messages
        assert line.startswith("test retrieval: ")
        assert words in line


def test_heads_without_captions_that_look_wrong_say_what_to_check(
    dataset: Dataset,
    retriever: Retriever,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    splits = {name: scored(name, seed) for name, seed in (("val", 1), ("test", 2))}
    for split in splits.values():
        split.heads["classifier"][:] = 0.5
    monkeypatch.setattr("mmhash.evaluation.without_captions", lambda dataset: dataset)
    monkeypatch.setattr("mmhash.evaluation.score_split", lambda split, *_: splits[split])
    nothing: Any = None
    with caplog.at_level(logging.WARNING):
        evaluate_image_only(dataset, nothing, 1.0, retriever, SETTINGS, nothing)
    lines = [line for line in caplog.messages if "classifier" in line]
    assert len(lines) == len(caplog.messages) == 2
    for line, split in zip(lines, ("val", "test"), strict=True):
        assert line.startswith(f"image only, {split} classifier: mAP ")
        assert "is at chance" in line


def test_classes_without_a_positive_are_named_for_each_split(
    dataset: Dataset, retriever: Retriever
) -> None:
    splits = {name: scored(name, seed) for name, seed in (("val", 1), ("test", 2))}
    splits["val"].labels[:, [1, 4]] = 0
    splits["test"].labels[:, 3] = 0
    figures, _ = evaluated(splits, dataset, retriever)
    assert figures["data"]["val_classes_left_out"] == ["b", "e"]
    assert figures["data"]["test_classes_left_out"] == ["d"]
    assert figures["val"]["knn"]["classes_left_out"] == 2


def coded_retriever(**changes: Any) -> tuple[Retriever, np.ndarray, np.ndarray]:
    """A retriever of 300 codes of 16 bits, and packed and soft codes of 20 queries."""
    soft = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    codes = pack(binarise(soft))
    labels = np.ones((300, 2), np.uint8)
    basic = {"k": 5, "voting": "softmax", "tau": 0.07, "ties": "expected", "soft": soft}
    retriever = Retriever(build(codes), labels, np.arange(300), **(basic | changes))
    return retriever, codes[:20], soft[:20]


READINGS = ("query_ms_mean", "query_ms_p50", "query_ms_p99", "queries_per_second_batched")


def test_codes_are_timed_against_the_cosine_of_their_soft_codes() -> None:
    retriever, codes, soft = coded_retriever()
    alone = search_cost(replace(retriever, soft=None), codes, soft)
    assert set(alone) == {*READINGS, *(f"knn_{name}" for name in READINGS)}
    readings = search_cost(retriever, codes, soft)
    assert set(readings) - set(alone) == {
        *(f"cosine_{name}" for name in READINGS),
        "speedup_single",
        "speedup_batched",
    }
    assert readings["speedup_single"] == pytest.approx(
        readings["cosine_query_ms_mean"] / readings["query_ms_mean"], rel=0.01, abs=0.006
    )
    batched = "queries_per_second_batched"
    assert readings["speedup_batched"] == pytest.approx(
        readings[batched] / readings[f"cosine_{batched}"], rel=0.01, abs=0.006
    )


@pytest.mark.parametrize("distance", ["hamming", "cosine", "hybrid", "asymmetric"])
def test_the_search_that_is_configured_is_timed_and_advised_on(
    distance: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fast, slow = (dict.fromkeys(READINGS, value) for value in (1.0, 12.34))
    monkeypatch.setattr("mmhash.evaluation.query_latency", lambda *_: fast)
    monkeypatch.setattr(Retriever, "latency", lambda *_: slow)
    retriever, codes, soft = coded_retriever(distance=distance)
    with caplog.at_level(logging.WARNING):
        readings = search_cost(retriever, codes, soft)
    assert readings["query_ms_mean"] == 1
    assert readings["knn_query_ms_mean"] == (1 if distance == "hamming" else 12.34)
    assert len(caplog.messages) == (0 if distance == "hamming" else 1)
    assert all("12.3 ms" in line for line in caplog.messages)


def test_the_headline_is_a_copy_of_what_a_comparison_starts_with() -> None:
    def head(mean: float) -> dict[str, float]:
        names = ("mAP", "mAP_low", "mAP_high", "F1_micro", "P@5")
        return {name: mean + place / 100 for place, name in enumerate(names)}

    figures: dict[str, Any] = {
        "val": {"knn": head(0.1)},
        "test": {"knn": head(0.2), "classifier": head(0.4)},
        "retrieval": {"test": {"mAP@50": 0.7, "mAP@all": 0.5}},
        "across": {},
    }
    found = headline(figures)
    assert found == {
        "val_mAP_knn": 0.1,
        "mAP_knn": 0.2,
        "mAP_classifier": 0.4,
        "mAP_low_knn": pytest.approx(0.21),
        "mAP_high_knn": pytest.approx(0.22),
        "F1_micro_knn": pytest.approx(0.23),
        "P@5_knn": pytest.approx(0.24),
        "retrieval_mAP@50": 0.7,
    }
    figures["across"] = {"test": {"image_to_text": {"mAP@50": 0.3}, "text_to_image": {"mAP@50": 1}}}
    across = {"image_to_text_mAP@50": 0.3, "text_to_image_mAP@50": 1}
    assert headline(figures) == found | across
