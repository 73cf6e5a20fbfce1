"""The cosine term."""

import numpy as np
import pytest
import torch

from mmhash.losses.alignment import cosine_distance


def unit(seed):
    v = np.random.default_rng(seed).normal(size=(6, 4))
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def test_formula():
    a, b = unit(0), unit(1)
    got = cosine_distance(torch.from_numpy(a), torch.from_numpy(b)).item()
    assert got == pytest.approx(np.mean([1 - x @ y for x, y in zip(a, b, strict=True)]))


def test_range_and_ends():
    a = torch.from_numpy(unit(0))
    assert cosine_distance(a, a).item() == pytest.approx(0)
    assert cosine_distance(a, -a).item() == pytest.approx(2)


def test_it_is_half_of_the_squared_euclidean_distance():
    a, b = torch.from_numpy(unit(0)), torch.from_numpy(unit(1))
    squared = (a - b).square().sum(dim=1).mean()
    torch.testing.assert_close(2 * cosine_distance(a, b), squared)


def test_gradient():
    a, b = (torch.from_numpy(unit(seed)).requires_grad_() for seed in (0, 1))
    assert torch.autograd.gradcheck(cosine_distance, (a, b))
