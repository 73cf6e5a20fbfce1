"""Arrays of numbers in MATLAB files of version 5 to 7.2, every length and type checked.

MathWorks, "MAT-File Format", chapter 1. A file is a header of 128 bytes and one element a variable:
a tag (type, bytes) and its content; type 15 is another element, deflated. A variable (type 14)
consists of elements itself: flags, dimensions, name, numbers; up to four bytes stand in the tag.

SciPy reads these files too, but its parser follows a wrong type number of a damaged file out of its
table (1.17) and takes the process with it. This one leaves numbers memory-mapped where they are not
deflated, and in the type that they are stored in, which for the 0 / 1 doubles of a bag of words is
one byte each.
"""

import math
import mmap
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_HEADER = 128
_TYPES = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
    16: "u1",  # UTF-8
}  # fmt: skip
_MATRIX, _DEFLATED = 14, 15
_SPARSE, _DENSE = 5, range(6, 16)  # classes of arrays
_NO_NUMBERS = {1: "cell", 2: "struct", 3: "object", 4: "char", 16: "function", 17: "opaque"}
_COMPLEX = 0x800  # the flag
_PEEK = 1 << 12  # bytes that hold flags, dimensions and name

Buffer = bytes | mmap.mmap


@dataclass(frozen=True)
class Variable:
    """A variable of a file: ``kind`` is "dense", "sparse", "complex" or a class without numbers;
    its element, deflated or not, begins at the file's byte ``at``.
    """

    kind: str
    at: int


@dataclass(frozen=True)
class _Element:
    kind: int
    start: int
    stop: int
    next: int


def list_variables(path: Path) -> dict[str, Variable]:
    """Return the variables of ``path`` by name; their numbers are not read.

    Raises ValueError, struct.error or zlib.error where the file is damaged.
    """
    file, order = _open(path)
    found, at = {}, _HEADER
    while at < len(file):
        element = _element(file, at, len(file), order)
        if element.kind == _DEFLATED:
            packed = file[element.start : min(element.stop, element.start + _PEEK)]
            head = zlib.decompressobj().decompress(packed, _PEEK)
            matrix = _element(head, 0, None, order)
            name, kind, _, _ = _describe(head, matrix, len(head), order)
        else:
            name, kind, _, _ = _describe(file, element, element.stop, order)
        if name:  # entries of MATLAB's own have none
            found[name] = Variable(kind, at)
        at = element.next
    return found


def read_numbers(path: Path, variable: Variable) -> np.ndarray:
    """Return the numbers of a "dense" or "sparse" variable, the latter dense.

    Raises ValueError, struct.error or zlib.error where the file is damaged.
    """
    file, order = _open(path)
    element = _element(file, variable.at, len(file), order)
    buffer: Buffer = file
    if element.kind == _DEFLATED:
        buffer = _inflate(memoryview(file)[element.start : element.stop], order)
        element = _element(buffer, 0, len(buffer), order)
    _, _, shape, at = _describe(buffer, element, element.stop, order)
    if variable.kind == "dense":
        values, _ = _vector(buffer, at, element.stop, order)
        if len(values) != math.prod(shape):
            raise ValueError(f"{len(values)} numbers for an array of shape {shape}")
        return values.reshape(shape, order="F")
    rows, at = _vector(buffer, at, element.stop, order)
    offset, at = _vector(buffer, at, element.stop, order)
    stored = int(offset[-1]) if len(offset) else 0
    last = _element(buffer, at, element.stop, order)
    if last.stop - last.start == stored:  # logical ones: bytes, whatever type the tag says
        values = np.frombuffer(buffer, dtype=np.uint8, count=stored, offset=last.start)
    else:
        values, _ = _vector(buffer, at, element.stop, order)
    return _filled(rows, offset, values, shape)


