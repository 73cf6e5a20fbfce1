import itertools

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
import torchmetrics.functional.classification as tm
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhash.metrics.ranking import (
    average_precision,
    coverage,
    interpolated_average_precision,
    rank_rows,
    ranking_loss,
    roc_auc,
    top_share,
)

SEED = st.integers(0, 100_000)


def scores_and_labels(seed: int, n: int = 30, classes: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties in some classes, none in others, all equal in the last."""
    rng = np.random.default_rng(seed)
    scores = rng.random((n, classes))
    scores[:, ::2] = np.round(scores[:, ::2] * rng.integers(1, 9)) / 8
    scores[:, -1] = 0.3
    labels = (rng.random((n, classes)) < rng.random(classes)).astype(np.uint8)
    return scores, labels


@settings(max_examples=80)
@given(seed=SEED, n=st.integers(1, 40))
def test_average_precision_equals_scikit_learn(seed, n):
    scores, labels = scores_and_labels(seed, n)
    found = average_precision(scores, labels)
    for c in range(labels.shape[1]):
        if labels[:, c].any():
            expected = sk.average_precision_score(labels[:, c], scores[:, c])
            assert found[c] == pytest.approx(expected, abs=1e-9)
        else:
            assert np.isnan(found[c])


def test_average_precision_equals_torchmetrics_in_float64():
    scores, labels = scores_and_labels(3, 400)
    expected = tm.multilabel_average_precision(
        torch.from_numpy(scores), torch.from_numpy(labels.astype(np.int64)), 6, average=None
    )
    # torchmetrics accumulates in float32 inside, whatever it is given
    np.testing.assert_allclose(average_precision(scores, labels), expected, atol=1e-6)


def test_constant_scores_have_the_share_of_positives_as_precision():
    labels = np.array([[1], [0], [0], [1], [0]])
    assert average_precision(np.full((5, 1), 0.7), labels).tolist() == [0.4]


@settings(max_examples=40)
@given(seed=SEED)
def test_interpolated_precision_is_the_best_at_any_higher_recall(seed):
    scores, labels = scores_and_labels(seed, 25)
    found = interpolated_average_precision(rank_rows(scores.T, labels.T))
    for c in np.flatnonzero(labels.any(axis=0)):
        precision, recall, _ = sk.precision_recall_curve(labels[:, c], scores[:, c])
        levels = np.unique(recall)
        area = sum(
            (high - low) * precision[recall >= high].max()
            for low, high in itertools.pairwise(levels)
        )
        assert found[c] == pytest.approx(area, abs=1e-9)
    plain = average_precision(scores, labels)
    assert (found >= plain - 1e-12)[labels.any(axis=0)].all()


@settings(max_examples=60)
@given(seed=SEED, n=st.integers(1, 40))
def test_auc_equals_scikit_learn(seed, n):
    scores, labels = scores_and_labels(seed, n)
    found = roc_auc(rank_rows(scores.T, labels.T))
    for c in range(labels.shape[1]):
        if 0 < labels[:, c].sum() < n:
            expected = sk.roc_auc_score(labels[:, c], scores[:, c])
            assert found[c] == pytest.approx(expected, abs=1e-9)
        else:
            assert np.isnan(found[c])


@settings(max_examples=60)
@given(seed=SEED)
def test_sample_rankings_equal_scikit_learn(seed):
    scores, labels = scores_and_labels(seed, 20)
    labels[0], labels[1] = 0, 1
    ranks = rank_rows(scores, labels)
    assert coverage(ranks).mean() == pytest.approx(sk.coverage_error(labels, scores), abs=1e-9)
    assert ranking_loss(ranks).mean() == pytest.approx(
        sk.label_ranking_loss(labels, scores), abs=1e-9
    )


@settings(max_examples=40)
@given(seed=SEED, k=st.integers(1, 6))
def test_top_share_is_the_mean_over_all_orders_of_the_tied(seed, k):
    scores = np.random.default_rng(seed).integers(0, 3, (1, 5)) / 4
    total, orders = np.zeros(5), 0
    for order in itertools.permutations(range(5)):
        if (np.diff(scores[0, list(order)]) > 0).any():
            continue
        total[list(order[:k])] += 1
        orders += 1
    np.testing.assert_allclose(top_share(scores, k)[0], total / orders, atol=1e-12)


@given(seed=SEED)
def test_order_of_images_does_not_matter(seed):
    scores, labels = scores_and_labels(seed, 15)
    shuffled = np.random.default_rng(seed).permutation(15)
    np.testing.assert_allclose(
        average_precision(scores, labels),
        average_precision(scores[shuffled], labels[shuffled]),
        atol=1e-14,
    )
