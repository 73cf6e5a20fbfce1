"""Classification losses against a re-computation in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhash.losses.classification import (
    asymmetric,
    bce,
    class_balanced,
    effective_number_weights,
    focal,
)

RNG = np.random.default_rng(5)
X = RNG.normal(size=(6, 4)) * 3
Y = (RNG.random((6, 4)) < 0.4).astype(float)
P = 1 / (1 + np.exp(-X))
CE = -(Y * np.log(P) + (1 - Y) * np.log(1 - P))
WEIGHTS = torch.tensor([0.5, 1.0, 1.5, 1.0], dtype=torch.float64)


def losses():
    return {
        "bce": bce,
        "focal": lambda x, y: focal(x, y, 0.25, 2.0),
        "focal_half_power": lambda x, y: focal(x, y, 0.6, 0.5),
        "class_balanced": lambda x, y: class_balanced(x, y, WEIGHTS.to(x.dtype)),
        "asymmetric": asymmetric,
    }


def expected(name):
    p_t = np.where(Y == 1, P, 1 - P)
    if name == "bce":
        return CE.mean()
    if name == "class_balanced":
        return (CE * WEIGHTS.numpy()).mean()
    if name == "asymmetric":
        shifted = np.maximum(P - 0.05, 0)
        return -np.where(Y == 1, np.log(P), shifted**4 * np.log(1 - shifted)).mean()
    alpha, gamma = (0.25, 2.0) if name == "focal" else (0.6, 0.5)
    return (np.where(Y == 1, alpha, 1 - alpha) * (1 - p_t) ** gamma * CE).mean()


@pytest.mark.parametrize("name", losses())
def test_formula(name):
    got = losses()[name](torch.from_numpy(X), torch.from_numpy(Y)).item()
    assert got == pytest.approx(expected(name), rel=1e-10)


@pytest.mark.parametrize("name", losses())
def test_gradient(name):
    x = torch.from_numpy(X).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: losses()[name](x, torch.from_numpy(Y)), (x,))


@pytest.mark.parametrize("name", losses())
@pytest.mark.parametrize("size", [0.0, 60.0, 1e4])
def test_extreme_logits_have_finite_loss_and_gradient(name, size):
    x = torch.tensor([[size, -size, size, -size]], requires_grad=True)
    loss = losses()[name](x, torch.tensor([[1.0, 1.0, 0.0, 0.0]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", losses())
@settings(max_examples=15)
@given(order=st.permutations(range(6)))
def test_the_order_of_rows_plays_no_part(name, order):
    straight = losses()[name](torch.from_numpy(X), torch.from_numpy(Y))
    shuffled = losses()[name](torch.from_numpy(X[order]), torch.from_numpy(Y[order]))
    torch.testing.assert_close(straight, shuffled)
    assert straight >= 0


def test_focal_without_focus_is_half_of_bce():
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    torch.testing.assert_close(2 * focal(x, y, 0.5, 0.0), bce(x, y))


def test_effective_numbers():
    n = np.array([1, 10, 1000])
    raw = np.array([1 / sum(0.999**i for i in range(k)) for k in n])
    np.testing.assert_allclose(effective_number_weights(n), 3 * raw / raw.sum(), rtol=1e-10)


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=20))
def test_rarer_classes_never_weigh_less(counts):
    weights = effective_number_weights(np.array(counts))
    assert weights.sum() == pytest.approx(len(counts))
    ordered = weights[np.argsort(counts)]
    assert (np.diff(ordered) <= 1e-12).all()
