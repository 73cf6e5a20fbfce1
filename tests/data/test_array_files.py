"""Each kind of file gives its array or one line; nothing is unpickled, nothing half is read."""

import contextlib
import pickle
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import savemat
from scipy.sparse import csc_matrix

from mmhash.data.array_files import HDF5_MEND, is_hdf5, load_array
from mmhash.errors import InputError

from .conftest import fails_with

MATLAB_HEADER = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1".ljust(512)
HDF5 = b"\x89HDF\r\n\x1a\n"
VALUES = np.arange(12, dtype=np.float32).reshape(4, 3)


class Explosive:
    """Unpickling this would end the test."""

    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_a_memory_mapped_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    array, where = load_array(tmp_path / "a.npy")
    assert isinstance(array, np.memmap)
    assert (array == VALUES).all()
    assert where == str(tmp_path / "a.npy")


def test_npz_and_matlab_give_the_first_key_that_is_there(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", y=VALUES, z=VALUES[:1])
    savemat(tmp_path / "a.mat", {"y": VALUES, "z": VALUES[:1]})
    savemat(tmp_path / "b.mat", {"y": VALUES, "z": VALUES[:1]}, do_compression=True)
    for name in ("a.npz", "a.mat", "b.mat"):
        array, where = load_array(tmp_path / name, ["x", "y", "z"])
        assert (array == VALUES).all()
        assert where == f"{tmp_path / name}, y"


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64, np.bool_])
def test_matlab_keeps_types_and_opens_sparse_matrices(tmp_path: Path, dtype: type) -> None:
    values = (VALUES % 2).astype(dtype)
    savemat(tmp_path / "a.mat", {"full": values, "sparse": csc_matrix(values.astype(float))})
    full, _ = load_array(tmp_path / "a.mat", ["full"])
    sparse, _ = load_array(tmp_path / "a.mat", ["sparse"])
    assert (full == values).all()
    assert sparse.dtype == np.float32
    assert (sparse == values).all()


def test_the_column_of_a_list(tmp_path: Path) -> None:
    path = tmp_path / "trainset_txt_img_cat.list"
    path.write_text("a-1\tb-1\t6\nc-2\td-2\t10\n\n")
    array, where = load_array(path, ["3"])
    assert array.tolist() == [6, 10]
    assert where == f"{path}, column 3"
    path.write_text("a b 6\nc d\n")
    fails_with(lambda: load_array(path, ["3"]), "line 2", "column 3", "whole number")
    path.write_bytes(b"a b \xff\n")
    fails_with(lambda: load_array(path, ["3"]), str(path), "truncated")


@pytest.mark.parametrize("name", ["a.npz", "a.mat"])
def test_a_wrong_key_lists_what_is_there(tmp_path: Path, name: str) -> None:
    save = np.savez if name == "a.npz" else lambda path, **arrays: savemat(path, arrays)
    save(tmp_path / name, feats=VALUES, other=VALUES)
    fails_with(
        lambda: load_array(tmp_path / name, ["IAll", "XAll"]),
        str(tmp_path / name),
        "no array named IAll or XAll",
        "feats, other",
    )


def test_objects_are_refused_unseen(tmp_path: Path) -> None:
    objects = np.array([Explosive(), 1], dtype=object)
    np.save(tmp_path / "a.npy", objects)
    np.savez(tmp_path / "a.npz", x=objects)
    (tmp_path / "pickled.npy").write_bytes(pickle.dumps(Explosive()))
    (tmp_path / "pickled.npz").write_bytes(pickle.dumps(Explosive()))
    (tmp_path / "pickled.mat").write_bytes(pickle.dumps(Explosive()))
    for name in ("a.npy", "a.npz", "pickled.npy", "pickled.npz", "pickled.mat"):
        fails_with(lambda name=name: load_array(tmp_path / name, ["x"]), str(tmp_path / name))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.array(["im1.jpg", VALUES], dtype=object), "cell"),
        ({"field": VALUES}, "struct"),
        ("words", "char"),
    ],
)
def test_matlab_cells_structs_and_texts_are_refused(
    tmp_path: Path, value: object, kind: str
) -> None:
    savemat(tmp_path / "fall.mat", {"FAll": value})
    fails_with(
        lambda: load_array(tmp_path / "fall.mat", ["FAll"]), "fall.mat, FAll", f"MATLAB {kind}"
    )


