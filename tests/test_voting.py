import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhash.errors import InputError
from mmhash.index.kinds import build
from mmhash.index.neighbours import Neighbours
from mmhash.index.reference import brute_force
from mmhash.index.search import neighbour_chunks, search_complete
from mmhash.voting import similarity, vote, weights

EVERY_VOTING = ["softmax", "uniform", "rank", "threshold"]
VOTING = st.sampled_from(EVERY_VOTING)
TIES = st.sampled_from(["expected", "row_id"])


def one_query(distances: list[int], bits: int = 8) -> Neighbours:
    n = len(distances)
    return Neighbours(
        np.array([0, n]), np.array(distances, dtype=np.int32), np.arange(n), "hamming", bits
    )


def scores_of(found: Neighbours, labels: np.ndarray, k: int, *args, **settings) -> np.ndarray:
    return vote(found, labels, weights(found, k, *args, **settings))


def test_similarity_is_one_for_equal_and_zero_for_opposite():
    assert similarity(one_query([0, 2, 8])).tolist() == [1, 0.75, 0]
    cosine = Neighbours(
        np.array([0, 3]), np.array([0, 1, 2], np.float32), np.arange(3), "cosine", 0
    )
    assert similarity(cosine).tolist() == [1, 0.5, 0]


def test_softmax_runs_over_the_k_taken():
    found = one_query([0, 1, 2, 5, 7])
    w = weights(found, 3, tau=0.1)
    expected = np.exp(np.array([1, 7 / 8, 6 / 8]) / 0.1)
    np.testing.assert_allclose(w[:3], expected / expected.sum(), rtol=1e-12)
    assert w[3:].tolist() == [0, 0]


def test_tied_neighbours_share_their_weight():
    found = one_query([0, 3, 3, 3])
    np.testing.assert_allclose(weights(found, 2, "uniform"), [1 / 2, 1 / 6, 1 / 6, 1 / 6])
    np.testing.assert_allclose(weights(found, 2, "uniform", ties="row_id"), [0.5, 0.5, 0, 0])


def weights_of_one_order(s: np.ndarray, voting: str, threshold: float) -> np.ndarray:
    """The weights of k neighbours in a fixed order, straight from their definition."""
    k = len(s)
    if voting == "softmax":
        w = np.exp(s / 0.2)
    elif voting == "uniform":
        w = np.ones(k)
    elif voting == "rank":
        w = 1 / np.arange(1, k + 1)
    elif (s >= threshold).any():
        w = (s >= threshold).astype(float)
    else:
        w = np.eye(k)[0]
    return w / w.sum()


@pytest.mark.parametrize("voting", EVERY_VOTING)
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize(
    ("distances", "orders"),
    [([1, 1, 2, 2, 2, 4], 12), ([0, 1, 3, 3, 3, 3], 24), ([5] * 6, 720), ([0, 1, 2, 3, 4, 5], 1)],
)
@pytest.mark.parametrize("threshold", [0.0, 0.75, 0.8, 1.0])
def test_expected_weight_is_the_mean_over_all_orders_of_the_tied(
    voting, k, distances, orders, threshold
):
    distances = np.array(distances)
    total = np.zeros(6)
    seen = 0
    for order in map(list, itertools.permutations(range(6))):
        if (np.diff(distances[order]) < 0).any():
            continue
        taken = order[:k]
        w = weights_of_one_order(1 - distances[taken] / 8, voting, threshold)
        total[taken] += w
        seen += 1
        if order == sorted(order):
            by_row = weights(one_query(distances.tolist()), k, voting, 0.2, "row_id", threshold)
            np.testing.assert_allclose(by_row[:k], w, rtol=0, atol=1e-12)
            assert not by_row[k:].any()
    assert seen == orders
    found = weights(one_query(distances.tolist()), k, voting, 0.2, threshold=threshold)
    np.testing.assert_allclose(found, total / seen, rtol=0, atol=1e-12)


def test_ranks_run_over_the_places_that_a_shell_fills_within_k():
    w = weights(one_query([0, 3, 3, 3]), 3, "rank")
    tied = (1 / 2 + 1 / 3) / 3
    np.testing.assert_allclose(w, np.array([1, tied, tied, tied]) / (1 + 1 / 2 + 1 / 3))


def test_threshold_keeps_similar_neighbours_or_else_the_nearest():
    found = one_query([1, 2, 2, 4])
    assert weights(found, 4, "threshold", threshold=0.75).tolist() == [1 / 3] * 3 + [0]
    assert weights(found, 4, "threshold", threshold=0.9).tolist() == [1, 0, 0, 0]
    tied = one_query([3, 3, 3, 4])
    np.testing.assert_allclose(weights(tied, 2, "threshold"), [1 / 3, 1 / 3, 1 / 3, 0])
    assert weights(tied, 2, "threshold", ties="row_id").tolist() == [1, 0, 0, 0]


