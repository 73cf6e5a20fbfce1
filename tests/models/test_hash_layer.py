"""The soft code and the schedule of its scale."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmhash.models.hash_layer import HashLayer, hash_scale


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [2.0, 3.5, 5.0, 6.5, 8.0]),
        ("exponential", [2.0, 2.0 * 4**0.25, 4.0, 2.0 * 4**0.75, 8.0]),
        ("step", [2.0, 2.0, 8.0, 8.0, 8.0]),
    ],
)
def test_schedule_over_five_epochs(schedule, expected):
    got = [hash_scale(schedule, epoch, 5, 2.0, 8.0) for epoch in range(5)]
    assert got == pytest.approx(expected, rel=1e-12)


def test_step_changes_at_half_of_an_even_number_of_epochs():
    assert [hash_scale("step", epoch, 4, 1.0, 9.0) for epoch in range(4)] == [1, 1, 9, 9]


@pytest.mark.parametrize("schedule", ["linear", "exponential", "step"])
def test_a_single_epoch_has_the_smallest_scale(schedule):
    assert hash_scale(schedule, 0, 1, 1.5, 10.0) == 1.5


@given(
    st.sampled_from(["linear", "exponential", "step"]),
    st.integers(1, 40),
    st.floats(0.1, 5),
    st.floats(0, 50),
)
def test_the_scale_rises_within_its_bounds(schedule, epochs, low, rise):
    scales = [hash_scale(schedule, epoch, epochs, low, low + rise) for epoch in range(epochs)]
    assert all(a <= b * (1 + 1e-12) for a, b in itertools.pairwise(scales))
    assert scales[0] == low
    assert epochs == 1 or scales[-1] == pytest.approx(low + rise)


def test_formula_without_batch_norm():
    layer = HashLayer(5, 8, batch_norm=False).double()
    z = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    u, h = layer(z, 2.5)
    weight, bias = layer.linear.weight.detach().numpy(), layer.linear.bias.detach().numpy()
    expected = z.numpy() @ weight.T + bias
    np.testing.assert_allclose(u.detach(), expected, rtol=1e-12)
    np.testing.assert_allclose(h.detach(), np.tanh(2.5 * expected), rtol=1e-12)


def test_batch_norm_stands_between_the_linear_map_and_tanh():
    layer = HashLayer(5, 8, batch_norm=True).double()
    z = 4 + torch.randn(64, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    u, h = layer(z, 1.0)
    raw = z.numpy() @ layer.linear.weight.detach().numpy().T
    expected = (raw - raw.mean(axis=0)) / np.sqrt(raw.var(axis=0) + 1e-5)
    np.testing.assert_allclose(u.detach(), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(h.detach(), np.tanh(expected), rtol=1e-9, atol=1e-12)


def test_batch_norm_sees_each_micro_batch_by_itself():
    layer, reference = HashLayer(5, 8, batch_norm=True), HashLayer(5, 8, batch_norm=True)
    reference.load_state_dict(layer.state_dict())
    z = torch.randn(12, 5, generator=torch.Generator().manual_seed(1)) + torch.arange(12)[:, None]
    u, _ = layer(z, 1.0, 3)
    expected = [reference(part, 1.0)[0] for part in z.split(4)]
    torch.testing.assert_close(u, torch.cat(expected))
    torch.testing.assert_close(layer.norm.running_mean, reference.norm.running_mean)
    assert layer.norm.num_batches_tracked == 3


def test_half_precision_goes_to_float32_before_tanh():
    layer = HashLayer(5, 8, batch_norm=False).to(torch.bfloat16)
    u, h = layer(torch.ones(2, 5, dtype=torch.bfloat16), 10.0)
    assert u.dtype == h.dtype == torch.float32
