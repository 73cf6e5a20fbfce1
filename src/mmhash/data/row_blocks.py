"""Arrays that may be larger than memory, read and copied some rows at a time."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmhash.errors import InputError
from mmhash.files import atomic_path, forget_pages

BLOCK_BYTES = 32 << 20


def row_blocks(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, rows), each block at most about :data:`BLOCK_BYTES`."""
    step = max(1, BLOCK_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        yield start, np.asarray(array[start : start + step])
        forget_pages(array)


def copy_rows(
    source: np.ndarray, rows: np.ndarray, target: Path, dtype: np.dtype, name: str
) -> None:
    """Write ``rows`` of ``source``, one after another, as one ``.npy``; messages say ``name``."""
    step = max(1, BLOCK_BYTES // source[:1].nbytes)
    with atomic_path(target) as temporary, temporary.open("wb") as stream:
        shape = (len(rows), *source.shape[1:])
        header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        for start in range(0, len(rows), step):
            taken = rows[start : start + step]
            block = np.take(source, taken, axis=0)  # faster than source[taken] in C order
            forget_pages(source)
            if dtype.itemsize < block.dtype.itemsize:
                large = np.flatnonzero((np.abs(block) > np.finfo(dtype).max).any(axis=1))
                if len(large):
                    raise InputError(
                        f"{name}: row {taken[large[0]]} holds a value too large for {dtype.name}; "
                        "set features.dtype=float32"
                    )
            stream.write(np.ascontiguousarray(block, dtype=dtype).data)