@settings(max_examples=50)
@given(
    seed=st.integers(0, 10_000),
    k=st.integers(1, 12),
    voting=VOTING,
    ties=TIES,
    tau=st.sampled_from([1e-3, 0.07, 5.0]),
    threshold=st.sampled_from([0.0, 0.8, 1.0]),
)
def test_weights_sum_to_one_and_scores_lie_in_the_unit_interval(
    seed, k, voting, ties, tau, threshold
):
    rng = np.random.default_rng(seed)
    items, queries = rng.integers(0, 8, (40, 2), np.uint8), rng.integers(0, 8, (5, 2), np.uint8)
    labels = rng.integers(0, 2, (40, 6), dtype=np.uint8)
    labels[:, 0], labels[:, 1] = 1, 0
    found = search_complete(build(items), queries, k)
    w = weights(found, k, voting, tau, ties, threshold)
    np.testing.assert_allclose(np.add.reduceat(w, found.lims[:-1]), 1, rtol=1e-12)
    scores = vote(found, labels, w)
    assert scores.dtype == np.float32
    assert scores.min() >= 0
    assert scores.max() <= 1
    np.testing.assert_allclose(scores[:, 0], 1, rtol=1e-6)
    assert not scores[:, 1].any()


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 12), voting=VOTING)
def test_order_of_insertion_does_not_change_expected_scores(seed, k, voting):
    rng = np.random.default_rng(seed)
    items, queries = rng.integers(0, 8, (40, 1), np.uint8), rng.integers(0, 8, (5, 1), np.uint8)
    labels = rng.integers(0, 2, (40, 6), dtype=np.uint8)
    shuffled = rng.permutation(40)
    before = scores_of(search_complete(build(items), queries, k), labels, k, voting)
    after = scores_of(
        search_complete(build(items[shuffled]), queries, k), labels[shuffled], k, voting
    )
    np.testing.assert_allclose(before, after, rtol=0, atol=1e-6)


def test_row_id_order_does_depend_on_the_order_of_insertion():
    items, labels = np.array([[1], [2]], np.uint8), np.eye(2, dtype=np.uint8)
    query = np.zeros((1, 1), np.uint8)
    first = scores_of(brute_force(items, query, 1), labels, 1, ties="row_id")
    second = scores_of(brute_force(items[::-1], query, 1), labels, 1, ties="row_id")
    assert first.tolist() == second.tolist() == [[1, 0]]


def test_a_wider_search_gives_the_same_votes():
    rng = np.random.default_rng(0)
    items, queries = rng.integers(0, 16, (60, 1), np.uint8), rng.integers(0, 16, (9, 1), np.uint8)
    labels = rng.integers(0, 2, (60, 4), dtype=np.uint8)
    wide, narrow = (search_complete(build(items), queries, k) for k in (30, 4))
    for ties in ("expected", "row_id"):
        np.testing.assert_allclose(
            scores_of(wide, labels, 4, ties=ties),
            scores_of(narrow, labels, 4, ties=ties),
            rtol=1e-6,
        )


def test_chunks_of_queries_vote_like_the_whole():
    rng = np.random.default_rng(1)
    items, queries = rng.integers(0, 9, (80, 1), np.uint8), rng.integers(0, 9, (15, 1), np.uint8)
    labels = rng.integers(0, 2, (80, 4), dtype=np.uint8)
    whole = scores_of(brute_force(items, queries, 5), labels, 5)
    chunks = neighbour_chunks(build(items), queries, 5, max_entries=90)
    np.testing.assert_array_equal(np.concatenate([scores_of(c, labels, 5) for c in chunks]), whole)


def test_scores_are_weighted_label_sums():
    found = one_query([0, 1, 1])
    labels = np.array([[1, 0, 1], [0, 1, 1], [0, 0, 1]], dtype=np.uint8)
    w = weights(found, 3)
    np.testing.assert_allclose(vote(found, labels, w)[0], w @ labels, rtol=1e-6)


def test_a_tiny_temperature_leaves_the_nearest_alone_without_overflow():
    assert weights(one_query([3, 5, 5]), 2, tau=1e-6).tolist() == [1, 0, 0]


def test_unknown_settings_and_short_searches_are_refused():
    found = one_query([0, 1])
    with pytest.raises(InputError, match=r"knn\.voting is 'best'"):
        weights(found, 1, "best")
    with pytest.raises(InputError, match=r"knn\.ties is 'none'"):
        weights(found, 1, ties="none")
    with pytest.raises(InputError, match=r"knn\.tau is 0"):
        weights(found, 1, tau=0)
    with pytest.raises(InputError, match="3 neighbours wanted"):
        weights(found, 3)
