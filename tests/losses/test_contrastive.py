"""NT-Xent against its definition, pair by pair."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmhash.errors import InputError
from mmhash.losses.contrastive import contrastive_terms, nt_xent
from mmhash.models.cross_modal import CrossModalConfig
from mmhash.models.ucmfh import UcmfhOutput


def by_hand(a, b, temperature):
    views = [row / np.linalg.norm(row) for row in (*a, *b)]
    n, total = len(a), 0.0
    for i, view in enumerate(views):
        weights = {k: math.exp(view @ z / temperature) for k, z in enumerate(views) if k != i}
        total -= math.log(weights[(i + n) % (2 * n)] / sum(weights.values()))
    return total / (2 * n)


def draw(seed, n, width=5):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, width)), rng.normal(size=(n, width))


@given(st.integers(0, 99), st.integers(2, 9), st.floats(0.05, 5.0))
def test_formula(seed, n, temperature):
    a, b = draw(seed, n)
    got = nt_xent(torch.from_numpy(a), torch.from_numpy(b), temperature).item()
    assert got == pytest.approx(by_hand(a, b, temperature), rel=1e-10)


def test_gradient():
    a, b = (torch.from_numpy(x).requires_grad_() for x in draw(3, 4))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.5), (a, b))


@given(st.integers(0, 99), st.floats(0.1, 9.0))
def test_neither_length_nor_the_order_of_modalities_matters(seed, factor):
    a, b = (torch.from_numpy(x) for x in draw(seed, 4))
    loss = nt_xent(a, b, 0.5)
    torch.testing.assert_close(nt_xent(factor * a, b, 0.5), loss)
    torch.testing.assert_close(nt_xent(b, a, 0.5), loss)


def test_pairs_that_agree_cost_less_than_pairs_that_are_mixed_up():
    a = torch.eye(6)
    assert nt_xent(a, a, 0.5) < nt_xent(a, a.roll(1, 0), 0.5)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_identical_rows_give_the_logarithm_of_the_others(value):
    a = torch.full((8, 4), value, requires_grad=True)
    loss = nt_xent(a, a, 0.5)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(15), rel=1e-6)
    assert bool(a.grad.isfinite().all())


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_pairs_have_no_negative(n):
    with pytest.raises(InputError, match=f"at least 2 a batch; this one has {n}$"):
        nt_xent(torch.ones(n, 4), torch.ones(n, 4), 0.5)


def test_the_total_weighs_the_codes():
    halves, codes = draw(1, 6), draw(2, 6, 16)
    tensors = [torch.from_numpy(x) for x in (*codes, *halves)]
    settings = {"temperature": 0.3, "code_weight": 0.7}
    terms = contrastive_terms(UcmfhOutput(*tensors), CrossModalConfig("ucmfh", 5, 5, 16, settings))
    assert list(terms) == ["loss", "loss_fusion", "loss_codes"]
    assert terms["loss_fusion"].item() == pytest.approx(by_hand(*halves, 0.3))
    assert terms["loss_codes"].item() == pytest.approx(by_hand(*codes, 0.3))
    expected = by_hand(*halves, 0.3) + 0.7 * by_hand(*codes, 0.3)
    assert terms["loss"].item() == pytest.approx(expected)
