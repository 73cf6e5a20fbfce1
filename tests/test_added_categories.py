import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmhash.added_categories import added_scores, usual_share
from mmhash.codes import binarise, hamming, pack
from mmhash.index.kinds import KINDS, build
from mmhash.retriever import Retriever

BITS, BUILT = 16, 3


def soft_codes(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (n, BITS)).astype(np.float32)


def make(n: int = 60, examples: int = 5, kind: str = "flat", **changes) -> Retriever:
    """A database in which the last ``examples`` items carry a fourth category."""
    soft, rng = soft_codes(0, n), np.random.default_rng(0)
    labels = np.zeros((n, BUILT + 1), dtype=np.uint8)
    labels[:, :BUILT] = rng.integers(0, 2, (n, BUILT))
    labels[n - examples :, BUILT] = 1
    basic = {"k": 7, "voting": "softmax", "tau": 0.07, "ties": "expected", **changes}
    return Retriever(build(pack(binarise(soft)), kind), labels, np.arange(n), **basic, soft=soft)


def scores(retriever: Retriever, soft: np.ndarray) -> np.ndarray:
    codes = pack(binarise(soft))
    usual = usual_share(retriever.labels, BUILT)
    return np.concatenate(
        [
            added_scores(
                retriever,
                BUILT,
                usual,
                found,
                codes[start : start + len(found)],
                soft[start : start + len(found)],
            )
            for start, (found, _, _) in enumerate(retriever.votes(codes, soft))
        ]
    )


def similarity(distance: str, query: np.ndarray, items: np.ndarray) -> np.ndarray:
    if distance == "hamming":
        return 1 - hamming(pack(binarise(query)), pack(binarise(items))) / BITS
    if distance == "asymmetric":
        return (1 + query @ np.where(items >= 0, 1.0, -1.0).T / BITS) / 2
    lengths = np.linalg.norm(query, axis=1)[:, None] * np.linalg.norm(items, axis=1)
    return (1 + query @ items.T / lengths) / 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("distance", ["hamming", "cosine", "asymmetric", "hybrid"])
def test_the_score_is_bayes_rule_with_kernel_densities(distance: str, kind: str) -> None:
    retriever = make(kind=kind, distance=distance, rerank=60)
    queries = soft_codes(1, 9)
    s = similarity(distance, queries, retriever.soft)
    usual = np.median(retriever.labels[:, :BUILT].mean(axis=0))
    for row, score in zip(s, scores(retriever, queries)[:, 0], strict=True):
        kernel = np.exp(row / 0.07)
        near = row[:55] >= np.sort(row)[-7] - 1e-9
        own = usual * kernel[55:].mean()
        other = (1 - usual) * kernel[:55][near].sum() / 55
        assert score == pytest.approx(own / (own + other), abs=2e-4)


def test_examples_that_are_not_among_the_nearest_are_compared_all_the_same() -> None:
    retriever = make(n=200, k=3)
    queries = soft_codes(2, 50)
    votes = np.concatenate(
        [vote for _, _, vote in retriever.votes(pack(binarise(queries)), queries)]
    )
    without = votes[:, BUILT] == 0
    assert without.sum() > 30
    assert (scores(retriever, queries)[without] > 0).all()


@given(st.integers(0, 10_000), st.integers(1, 40), st.floats(1e-4, 10))
def test_scores_are_probabilities_whatever_the_temperature(seed, examples, tau) -> None:
    found = scores(make(examples=examples, tau=tau), soft_codes(seed, 4))
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()


def test_an_exact_copy_of_an_example_scores_high_and_a_category_without_items_zero() -> None:
    retriever = make()
    wider = np.concatenate([retriever.labels, np.zeros((60, 1), dtype=np.uint8)], axis=1)
    empty = Retriever(
        retriever.index, wider, retriever.image_id, 7, "softmax", 0.07, "expected", soft=None
    )
    found = scores(empty, retriever.soft[-2:])
    assert found.shape == (2, 2)
    assert (found[:, 0] > 0.5).all()
    assert (found[:, 1] == 0).all()
    none = Retriever(retriever.index, 0 * wider, retriever.image_id, 7, "softmax", 0.07, "expected")
    assert (scores(none, retriever.soft[:2]) == 0).all()


def test_where_every_item_carries_the_category_it_is_certain() -> None:
    assert (scores(make(examples=60), soft_codes(3, 4)) == 1).all()


def test_the_order_of_the_database_does_not_count() -> None:
    retriever, queries = make(), soft_codes(4, 6)
    order = np.random.default_rng(1).permutation(60)
    soft = retriever.soft[order]
    shuffled = Retriever(
        build(pack(binarise(soft))),
        retriever.labels[order],
        order,
        *(7, "softmax", 0.07, "expected"),
        soft=soft,
    )
    np.testing.assert_allclose(scores(shuffled, queries), scores(retriever, queries), atol=1e-6)


def test_real_vectors_of_a_model_without_hash_layer_are_compared_by_cosine() -> None:
    z = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    labels = np.zeros((40, 2), dtype=np.uint8)
    labels[::2, 0] = 1
    labels[-3:, 1] = 1
    retriever = Retriever(build(z), labels, np.arange(40), 5, "softmax", 0.07, "expected")
    (found,) = [
        added_scores(retriever, 1, 0.5, near, 3 * z[-3:], None)
        for near, _, _ in retriever.votes(3 * z[-3:])
    ]
    assert (found[:, 0] > 0.9).all()


def test_usual_is_the_median_category() -> None:
    labels = np.array([[1, 1, 0, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 0, 1]], dtype=np.uint8)
    assert usual_share(labels, 3) == 0.5
