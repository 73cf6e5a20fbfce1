import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from mmhash.metrics.bootstrap import (
    bootstrap_map,
    centred_interval,
    resample_counts,
    resampled_map,
)
from mmhash.metrics.ranking import average_precision
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


@settings(max_examples=15)
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


def test_the_interval_of_a_nearly_perfect_ranking_ends_at_one():
    labels = np.tile([[1, 0], [0, 1]], (25, 1)).astype(np.uint8)
    scores = labels.astype(np.float64)
    scores[0] = [0.5, 0.5]  # still right in one class, tied with nothing
    scores[1] = [0.6, 0.4]
    low, high = bootstrap_map(scores, labels, 200, np.random.default_rng(0))
    assert 0 < low < average_precision_score(labels, scores) <= high <= 1


def test_the_interval_surrounds_the_figure_although_copies_raise_rare_classes():
    rng = np.random.default_rng(0)
    labels = (rng.random((300, 20)) < 0.02).astype(np.uint8)
    scores = (0.3 * labels + rng.random((300, 20))).astype(np.float32)
    figure = float(np.nanmean(average_precision(scores, labels)))
    counts = resample_counts(300, 400, np.random.default_rng(1))
    assert np.nanmean(resampled_map(scores, labels, counts)) > figure
    low, high = bootstrap_map(scores, labels, 400, np.random.default_rng(1))
    assert low < figure < high


def test_undefined_resamples_are_left_out_of_the_interval():
    found = centred_interval(np.array([np.nan, *np.arange(101.0)]), 60.0)
    assert found == pytest.approx((12.5, 107.5), abs=1e-9)
