"""Regularisers of the soft code."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhash.losses.hashing import balance, decorrelation, quantisation

H = np.tanh(np.random.default_rng(2).normal(size=(7, 5)))
TERMS = [quantisation, balance, decorrelation]


def numpy_value(term):
    if term is quantisation:
        return ((np.abs(H) - 1) ** 2).mean()
    if term is balance:
        return (H.mean(axis=0) ** 2).mean()
    covariance = np.cov(H.T, bias=True)
    return ((covariance**2).sum() - (np.diag(covariance) ** 2).sum()) / 5**2


@pytest.mark.parametrize("term", TERMS)
def test_formula(term):
    assert term(torch.from_numpy(H)).item() == pytest.approx(numpy_value(term), rel=1e-12)


@pytest.mark.parametrize("term", TERMS)
def test_gradient(term):
    assert torch.autograd.gradcheck(term, (torch.from_numpy(H).requires_grad_(),))


@pytest.mark.parametrize("term", TERMS)
@settings(max_examples=15)
@given(rows=st.permutations(range(7)), bits=st.permutations(range(5)))
def test_neither_the_order_of_rows_nor_of_bits_plays_a_part(term, rows, bits):
    shuffled = torch.from_numpy(H[rows][:, bits])
    value = term(shuffled)
    torch.testing.assert_close(value, term(torch.from_numpy(H)))
    assert 0 <= value <= 1


def test_a_perfect_code_costs_nothing():
    h = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert [term(h).item() for term in TERMS] == [0, 0, 0]


def test_a_single_row_is_finite():
    assert all(torch.isfinite(term(torch.from_numpy(H[:1]))) for term in TERMS)


def test_a_repeated_bit_is_correlation():
    h = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    assert decorrelation(h).item() == pytest.approx(2 / 4)
