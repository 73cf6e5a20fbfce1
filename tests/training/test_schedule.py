"""The learning rate."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmhash.training.schedule import learning_rate


def rates(total, lr=1.0, warmup=0.1, low=0.01):
    return [learning_rate(step, total, lr, warmup, low) for step in range(total)]


def test_linear_warm_up_then_half_a_cosine():
    got = rates(20, warmup=0.25)
    assert got[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    expected = [0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * k / 15)) for k in range(1, 16)]
    assert got[5:] == pytest.approx(expected)
    assert got[-1] == 0.01


def test_without_warm_up_it_starts_at_the_full_rate():
    got = rates(11, warmup=0.0)
    assert (got[0], got[5], got[10]) == (1.0, pytest.approx(0.505), 0.01)


def test_warm_up_over_all_steps_ends_at_the_full_rate():
    assert rates(4, warmup=1.0) == [0.25, 0.5, 0.75, 1.0]


@given(st.integers(1, 300), st.floats(0, 1), st.floats(0, 1))
def test_it_rises_once_and_falls_once_within_its_bounds(total, warmup, low):
    got = rates(total, warmup=warmup, low=low)
    peak = got.index(max(got))
    assert got[: peak + 1] == sorted(got[: peak + 1])
    assert got[peak:] == sorted(got[peak:], reverse=True)
    assert 0 < max(got) <= 1 + 1e-12
    assert min(got[peak:]) >= low - 1e-12 or len(got) == 1


def test_a_constant_rate_stays_after_the_warm_up():
    rates = [learning_rate(step, 8, 1.0, 0.25, 0.0, "constant") for step in range(8)]
    assert rates == [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_steps_drop_to_a_tenth_at_half_and_again_at_three_quarters():
    rates = [learning_rate(step, 8, 1.0, 0.0, 0.05, "step") for step in range(8)]
    assert rates == [1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.05, 0.05]  # not below min_lr
