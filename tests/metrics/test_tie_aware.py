import itertools
from collections.abc import Iterator
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from mmhash.metrics import tie_aware
from mmhash.metrics.tie_aware import (
    Bounded,
    average_precision_all,
    average_precision_relevant,
    average_precision_retrieved,
    hits_within,
    one_shell,
    shells_from_levels,
)

# items and relevant items at each distance level: at most 9 items, so that all orders can be listed
LEVELS = st.lists(
    st.integers(0, 4).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    min_size=1,
    max_size=5,
).filter(lambda levels: 1 <= sum(n for n, _ in levels) <= 9)


def orders(levels: list[tuple[int, int]]) -> Iterator[list[int]]:
    """Every distinct order of the tied, as the list of relevances by rank; all equally likely."""
    placed = [
        [[int(i in chosen) for i in range(n)] for chosen in itertools.combinations(range(n), r)]
        for n, r in levels
    ]
    for choice in itertools.product(*placed):
        yield list(itertools.chain(*choice))


def ap_retrieved(ranking: list[int], k: int) -> Fraction:
    hits = [i for i, relevant in enumerate(ranking[:k], 1) if relevant]
    return Fraction(sum(Fraction(j, i) for j, i in enumerate(hits, 1))) / max(1, len(hits))


def ap_relevant(ranking: list[int], k: int) -> Fraction:
    hits = [i for i, relevant in enumerate(ranking, 1) if relevant][:k]
    return Fraction(sum(Fraction(j, i) for j, i in enumerate(hits, 1))) / max(1, len(hits))


def assert_exact(found: Bounded, values: list[Fraction]) -> None:
    assert found.expected[0] == pytest.approx(float(sum(values) / len(values)), abs=1e-9)
    assert found.worst[0] == pytest.approx(float(min(values)), abs=1e-9)
    assert found.best[0] == pytest.approx(float(max(values)), abs=1e-9)


def shells(levels: list[tuple[int, int]]) -> tie_aware.Shells:
    size, relevant = np.array(levels, dtype=np.int64).T
    return shells_from_levels(size[None], relevant[None])


def join(cases: list[list[tuple[int, int]]]) -> tie_aware.Shells:
    table = np.zeros((2, len(cases), max(map(len, cases))), dtype=np.int64)
    for q, levels in enumerate(cases):
        table[:, q, : len(levels)] = np.array(levels).T
    return shells_from_levels(*table)


@settings(max_examples=100)
@given(levels=LEVELS)
def test_whole_ranking_equals_all_orders_of_the_tied(levels):
    values = [ap_relevant(ranking, 99) for ranking in orders(levels)]
    assert_exact(average_precision_all(shells(levels)), values)


@settings(max_examples=150)
@given(levels=LEVELS, k=st.integers(1, 10))
def test_first_k_retrieved_equals_all_orders_of_the_tied(levels, k):
    values = [ap_retrieved(ranking, k) for ranking in orders(levels)]
    assert_exact(average_precision_retrieved(shells(levels), k), values)


@settings(max_examples=150)
@given(levels=LEVELS, k=st.integers(1, 10))
def test_first_k_relevant_equals_all_orders_of_the_tied(levels, k):
    values = [ap_relevant(ranking, k) for ranking in orders(levels)]
    assert_exact(average_precision_relevant(shells(levels), k), values)


@settings(max_examples=50)
@given(levels=LEVELS, k=st.integers(1, 10))
def test_hits_within_equals_all_orders_of_the_tied(levels, k):
    values = [Fraction(sum(ranking[:k])) for ranking in orders(levels)]
    assert_exact(hits_within(shells(levels), k), values)


def test_a_hit_far_down_a_cut_shell_can_only_lower_the_mean():
    # relevant at rank 1, ten others, then one of two places: the best order leaves the hit out
    found = average_precision_retrieved(shells([(1, 1), (10, 0), (2, 1)]), 12)
    assert found.best[0] == 1
    assert found.worst[0] == pytest.approx((1 + 2 / 12) / 2)


def test_the_worst_number_of_hits_may_lie_between_its_extremes():
    levels = [(1, 1), (3, 0), (9, 8)]
    found = average_precision_retrieved(shells(levels), 9)
    assert_exact(found, [ap_retrieved(ranking, 9) for ranking in orders(levels)])


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 60))
def test_without_ties_it_is_scikit_learns_average_precision(seed, n):
    rng = np.random.default_rng(seed)
    relevant = rng.integers(0, 2, n)
    relevant[rng.integers(n)] = 1
    found = average_precision_all(shells([(1, int(r)) for r in relevant]))
    expected = average_precision_score(relevant, -np.arange(n))
    for value in found:
        assert value[0] == pytest.approx(expected, abs=1e-9)