def _filled(
    rows: np.ndarray, offset: np.ndarray, values: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Return the dense array of columns ``rows[offset[j] : offset[j + 1]]``, float32."""
    if (
        len(shape) != 2
        or len(offset) != shape[1] + 1
        or {rows.dtype.kind, offset.dtype.kind} - {*"iu"}
    ):
        raise ValueError("a sparse matrix with wrong indices")
    offset = offset.astype(np.int64)
    counts, stored = np.diff(offset), int(offset[-1])
    if offset[0] != 0 or (counts < 0).any() or stored > min(len(rows), len(values)):
        raise ValueError("a sparse matrix with wrong columns")
    rows = rows[:stored].astype(np.int64)
    if stored and not 0 <= rows.min() <= rows.max() < shape[0]:
        raise ValueError("a sparse matrix with wrong rows")
    dense = np.zeros(shape, dtype=np.float32)
    with np.errstate(over="ignore"):  # infinity, which the features' check names
        dense[rows, np.repeat(np.arange(shape[1]), counts)] = values[:stored]
    return dense


def _open(path: Path) -> tuple[mmap.mmap, str]:
    with path.open("rb") as stream:
        file = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    mark = file[_HEADER - 2 : _HEADER]
    if mark not in (b"IM", b"MI"):
        raise ValueError("no header of MATLAB 5 to 7.2; save MATLAB 4 files again with -v7")
    return file, "<" if mark == b"IM" else ">"


def _element(buffer: Buffer, at: int, end: int | None, order: str) -> _Element:
    """Read a tag; ``end``, where given, is where the element must have ended."""
    first, size = struct.unpack_from(f"{order}II", buffer, at)
    if first >> 16:  # the small form: bytes and type share the first word
        kind, size, start, following = first & 0xFFFF, first >> 16, at + 4, at + 8
        if size > 4:
            raise ValueError(f"an element of {size} bytes in a tag")
    else:
        kind, start = first, at + 8
        following = start + (size if kind == _DEFLATED else -(-size // 8) * 8)
    if end is not None and start + size > end:
        raise ValueError(f"{size} bytes are announced, {max(0, end - start)} are there")
    return _Element(kind, start, start + size, following)


def _describe(
    buffer: Buffer, matrix: _Element, end: int, order: str
) -> tuple[str, str, tuple[int, ...], int]:
    """Return name, kind and shape of a variable, and where its numbers begin."""
    if matrix.kind != _MATRIX:
        raise ValueError(f"an element of type {matrix.kind} among the variables")
    if matrix.start == matrix.stop:
        return "", "empty", (), matrix.stop
    flags, at = _vector(buffer, matrix.start, end, order)
    word = int(flags[0]) if len(flags) else 0
    number = word & 0xFF
    if number == 17:  # has neither dimensions nor a name in the usual place
        name, _ = _vector(buffer, at, end, order)
        return _text(name), "opaque", (), at
    dimensions, at = _vector(buffer, at, end, order)
    name, at = _vector(buffer, at, end, order)
    shape = tuple(int(size) for size in dimensions)
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"an array of shape {shape}")
    if number in _NO_NUMBERS:
        return _text(name), _NO_NUMBERS[number], shape, at
    if number != _SPARSE and number not in _DENSE:
        raise ValueError(f"an array of class {number}")
    kind = "sparse" if number == _SPARSE else "dense"
    return _text(name), "complex" if word & _COMPLEX else kind, shape, at


def _vector(buffer: Buffer, at: int, end: int, order: str) -> tuple[np.ndarray, int]:
    """Return the numbers of the element at ``at``, and where the next one begins."""
    element = _element(buffer, at, end, order)
    if element.kind not in _TYPES:
        raise ValueError(f"an element of type {element.kind} in place of numbers")
    dtype = np.dtype(order + _TYPES[element.kind])
    count, rest = divmod(element.stop - element.start, dtype.itemsize)
    if rest:
        raise ValueError(f"{element.stop - element.start} bytes of {dtype}")
    values = np.frombuffer(buffer, dtype=dtype, count=count, offset=element.start)
    return values, element.next


def _text(name: np.ndarray) -> str:
    return name.tobytes().decode("ascii", errors="replace")


def _inflate(packed: memoryview, order: str) -> bytes:
    """Return the one element that ``packed`` holds; not a byte more than its tag announces."""
    tag = zlib.decompressobj().decompress(packed[:_PEEK], 8)
    size = struct.unpack(f"{order}II", tag)[1]
    inflater = zlib.decompressobj()
    data = inflater.decompress(packed, 8 + size + 64)
    if not inflater.eof:
        raise ValueError("the deflated numbers are cut off")
    return data
