import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from mmhash.errors import InputError
from mmhash.metrics.thresholds import choose_thresholds


def draw(seed: int, n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = (rng.integers(0, 8, (n, 4)) / 8).astype(np.float32)
    scores[:, 1] = rng.random(n)
    labels = (rng.random((n, 4)) < 0.4).astype(np.uint8)
    labels[0, 0] = 1
    return scores, labels


def every_cut(scores: np.ndarray) -> np.ndarray:
    return np.append(np.unique(scores), 2.0).astype(np.float64)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 12))
def test_global_threshold_reaches_the_best_overall_f1_of_all_cuts(seed, n):
    scores, labels = draw(seed, n)
    t = choose_thresholds(scores, labels, "global")
    best = max(
        f1_score(labels, scores >= cut, average="micro", zero_division=0)
        for cut in every_cut(scores)
    )
    found = f1_score(labels, scores.astype(np.float64) >= t, average="micro", zero_division=0)
    assert found == pytest.approx(best, abs=1e-12)


@settings(max_examples=12)
@given(seed=st.integers(0, 10_000))
def test_class_thresholds_reach_the_best_f1_of_each_class(seed):
    scores, labels = draw(seed)
    labels[:, 3] = 0
    found = choose_thresholds(scores, labels, "per_class")
    assert found.shape == (4,)
    for c in range(4):
        y, s = labels[:, c], scores[:, c].astype(np.float64)
        best = max(f1_score(y, s >= cut, zero_division=0) for cut in every_cut(s))
        assert f1_score(y, s >= found[c], zero_division=0) == pytest.approx(best, abs=1e-12)
    assert found[3] == choose_thresholds(scores, labels, "global")


def test_threshold_lies_half_way_below_the_last_that_passes():
    scores = np.array([[0.9], [0.5], [0.1]])
    assert choose_thresholds(scores, np.array([[1], [0], [0]]), "global") == pytest.approx(0.7)
    assert choose_thresholds(scores, np.array([[1], [1], [0]]), "global") == pytest.approx(0.3)
    assert choose_thresholds(scores, np.array([[1], [1], [1]]), "global") == pytest.approx(0.1)


def test_of_equal_cuts_the_highest_is_taken():
    scores, labels = np.array([[4.0], [3], [2], [1]]), np.array([[1], [0], [0], [1]])
    # F1 is 2/3 for the first cut and for the last
    assert choose_thresholds(scores, labels, "global") == 3.5


def test_neighbouring_floats_are_still_parted():
    low = 0.3
    high = np.nextafter(low, 1)
    t = choose_thresholds(np.array([[high], [low]]), np.array([[1], [0]]), "global")
    assert low < t <= high


def test_constant_scores_give_that_score():
    assert choose_thresholds(np.full((3, 2), 0.25), np.eye(3, 2), "global") == 0.25


def test_nothing_to_choose_from_is_refused():
    with pytest.raises(InputError, match="no label"):
        choose_thresholds(np.ones((2, 2)), np.zeros((2, 2)), "global")
    with pytest.raises(InputError, match=r"evaluate\.thresholds is 'best'"):
        choose_thresholds(np.ones((2, 2)), np.ones((2, 2)), "best")