def random_levels(seed: int, queries: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    size = rng.multinomial(n, rng.dirichlet(np.ones(12)), size=queries)
    return size, rng.binomial(size, rng.random((queries, 12)) * rng.random((queries, 1)))


@pytest.mark.parametrize("block", [1, 500, 1 << 20])
def test_block_size_does_not_change_the_figures(monkeypatch, block):
    s = shells_from_levels(*random_levels(0, 40, 3000))
    reference = [f(s, k) for f in FUNCTIONS for k in (7, 200)]
    monkeypatch.setattr(tie_aware, "BLOCK_ENTRIES", block)
    for found, expected in zip(
        [f(s, k) for f in FUNCTIONS for k in (7, 200)], reference, strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-12)


FUNCTIONS = (average_precision_retrieved, average_precision_relevant)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 3000))
def test_expectation_lies_between_worst_and_best(seed, k):
    s = shells_from_levels(*random_levels(seed, 10, 2000))
    for found in (*(f(s, k) for f in FUNCTIONS), average_precision_all(s)):
        assert (found.worst <= found.expected + 1e-9).all()
        assert (found.expected <= found.best + 1e-9).all()
        assert found.best.max() <= 1 + 1e-9
        assert found.worst.min() >= 0


@pytest.mark.parametrize(
    ("n", "r", "k"), [(400, 120, 50), (400, 60, 50), (300, 3, 2), (250, 249, 9)]
)
def test_a_large_cut_shell_equals_the_sum_over_all_places(n, r, k):
    """The first-k figures against exact rational sums over every hypergeometric outcome."""
    s = join([[(7, 2), (n, r)]])
    m, q = k - 7, k - 2
    if m > 0:
        head = _expected_head()
        expected = sum(
            Fraction(comb(r, x) * comb(n - r, m - x), comb(n, m))
            * (head + _exact_shell(7, 2, m, x))
            / (2 + x)
            for x in range(max(0, m - n + r), min(m, r) + 1)
        )
        found = average_precision_retrieved(s, k).expected[0]
        assert found == pytest.approx(float(expected), abs=1e-9)
    if 0 < q < r:
        expected = sum(
            Fraction(comb(t - 1, q - 1) * comb(n - t, r - q), comb(n, r))
            * (_exact_shell(7, 2, t - 1, q - 1) + Fraction(2 + q, 7 + t))
            for t in range(q, n - r + q + 1)
        )
        found = average_precision_relevant(s, k).expected[0]
        assert found == pytest.approx(float((expected + _expected_head()) / k), abs=1e-9)


def _expected_head() -> Fraction:
    return _exact_shell(0, 0, 7, 2)


def _exact_shell(before: int, hits: int, n: int, r: int) -> Fraction:
    slope = Fraction(r - 1, n - 1) if n > 1 else Fraction(0)
    terms = (Fraction(1, before + i) * (hits + 1 + (i - 1) * slope) for i in range(1, n + 1))
    return Fraction(r, n) * sum(terms) if n else Fraction(0)


def test_one_tie_of_everything_is_chance():
    rng = np.random.default_rng(0)
    found = one_shell(np.array([30]), 100)
    rankings = rng.permuted(np.tile([1] * 30 + [0] * 70, (20_000, 1)), axis=1)
    cut = rankings[:, :10]
    precision = cut.cumsum(axis=1) / np.arange(1, 11)
    simulated = (cut * precision).sum(axis=1) / np.maximum(cut.sum(axis=1), 1)
    assert average_precision_retrieved(found, 10).expected[0] == pytest.approx(
        simulated.mean(), abs=4 * simulated.std() / np.sqrt(20_000)
    )


def test_a_query_without_a_relevant_item_scores_zero():
    s = join([[(3, 0), (2, 0)], [(3, 1), (2, 1)]])
    for found in (*(f(s, 2) for f in (*FUNCTIONS, hits_within)), average_precision_all(s)):
        assert [value[0] for value in found] == [0, 0, 0]
        assert found.expected[1] > 0


def test_precision_holds_in_a_database_of_a_million():
    """Pairs of relevant items late in the ranking, where harmonic numbers nearly cancel."""
    levels = [(999_990, 0), (2, 2), (3, 2), (5, 3)]
    found = average_precision_all(shells(levels)).expected[0]
    expected, before, hits = Fraction(0), 0, 0
    for n, r in levels:
        if r:
            expected += _exact_shell(before, hits, n, r)
        before, hits = before + n, hits + r
    assert found == pytest.approx(float(expected / 7), rel=1e-7)
