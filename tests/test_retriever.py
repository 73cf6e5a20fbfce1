import numpy as np
import pytest

from mmhash.codes import hamming, pack
from mmhash.index import build, indexed_items
from mmhash.retriever import Retriever, query_latency


@pytest.fixture
def retriever() -> Retriever:
    rng = np.random.default_rng(0)
    codes = pack(rng.integers(0, 2, (40, 16), dtype=np.uint8))
    labels = rng.integers(0, 2, (40, 5), dtype=np.uint8)
    return Retriever(build(codes), labels, np.arange(100, 140), 7, "softmax", 0.07, "expected")


def queries(n: int) -> np.ndarray:
    return pack(np.random.default_rng(1).integers(0, 2, (n, 16), dtype=np.uint8))


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


def test_latency_readings_are_positive(retriever: Retriever) -> None:
    readings = query_latency(retriever.index, queries(30), 5)
    assert readings["query_ms_p99"] >= readings["query_ms_p50"] > 0
    assert readings["queries_per_second_batched"] > 0
