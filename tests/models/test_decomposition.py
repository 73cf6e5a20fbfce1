"""Direction and magnitude."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mmhash.models.decomposition import decompose


def test_formula_in_float64():
    v = np.random.default_rng(0).standard_normal((5, 7))
    direction, magnitude = decompose(torch.from_numpy(v))
    n = np.sqrt((v**2).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(direction.numpy(), v / (n + 1e-6), rtol=1e-12)
    np.testing.assert_allclose(magnitude.numpy(), np.log(n + 1e-6), rtol=1e-12)


def test_zero_vector_has_no_direction_and_the_least_magnitude():
    direction, magnitude = decompose(torch.zeros(2, 3))
    assert direction.abs().max() == 0
    assert magnitude.numpy() == pytest.approx(np.log(1e-6))


def test_large_float16_values_do_not_overflow():
    v = torch.full((1, 1000), 6e4, dtype=torch.float16)
    direction, magnitude = decompose(v)
    assert direction.dtype == torch.float32
    assert direction.norm().item() == pytest.approx(1.0, abs=1e-5)
    assert magnitude.item() == pytest.approx(np.log(6e4 * np.sqrt(1000)), rel=1e-3)


def test_gradient():
    v = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(decompose, (v.requires_grad_(),))


@settings(max_examples=40)
@given(
    hnp.arrays(np.float64, (3, 5), elements=st.floats(-100, 100)),
    st.floats(0.5, 100),
)
def test_scaling_moves_the_magnitude_and_not_the_direction(v, factor):
    v = v + np.eye(3, 5) * 200  # norms far above epsilon
    direction, magnitude = decompose(torch.from_numpy(v))
    scaled_direction, scaled_magnitude = decompose(torch.from_numpy(factor * v))
    np.testing.assert_allclose(scaled_direction, direction, atol=1e-7)
    np.testing.assert_allclose(scaled_magnitude - magnitude, np.log(factor), atol=1e-7)
    np.testing.assert_allclose(np.linalg.norm(direction, axis=1), 1.0, atol=1e-7)
