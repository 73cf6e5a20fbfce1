"""Arrays of MATLAB files, against SciPy on files that MATLAB wrote, and on damaged ones."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix, issparse

from mmhash.data.matlab5 import list_variables, read_numbers

NUMBERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "?")
# SciPy brings what MATLAB 6 to 7.4 wrote, on little- and big-endian machines.
WRITTEN_BY_MATLAB = sorted(
    path
    for kind in ("double", "matrix", "minus", "multi", "sparse", "vec", "3dmatrix")
    for path in (Path(scipy.io.__file__).parent / "matlab/tests/data").glob(f"test{kind}*_[67]*")
    if "hdf5" not in path.name
)


def test_there_are_files_of_both_byte_orders() -> None:
    orders = {path.read_bytes()[126:128] for path in WRITTEN_BY_MATLAB}
    assert orders == {b"IM", b"MI"}
    assert len(WRITTEN_BY_MATLAB) > 15


@pytest.mark.parametrize("path", WRITTEN_BY_MATLAB, ids=lambda path: path.stem)
def test_files_of_matlab_hold_what_scipy_reads(path: Path) -> None:
    held = list_variables(path)
    expected = {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
    assert set(held) == set(expected)
    for name, value in expected.items():
        if held[name].kind == "complex":
            continue
        dense = value.toarray() if issparse(value) else value
        exact = dense.astype(np.float32) if issparse(value) else dense
        np.testing.assert_array_equal(read_numbers(path, held[name]), exact)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_what_scipy_writes_comes_back(tmp_path: Path, data) -> None:
    dtype = data.draw(st.sampled_from(NUMBERS))
    shape = data.draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))
    values = (np.random.default_rng(0).standard_normal(shape) * 3).astype(dtype)
    path = tmp_path / "a.mat"
    savemat(
        path,
        {"x": values, "some_longer_name": values[:1], "sparse": csc_matrix(values.astype(float))},
        do_compression=data.draw(st.booleans()),
    )
    held = list_variables(path)
    np.testing.assert_array_equal(read_numbers(path, held["x"]), values)
    np.testing.assert_array_equal(read_numbers(path, held["some_longer_name"]), values[:1])
    if 0 not in shape:
        sparse = read_numbers(path, held["sparse"])
        np.testing.assert_array_equal(sparse, values.astype(np.float32))


def saved(**arrays: object) -> bytearray:
    stream = io.BytesIO()
    savemat(stream, arrays)
    return bytearray(stream.getvalue())


@pytest.mark.parametrize("change", range(256))
def test_no_type_number_leads_out_of_the_table(tmp_path: Path, change: int) -> None:
    path = tmp_path / "a.mat"
    content = saved(x=np.arange(12.0))
    at = content.index(struct.pack("<II", 9, 96))  # the tag of twelve doubles
    content[at] = change
    path.write_bytes(content)
    try:
        array = read_numbers(path, list_variables(path)["x"])
    except ValueError:
        assert change not in (9, 12, 13)  # the types of eight bytes
    else:
        assert array.shape == (1, 12)


@pytest.mark.parametrize("word", [b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\x00\x01\x00\x00"])
def test_sparse_indices_beyond_the_matrix_are_refused(tmp_path: Path, word: bytes) -> None:
    path = tmp_path / "a.mat"
    content = saved(x=csc_matrix(np.eye(3)))
    rows = content.index(struct.pack("<III", 0, 1, 2))
    for at in (rows, content.index(struct.pack("<IIII", 0, 1, 2, 3)) + 12):
        broken = bytearray(content)
        broken[at : at + 4] = word
        path.write_bytes(broken)
        held = list_variables(path)
        with pytest.raises(ValueError):
            read_numbers(path, held["x"])


def test_a_deflated_variable_gives_no_more_than_it_announces(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    content = saved(x=np.zeros(4))
    bomb = zlib.compress(bytes(content[128:]) + bytes(10_000_000))
    path.write_bytes(content[:128] + struct.pack("<II", 15, len(bomb)) + bomb)
    held = list_variables(path)
    with pytest.raises(ValueError, match="cut off"):
        read_numbers(path, held["x"])
