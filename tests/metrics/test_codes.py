import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhash.codes import pack
from mmhash.metrics.codes import bit_correlation, bit_means, bucket_sizes, code_metrics


def random_bits(seed: int, n: int, bits: int = 16) -> np.ndarray:
    rng = np.random.default_rng(seed)
    b = (rng.random((n, bits)) < rng.random(bits)).astype(np.uint8)
    b[:, 1] = b[:, 0]
    return b


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 200))
def test_bit_figures_equal_numpy(seed, n):
    bits = random_bits(seed, n)
    codes = pack(bits)
    np.testing.assert_allclose(bit_means(codes), (2.0 * bits - 1).mean(axis=0), atol=1e-12)
    varying = np.flatnonzero(bits.min(axis=0) != bits.max(axis=0))
    found = code_metrics(codes)
    assert found["constant_bits"] == 16 - len(varying)
    if len(varying) > 1:
        expected = np.corrcoef(bits[:, varying].T)
        np.testing.assert_allclose(
            bit_correlation(codes)[np.ix_(varying, varying)], expected, atol=1e-9
        )
        off = np.abs(expected[~np.eye(len(varying), dtype=bool)])
        assert found["bit_correlation"] == pytest.approx(off.mean(), abs=1e-9)


@pytest.mark.parametrize("bits", [8, 16, 64, 128])
def test_buckets_count_equal_codes(bits):
    b = random_bits(0, 60, bits)
    b[10:30] = b[10]
    _, expected = np.unique(b, axis=0, return_counts=True)
    assert sorted(bucket_sizes(pack(b))) == sorted(expected)


def test_collisions_by_hand():
    codes = np.array([[0], [0], [1], [255]], dtype=np.uint8)
    found = code_metrics(codes)
    assert found["unique_codes"] == 3
    assert found["unique_share"] == 0.75
    assert found["collisions"] == 2
    assert found["largest_bucket"] == 2
    assert found["collision_probability"] == pytest.approx(1 / 6)
    assert found["code_entropy"] == pytest.approx(1.5)
    assert found["code_entropy_limit"] == 2


def test_collapsed_codes_carry_nothing():
    found = code_metrics(np.zeros((50, 8), dtype=np.uint8))
    assert found["bit_imbalance"] == 1
    assert found["bit_entropy"] == found["code_entropy"] == found["bit_correlation"] == 0
    assert (found["unique_codes"], found["constant_bits"]) == (1, 64)
    assert found["collision_probability"] == 1


def test_all_different_codes_carry_everything():
    found = code_metrics(np.arange(256, dtype=np.uint8)[:, None])
    assert found["bit_imbalance"] == 0
    assert found["bit_correlation"] == 0
    assert found["bit_entropy"] == 1
    assert found["code_entropy"] == pytest.approx(8)
    assert found["collisions"] == 0


def test_quantisation_error_of_soft_codes():
    codes = np.zeros((2, 1), dtype=np.uint8)
    soft = np.array([[1.0, -1.0], [0.0, 0.5]], dtype=np.float16)
    assert code_metrics(codes, soft)["quantisation_error"] == pytest.approx((1 + 0.25) / 4)
    assert "quantisation_error" not in code_metrics(codes)


def test_figures_are_plain_numbers():
    found = code_metrics(pack(random_bits(0, 1)))
    assert {type(value) for value in found.values()} <= {int, float}
    json.dumps(found, allow_nan=False)
