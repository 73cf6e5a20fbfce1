import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from mmhash.metrics.bootstrap import (
    bootstrap_map,
    bootstrap_mean,
    percentile_interval,
    resample_counts,
    resampled_map,
    resampled_mean,
)
from mmhash.seeding import numpy_stream


def draw(seed: int, n: int = 25) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.random((n, 4)).astype(np.float32)
    scores[:, 1] = np.round(scores[:, 1] * 4) / 4
    scores[:, 2] = 0.5
    labels = (rng.random((n, 4)) < [0.5, 0.3, 0.2, 0.05]).astype(np.uint8)
    labels[0, 0] = 1
    return scores, labels


def naive_map(scores: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> float:
    s, y = scores[rows], labels[rows]
    return np.mean([average_precision_score(y[:, c], s[:, c]) for c in np.flatnonzero(y.any(0))])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_weighted_map_equals_that_of_the_resampled_arrays(seed):
    scores, labels = draw(seed)
    counts = resample_counts(25, 12, np.random.default_rng(seed))
    found = resampled_map(scores, labels, counts)
    for s in range(12):
        rows = np.repeat(np.arange(25), counts[:, s])
        assert found[s] == pytest.approx(naive_map(scores, labels, rows), abs=1e-9)


def test_a_class_that_loses_its_positives_is_left_out_of_that_resample():
    scores, labels = np.array([[0.9, 0.1], [0.5, 0.8]]), np.array([[1, 0], [0, 1]])
    counts = np.array([[2, 0, 1, 0], [0, 2, 1, 0]])
    assert resampled_map(scores, labels, counts)[:3].tolist() == [1, 1, 1]
    assert np.isnan(resampled_map(scores, labels, counts)[3])


def test_each_resample_draws_n_images():
    counts = resample_counts(40, 300, np.random.default_rng(0))
    assert counts.shape == (40, 300)
    assert (counts.sum(axis=0) == 40).all()
    assert counts.mean(axis=1) == pytest.approx(np.ones(40), abs=0.3)
    assert counts.var() == pytest.approx(1 - 1 / 40, abs=0.05)


def test_the_seed_decides_the_interval():
    scores, labels = draw(0, 60)
    first, again, other = (
        bootstrap_map(scores, labels, 50, numpy_stream(seed, "bootstrap")) for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other
    assert first[0] < average_precision_score(labels, scores) < first[1]


def test_interval_of_a_mean_matches_the_normal_approximation():
    values = np.random.default_rng(0).normal(size=2000)
    low, high = bootstrap_mean(values, 2000, np.random.default_rng(1))
    half = 1.96 * values.std() / np.sqrt(2000)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=half / 10)
    assert (high - low) / 2 == pytest.approx(half, rel=0.08)


def test_resampled_mean_equals_the_mean_of_the_drawn():
    values = np.array([1.0, 5.0, 9.0])
    counts = np.array([[3, 1, 0], [0, 1, 1], [0, 1, 2]])
    assert resampled_mean(values, counts).tolist() == pytest.approx([1, 5, 23 / 3])


def test_undefined_resamples_are_left_out_of_the_interval():
    found = percentile_interval(np.array([np.nan, *np.arange(101.0)]))
    assert found == pytest.approx((2.5, 97.5), abs=1e-9)
