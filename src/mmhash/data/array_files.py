"""Arrays in the files that public packages come in, read without executing anything.

``.npy`` (memory-mapped) and ``.npz``; MATLAB ``.mat`` of version 5 to 7.2; MATLAB 7.3 and ``.h5``,
which are HDF5 and need the optional package h5py; ``.list``, lines of words of which one column
holds whole numbers (the Wikipedia set's categories). Nothing is unpickled, and whatever is
no plain array of numbers (cells, structs, objects, texts) is refused before it is loaded.

MATLAB stores columns first; HDF5 shows such an array with its axes reversed, so arrays that MATLAB
wrote (by the file's header, or by the attribute ``MATLAB_class`` that it puts on each) are turned
round here. Arrays that Python wrote to HDF5 are left as they are.
"""

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mmhash.data.matlab5 import list_variables, read_numbers
from mmhash.errors import InputError
from mmhash.files import read_npy

HDF5_MEND = "pip install -r requirements-mat73.txt"

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"  # HDF5 File Format Specification 3.0, II.A
_MATLAB_BLOCK = 512  # MATLAB 7.3 puts its own header before the signature


def load_array(path: Path, keys: Iterable[str] = ()) -> tuple[np.ndarray, str]:
    """Return the first array of ``path`` that one of ``keys`` names, and its name (for messages).

    ``.npy`` holds one array and takes no key; for ``.list`` the key is the column, counted from 1.
    The array has any numeric type and any number of axes; sparse matrices become dense float32.

    Raises :class:`InputError` for a missing or truncated file, a format or key that is not there,
    an object in place of numbers, and HDF5 without h5py.
    """
    keys = tuple(keys)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.suffix == ".npy":
        return _numbers(read_npy(path, mmap=True), str(path)), str(path)
    if is_hdf5(path):
        array, key = _load_hdf5(path, keys)
    elif path.suffix == ".npz":
        array, key = _load_npz(path, keys)
    elif path.suffix == ".mat":
        array, key = _load_matlab(path, keys)
    elif path.suffix == ".list":
        return _load_column(path, int(keys[0])), f"{path}, column {keys[0]}"
    else:
        raise InputError(f"{path}: must be .npy, .npz, .mat, .h5 or .list")
    return _numbers(array, f"{path}, {key}"), f"{path}, {key}"


def is_hdf5(path: Path) -> bool:
    """Return whether ``path`` is HDF5 (``.h5``, MATLAB 7.3) by its first bytes, whole or not."""
    with path.open("rb") as stream:
        head = stream.read(_MATLAB_BLOCK + len(_HDF5_SIGNATURE))
    return _by_matlab(head) or _HDF5_SIGNATURE in (head[:8], head[_MATLAB_BLOCK:])


def _by_matlab(head: bytes) -> bool:
    """Return whether MATLAB's own header announces HDF5: by its text, or by version 2."""
    version = head[124:126] in (b"\x00\x02", b"\x02\x00")
    return head.startswith(b"MATLAB 7.3 MAT-file") or (head.startswith(b"MATLAB") and version)


def _numbers(array: np.ndarray, where: str) -> np.ndarray:
    if array.dtype.kind not in "biufc":
        raise InputError(f"{where}: holds {array.dtype}, must be an array of numbers")
    return array


def _pick(path: Path, keys: tuple[str, ...], held: Iterable[str]) -> str:
    """Return the first of ``keys`` that the file holds."""
    names = sorted(held)
    found = next((key for key in keys if key in names), None)
    if found is None:
        listed = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        raise InputError(
            f"{path}: no array named {' or '.join(keys)}; it holds {listed or 'nothing'}; rename "
            "the array, or take the file of that name from the usual package"
        )
    return found


def _damaged(path: Path, kind: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{path}: not a readable {kind} file ({reason:.120}); is it truncated?")


def _load_npz(path: Path, keys: tuple[str, ...]) -> tuple[np.ndarray, str]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            key = _pick(path, keys, archive.files)
            return archive[key], key
    except InputError:
        raise
    except Exception as error:  # of the zip, of zlib, or of the array's header
        raise _damaged(path, ".npz", error) from None


def _load_matlab(path: Path, keys: tuple[str, ...]) -> tuple[np.ndarray, str]:
    try:
        held = list_variables(path)
        key = _pick(path, keys, held)
        if held[key].kind not in ("dense", "sparse"):
            raise InputError(
                f"{path}, {key}: is a MATLAB {held[key].kind}, must be an array of numbers; "
                "convert it in MATLAB (cell2mat, real) and save it again"
            )
        return read_numbers(path, held[key]), key
    except (ValueError, OSError, MemoryError, struct.error, zlib.error) as error:
        raise _damaged(path, ".mat", error) from None


def _load_hdf5(path: Path, keys: tuple[str, ...]) -> tuple[np.ndarray, str]:
    try:
        import h5py
    except ImportError:
        kind = "MATLAB 7.3" if path.suffix == ".mat" else "HDF5"
        raise InputError(f"{path}: is a {kind} file, which needs h5py: {HDF5_MEND}") from None
    with path.open("rb") as stream:
        whole = _by_matlab(stream.read(_MATLAB_BLOCK))
    try:
        with h5py.File(path, "r") as file:
            key = _pick(path, keys, file.keys())
            stored = file[key]
            if not isinstance(stored, h5py.Dataset) or stored.dtype.kind not in "biufc":
                raise InputError(
                    f"{path}, {key}: is no array of numbers (a struct, cells, or a sparse matrix); "
                    "save it as a plain full array"
                )
            array = stored[...]
            turned = whole or "MATLAB_class" in stored.attrs
    except InputError:
        raise
    except Exception as error:
        raise _damaged(path, "HDF5", error) from None
    return np.ascontiguousarray(array.T) if turned else array, key


def _load_column(path: Path, column: int) -> np.ndarray:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise _damaged(path, ".list", error) from None
    numbers = []
    for position, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        word = words[column - 1] if len(words) >= column else ""
        if not (word.isascii() and word.isdigit() and len(word) < 10):
            raise InputError(
                f"{path}: line {position} has {word!r:.40} in column {column}, must be a whole "
                "number"
            )
        numbers.append(int(word))
    return np.array(numbers, dtype=np.int64)
