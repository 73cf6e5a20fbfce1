import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmhash.codes import binarise, hamming, pack, unpack
from mmhash.errors import InputError

BITS = st.sampled_from([8, 16, 24, 32, 64, 128, 256])


def random_bits(seed: int, n: int, bits: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (n, bits), dtype=np.uint8)


def test_zero_counts_as_plus_one():
    h = np.array([[-1.0, -1e-7, 0.0, -0.0, 1e-7, 1.0]])
    assert binarise(h).tolist() == [[0, 0, 1, 1, 1, 1]]
    assert binarise(h).dtype == np.uint8


def test_nan_has_no_sign():
    with pytest.raises(InputError, match="NaN"):
        binarise(np.array([[np.nan]]))


def test_first_bit_is_the_least_significant_of_the_first_byte():
    bits = np.zeros((1, 16), dtype=np.uint8)
    bits[0, [0, 3, 8]] = 1
    assert pack(bits).tolist() == [[0b1001, 0b1]]


@given(seed=st.integers(0, 1000), n=st.integers(0, 5), bits=BITS)
def test_unpacking_undoes_packing(seed, n, bits):
    b = random_bits(seed, n, bits)
    assert pack(b).shape == (n, bits // 8)
    assert np.array_equal(unpack(pack(b)), b)


@pytest.mark.parametrize("bits", [0, 1, 12, 63])
def test_code_length_must_be_a_multiple_of_eight(bits):
    with pytest.raises(InputError, match="packed"):
        pack(np.zeros((2, bits), dtype=np.uint8))


@given(seed=st.integers(0, 1000), bits=BITS, block=st.sampled_from([1, 7, 1 << 20]))
def test_hamming_distance_counts_unequal_bits(seed, bits, block):
    a, b = random_bits(seed, 4, bits), random_bits(seed + 1, 6, bits)
    expected = (a[:, None] != b[None]).sum(axis=2)
    assert np.array_equal(hamming(pack(a), pack(b), block_entries=block), expected)


@given(seed=st.integers(0, 1000), bits=BITS)
def test_hamming_distance_follows_from_the_inner_product(seed, bits):
    a, b = random_bits(seed, 3, bits), random_bits(seed + 1, 3, bits)
    signs = (2 * a.astype(int) - 1) @ (2 * b.astype(int) - 1).T
    assert np.array_equal(hamming(pack(a), pack(b)), (bits - signs) // 2)


@pytest.mark.parametrize("bits", [8, 64, 128, 248, 256, 512])
def test_opposite_codes_differ_in_every_bit(bits):
    zeros = np.zeros((1, bits // 8), dtype=np.uint8)
    assert hamming(zeros, ~zeros).tolist() == [[bits]]


def test_codes_of_different_length_are_refused():
    with pytest.raises(InputError, match="16 and 8 bits"):
        hamming(np.zeros((1, 2), np.uint8), np.zeros((1, 1), np.uint8))