def test_texts_in_npz_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array(["a", "b"]))
    fails_with(lambda: load_array(tmp_path / "a.npz", ["x"]), "a.npz, x", "array of numbers")


@pytest.mark.parametrize("name", ["plain.mat", "packed.mat", "a.npz", "a.npy"])
def test_a_truncated_file_is_one_line_wherever_it_ends(tmp_path: Path, name: str) -> None:
    values = np.random.default_rng(0).random((30, 20))
    whole = tmp_path / name
    if name.endswith(".mat"):
        savemat(whole, {"x": values}, do_compression=name == "packed.mat")
    elif name == "a.npz":
        np.savez(whole, x=values)
    else:
        np.save(whole, values)
    data = whole.read_bytes()
    for end in (0, 1, 60, 127, 128, 130, 136, 150, 200, len(data) // 2, len(data) - 1):
        whole.write_bytes(data[:end])
        fails_with(lambda: load_array(whole, ["x"]), str(whole))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.data())
def test_a_damaged_matlab_file_gives_an_array_or_one_line(tmp_path: Path, data) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"x": VALUES, "y": VALUES[:1]}, do_compression=data.draw(st.booleans()))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(InputError):  # anything else, a warning of ours included, fails
        assert load_array(path, ["x"])[0].dtype.kind in "biufc"


def test_other_formats_and_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(b"x")
    fails_with(lambda: load_array(tmp_path / "a.pkl", ["x"]), "a.pkl", ".npy, .npz, .mat, .h5")
    fails_with(lambda: load_array(tmp_path / "b.npz", ["x"]), "b.npz: no such file")


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.mat", MATLAB_HEADER + HDF5, "MATLAB 7.3"),
        ("a.mat", MATLAB_HEADER[:100], "MATLAB 7.3"),  # truncated inside the header
        ("a.mat", HDF5 + bytes(100), "MATLAB 7.3"),  # written by Python, without MATLAB's header
        ("a.h5", HDF5 + bytes(100), "HDF5"),
    ],
)
def test_hdf5_without_h5py_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes, kind: str
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / name).write_bytes(data)
    assert is_hdf5(tmp_path / name)
    fails_with(
        lambda: load_array(tmp_path / name, ["x"]), str(tmp_path / name), kind, "needs h5py",
        "pip install -r requirements-mat73.txt",
    )  # fmt: skip


def test_the_command_for_hdf5_names_a_file_of_this_repository(repository: Path) -> None:
    assert "h5py==" in (repository / HDF5_MEND.split()[-1]).read_text()


@pytest.fixture
def hdf5_folder(tmp_path: Path) -> Path:
    """``a.h5`` as Python writes it and ``a.mat`` as MATLAB does, with a header of its own."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = VALUES
        file["marked"] = VALUES.T
        file["marked"].attrs["MATLAB_class"] = np.bytes_("single")
        file.create_group("group")
        file.create_dataset("cells", (2,), dtype=h5py.ref_dtype)
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file["x"] = VALUES.T
    with (tmp_path / "a.mat").open("r+b") as stream:
        stream.write(MATLAB_HEADER)
    return tmp_path


def test_arrays_that_matlab_wrote_are_turned_and_pythons_are_not(hdf5_folder: Path) -> None:
    for name, key in (("a.h5", "x"), ("a.h5", "marked"), ("a.mat", "x")):
        array, _ = load_array(hdf5_folder / name, [key])
        assert (array == VALUES).all()
        assert array.flags.c_contiguous


def test_hdf5_groups_and_references_are_refused(hdf5_folder: Path) -> None:
    file = hdf5_folder / "a.h5"
    for key in ("group", "cells"):
        fails_with(lambda key=key: load_array(file, [key]), f"a.h5, {key}", "numbers")
    fails_with(lambda: load_array(file, ["y"]), "no array named y", "cells, group, marked, x")


def test_a_truncated_hdf5_file_is_one_line(hdf5_folder: Path) -> None:
    file = hdf5_folder / "a.mat"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    fails_with(lambda: load_array(file, ["x"]), "a.mat", "truncated")
