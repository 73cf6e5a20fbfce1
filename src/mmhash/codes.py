"""Binary codes: the sign of the hash layer, packed 8 bits a byte, compared by Hamming distance.

Bit j of an item is 1 where h_j >= 0 (zero counts as +1). It lies in byte j // 8 at the place
2^(j mod 8), least significant bit first (``bitorder="little"`` in NumPy), the layout in which FAISS
numbers the bits of its binary vectors. For b in {-1, 1}^B, d_H(b1, b2) = (B - b1·b2) / 2.
"""

import numpy as np

from mmhash.errors import InputError


def binarise(h: np.ndarray) -> np.ndarray:
    """Return the bits of soft codes.

    ``h`` is (n, B), real; the result is (n, B) uint8, 1 where h >= 0. Raises InputError for NaN,
    which has no sign.
    """
    if np.isnan(h).any():
        raise InputError("soft codes contain NaN; did the training diverge?")
    return (h >= 0).astype(np.uint8)


def pack(bits: np.ndarray) -> np.ndarray:
    """Pack (n, B) bits of 0 and 1 into (n, B / 8) uint8, least significant bit first.

    Raises InputError where B is no multiple of 8.
    """
    if bits.ndim != 2 or bits.shape[1] == 0 or bits.shape[1] % 8:
        raise InputError(f"codes of shape {bits.shape} cannot be packed; bits must be 8, 16, 24, …")
    return np.packbits(bits, axis=1, bitorder="little")


def unpack(codes: np.ndarray) -> np.ndarray:
    """Unpack (n, B / 8) uint8 into (n, B) uint8 of 0 and 1, the inverse of :func:`pack`."""
    return np.unpackbits(codes, axis=1, bitorder="little")


def words(codes: np.ndarray) -> np.ndarray:
    """View packed codes (n, bytes) as the widest unsigned words that fill a row, as (w, n).

    Word-major, so that one word of all items is contiguous and population counts run at full width.
    """
    width = next(size for size in (8, 4, 2, 1) if codes.shape[1] % size == 0)
    rows = np.ascontiguousarray(codes, dtype=np.uint8).view(f"u{width}")
    return np.ascontiguousarray(rows.T)


def word_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Hamming distances of word-major codes (w, n) and (w, m) as (n, m).

    uint8 up to 248 bits, uint16 above, where 256 would overflow a byte: take care in arithmetic.
    """
    bits = a.shape[0] * a.dtype.itemsize * 8
    total = np.bitwise_count(a[0][:, None] ^ b[0])
    if bits > 248:
        total = total.astype(np.uint16)
    for left, right in zip(a[1:], b[1:], strict=True):
        total += np.bitwise_count(left[:, None] ^ right)
    return total


def hamming(a: np.ndarray, b: np.ndarray, block_entries: int = 1 << 20) -> np.ndarray:
    """Return the Hamming distances of packed codes (n, B / 8) and (m, B / 8) as (n, m) int16.

    Works on blocks of rows of about ``block_entries`` pairs, so that only the result needs memory.
    Raises InputError where the codes differ in length.
    """
    if a.shape[1] != b.shape[1]:
        raise InputError(f"codes of {a.shape[1] * 8} and {b.shape[1] * 8} bits cannot be compared")
    result = np.empty((len(a), len(b)), dtype=np.int16)
    left, right = words(a), words(b)
    step = max(1, block_entries // max(1, len(b)))
    for start in range(0, len(a), step):
        block = slice(start, start + step)
        result[block] = word_distances(left[:, block], right)
    return result
