import numpy as np
import pytest

from mmhash.codes import hamming, pack
from mmhash.evaluation import Retriever, evaluate_head, probabilities, query_latency
from mmhash.index import build, indexed_items


@pytest.fixture
def retriever() -> Retriever:
    rng = np.random.default_rng(0)
    codes = pack(rng.integers(0, 2, (40, 16), dtype=np.uint8))
    labels = rng.integers(0, 2, (40, 5), dtype=np.uint8)
    return Retriever(build(codes), labels, np.arange(100, 140), 7, "softmax", 0.07, "expected")


def queries(n: int) -> np.ndarray:
    return pack(np.random.default_rng(1).integers(0, 2, (n, 16), dtype=np.uint8))


def test_probabilities_are_the_sigmoid_without_overflow() -> None:
    logits = np.array([[-1e4, -2.0, 0.0, 2.0, 1e4]], dtype=np.float32)
    expected = [[0.0, 1 / (1 + np.e**2), 0.5, 1 / (1 + np.e**-2), 1.0]]
    with np.errstate(over="raise"):
        np.testing.assert_allclose(probabilities(logits), expected, rtol=1e-6)


def test_the_neighbour_table_names_the_k_nearest_images(retriever: Retriever) -> None:
    scores, table = retriever.score(queries(6))
    assert scores.shape == (6, 5)
    assert table.num_rows == 6
    everything = hamming(queries(6), indexed_items(retriever.index))
    distances = np.array(table["distances"].to_pylist())
    np.testing.assert_array_equal(distances, np.sort(everything, axis=1)[:, :7])
    rows = np.array(table["neighbour_ids"].to_pylist()) - 100
    np.testing.assert_array_equal(np.take_along_axis(everything, rows, axis=1), distances)
    weights = np.array(table["weights"].to_pylist())
    assert (weights >= 0).all()
    assert (weights.sum(axis=1) <= 1 + 1e-6).all()


def test_a_flat_index_has_recall_one(retriever: Retriever) -> None:
    assert retriever.recall(queries(9)) == 1.0


def test_thresholds_come_from_val_and_serve_both_splits() -> None:
    rng = np.random.default_rng(2)
    labels = {name: (rng.random((50, 4)) < 0.4).astype(np.uint8) for name in ("val", "test")}
    scores = {
        name: (0.6 * labels[name] + 0.4 * rng.random((50, 4))).astype(np.float32) for name in labels
    }
    settings = {"mode": "global", "bootstrap_samples": 100, "bootstrap_seed": 0}
    figures, thresholds, notes = evaluate_head("knn", scores, labels, **settings)
    assert figures["val"]["threshold"] == figures["test"]["threshold"] == thresholds["global"]
    assert figures["test"]["mAP_low"] <= figures["test"]["mAP"] <= figures["test"]["mAP_high"]
    other = {"val": labels["val"], "test": 1 - labels["test"]}
    assert evaluate_head("knn", scores, other, **settings)[1] == thresholds
    assert isinstance(notes, list)


def test_a_constant_head_is_said_to_be_at_chance() -> None:
    labels = (np.random.default_rng(3).random((30, 4)) < 0.4).astype(np.uint8)
    both = {"val": labels, "test": labels}
    constant = {name: np.full((30, 4), 0.5, np.float32) for name in both}
    _, _, notes = evaluate_head(
        "knn", constant, both, mode="global", bootstrap_samples=100, bootstrap_seed=0
    )
    assert len(notes) == 2
    assert "at chance" in notes[0]


def test_latency_readings_are_positive(retriever: Retriever) -> None:
    readings = query_latency(retriever.index, queries(30), 5)
    assert readings["query_ms_p99"] >= readings["query_ms_p50"] > 0
    assert readings["queries_per_second_batched"] > 0
