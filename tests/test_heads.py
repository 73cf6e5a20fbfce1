import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from mmhash.errors import InputError
from mmhash.heads import choose_weight, mix, probabilities, scores_of


def test_probabilities_are_the_sigmoid_without_overflow() -> None:
    logits = np.array([[-1e4, -2.0, 0.0, 2.0, 1e4]], dtype=np.float32)
    expected = [[0.0, 1 / (1 + np.e**2), 0.5, 1 / (1 + np.e**-2), 1.0]]
    with np.errstate(over="raise"):
        np.testing.assert_allclose(probabilities(logits), expected, rtol=1e-6)


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_the_weight_is_the_smallest_of_the_best_on_the_grid(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.random((30, 3)) < 0.4).astype(np.uint8)
    labels[0] = 1
    knn = np.round(0.3 * labels + 0.7 * rng.random((30, 3)), 1).astype(np.float32)
    classifier = (0.3 * labels + 0.7 * rng.random((30, 3))).astype(np.float32)
    by_weight = {}
    for percent in range(0, 101, 5):
        mixed = (percent / 100 * knn.astype(np.float64) + (1 - percent / 100) * classifier).astype(
            np.float32
        )
        by_weight[percent / 100] = average_precision_score(labels, mixed, average="macro")
    best = max(by_weight.values())
    expected = min(w for w, figure in by_weight.items() if figure >= best - 1e-12)
    assert choose_weight(knn, classifier, labels) == pytest.approx(expected, abs=1e-12)


def test_of_equal_weights_the_smallest_is_taken() -> None:
    labels = np.array([[1], [0]], dtype=np.uint8)
    good, bad = np.array([[0.9], [0.1]], np.float32), np.array([[0.4], [0.59]], np.float32)
    assert choose_weight(good, good, labels) == 0.0
    assert choose_weight(bad, good, labels) == 0.0
    assert choose_weight(good, bad, labels) == 0.2  # right from 0.192 on


def test_the_ends_of_the_grid_are_the_heads_themselves() -> None:
    rng = np.random.default_rng(0)
    knn, classifier = rng.random((2, 40, 5), dtype=np.float32)
    np.testing.assert_array_equal(mix(knn, classifier, 1.0), knn)
    np.testing.assert_array_equal(mix(knn, classifier, 0.0), classifier)


def test_validation_images_without_any_label_are_an_error() -> None:
    scores = np.full((3, 2), 0.5, np.float32)
    with pytest.raises(InputError, match="no label in the validation set"):
        choose_weight(scores, scores, np.zeros((3, 2), np.uint8))


def test_a_head_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(InputError, match=r"knn.head is 'hybrid'.*; set knn.head to knn$"):
        scores_of("hybrid", {"knn": 1, "zeroshot": 2})
    assert scores_of("knn", {"knn": 1}) == 1
