"""Calibration figures against their definition and torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.metrics import brier_score_loss
from torchmetrics.functional.classification import binary_calibration_error

from mmhash.metrics.calibration import (
    CLIP,
    calibrated,
    calibration_figures,
    fit_calibration,
    reliability_table,
)


def forecast(seed: int, n: int = 200, c: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are too bold: labels come up with the square root of the odds."""
    rng = np.random.default_rng(seed)
    scores = expit(2 * rng.normal(size=(n, c)) - 1.5)
    labels = (rng.random((n, c)) < expit(0.5 * logit(scores))).astype(np.uint8)
    return scores.astype(np.float32), labels


def by_definition(scores: np.ndarray, labels: np.ndarray, bins: int) -> tuple[float, float]:
    """ECE and MCE, a loop over the half-open bins of the paper."""
    pairs = [(float(s), int(y)) for s, y in zip(scores.ravel(), labels.ravel(), strict=True)]
    ece, mce = 0.0, 0.0
    for m in range(bins):
        inside = [(s, y) for s, y in pairs if m / bins < s <= (m + 1) / bins or s == m == 0]
        if inside:
            gap = abs(sum(y for _, y in inside) - sum(s for s, _ in inside)) / len(inside)
            ece += gap * len(inside) / len(pairs)
            mce = max(mce, gap)
    return ece, mce


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([3, 15, 20, 0]))
def test_the_figures_equal_their_definition(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.random((20, 4))
    if levels:  # on the edges of the bins, with exact zeros and ones
        scores = np.round(scores * levels) / levels
    labels = (rng.random((20, 4)) < scores).astype(np.uint8)
    found = calibration_figures(scores, labels)
    assert (found["ECE"], found["MCE"]) == pytest.approx(
        by_definition(scores, labels, 15), abs=1e-9
    )
    assert found["Brier"] == pytest.approx(
        brier_score_loss(labels.ravel(), scores.ravel()), abs=1e-9
    )


@pytest.mark.parametrize(("key", "norm"), [("ECE", "l1"), ("MCE", "max")])
def test_the_figures_equal_those_of_torchmetrics(key: str, norm: str) -> None:
    scores, labels = forecast(1)
    wide = scores.astype(np.float64)
    expected = binary_calibration_error(
        torch.from_numpy(wide.ravel()), torch.from_numpy(labels.ravel()), n_bins=15, norm=norm
    )
    # torchmetrics adds up in float32 whatever it is given
    assert calibration_figures(scores, labels)[key] == pytest.approx(float(expected), abs=1e-6)


def test_the_reliability_table_counts_every_pair_once_and_leaves_out_empty_bins() -> None:
    scores = np.array([[0.0, 0.2, 0.2], [1.0, 0.21, 0.9]])
    labels = np.array([[0, 1, 0], [1, 0, 1]], dtype=np.uint8)
    table = reliability_table(scores, labels, bins=5)
    assert table["bin"].tolist() == [0, 1, 4]
    assert table["count"].tolist() == [3, 1, 2]
    np.testing.assert_allclose(table["score"], [0.4 / 3, 0.21, 0.95])
    np.testing.assert_allclose(table["frequency"], [1 / 3, 0, 1])


def test_the_calibration_is_the_likeliest_slope_and_intercept() -> None:
    scores, labels = forecast(2, n=2000)
    slope, intercept = fit_calibration(scores, labels)
    x, y = logit(scores.astype(np.float64)).clip(logit(CLIP), -logit(CLIP)).ravel(), labels.ravel()

    def negative_likelihood(parameters: np.ndarray) -> float:
        z = parameters[0] * x + parameters[1]
        return float((np.logaddexp(0, z) - y * z).mean())

    best = minimize(negative_likelihood, [1.0, 0.0], tol=1e-12).x
    assert (slope, intercept) == pytest.approx(tuple(best), abs=1e-4)
    assert slope == pytest.approx(0.5, abs=0.05)  # what the forecast was made with
    # at the optimum the mean calibrated score is the share of positives
    assert calibrated(scores, slope, intercept).mean() == pytest.approx(labels.mean(), abs=1e-6)


def test_calibration_repairs_bold_scores_on_other_images() -> None:
    scores, labels = forecast(3, n=3000)
    fitted = fit_calibration(scores[:1500], labels[:1500])
    before = calibration_figures(scores[1500:], labels[1500:])
    after = calibration_figures(calibrated(scores[1500:], *fitted), labels[1500:])
    assert after["ECE"] < before["ECE"] / 3
    assert after["Brier"] < before["Brier"]


@pytest.mark.parametrize("label", [0, 1])
def test_labels_that_are_all_alike_leave_scores_as_they_are(label: int) -> None:
    scores, labels = forecast(4, n=10)
    fitted = fit_calibration(scores, np.full_like(labels, label))
    assert fitted == (1.0, 0.0)
    np.testing.assert_allclose(calibrated(scores, *fitted), scores.clip(CLIP, 1 - CLIP), atol=1e-9)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("gap", [0.02, 0.5, 1.0])
def test_scores_that_part_the_labels_perfectly_have_a_finite_calibration(gap: float) -> None:
    rng = np.random.default_rng(5)
    labels = (rng.random((2000, 20)) < 0.04).astype(np.uint8)
    scores = (gap * labels + (1 - gap) * 0.5).astype(np.float32)
    slope, intercept = fit_calibration(scores, labels)
    assert np.isfinite([slope, intercept]).all()
    assert slope > 0
