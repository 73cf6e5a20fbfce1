"""Public cross-modal retrieval sets (Wiki, MIRFlickr-25K, NUS-WIDE) as feature folders.

Packages of these sets differ in file names, formats and keys. The set's descriptor lists the
``layouts`` that are looked for: for ``image``, ``text`` and ``labels`` and for each part of the set
(``all``, or ``train`` and ``test``) alternatives ``[file, key or keys, bits]``, the file in the
folder or one folder below. One layout serves all arrays: arrays of different packages may stand in
different orders, which nothing would show. With ``bits``, 0 / 1 columns are packed eight a byte
(``numpy.packbits``).

The protocol: parts ``train`` and ``test`` are taken as they come; ``all`` is divided by the seed
that stands in the descriptor into queries (``test``), training rows (``train``), ``val`` drawn from
the rows that the protocol has for the database only, and ``database``, the others.

An image's id is its row in the files (parts one after another). Rows without a label are left out
before the draw. Image features that are ``.npy`` in float16 or float32 stay memory-mapped.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmhash.data.array_files import load_array
from mmhash.data.folder import SPLIT_NAMES, FeatureFolder, assemble
from mmhash.data.row_blocks import row_blocks
from mmhash.errors import InputError
from mmhash.seeding import numpy_stream

logger = logging.getLogger("mmhash")

ARRAYS = ("image", "text", "labels")
EXACT = 1 << 24  # whole numbers up to this are float32 without loss

Layout = dict[str, dict[str, list[list[Any]]]]


@dataclass(frozen=True)
class Choice:
    """Where one part of one array lies."""

    path: Path
    keys: tuple[str, ...]
    bits: int | None


@dataclass(frozen=True)
class Part:
    """One loaded part: ``array`` (n, ...) and the file and key that messages name."""

    array: np.ndarray
    where: str


def find_files(root: Path, descriptor: dict[str, Any]) -> dict[str, dict[str, Choice]]:
    """Return {array: {part: where it lies}} of the first layout of which every file is there.

    Raises :class:`InputError` that says, for the layout that is nearest to complete, which arrays
    are missing, which file names are looked for, and where such packages come from.
    """
    best: dict[str, dict[str, Choice]] = {}
    lacking: dict[tuple[str, str], list[str]] = {}
    for layout in descriptor["layouts"]:
        found, missing = _look_for(root, layout)
        if not missing:
            return found
        if not lacking or len(missing) < len(lacking):
            best, lacking = found, missing
    named = [
        f"{array if part == 'all' else f'{array} of {part}'} ({' or '.join(files)})"
        for (array, part), files in lacking.items()
    ]
    there = sorted({choice.path.name for parts in best.values() for choice in parts.values()})
    name = descriptor["dataset"]
    raise InputError(
        f"{root}: not there: {', '.join(named)}"
        f"{'; found beside it: ' + ', '.join(there) if there else ''}; {descriptor['get']}; put "
        f"the files there or one folder below, or set datasets.{name}.root to their folder"
    )


def files_in_use(root: Path, descriptor: dict[str, Any]) -> dict[str, Path]:
    """Return the files that :func:`read_public_set` reads, by their path below ``root``."""
    found = find_files(root, descriptor)
    paths = {choice.path for parts in found.values() for choice in parts.values()}
    return {path.relative_to(root).as_posix(): path for path in sorted(paths)}


def read_public_set(
    root: Path, descriptor: dict[str, Any], strict_counts: bool = False
) -> FeatureFolder:
    """Read and check the set that ``descriptor`` describes; divide it by its protocol.

    With ``strict_counts`` the files must have the rows that the descriptor's ``counts`` allow.

    Raises :class:`InputError` naming the user's own file, the row and the mend.
    """
    name, categories = descriptor["dataset"], descriptor["categories"]
    found = find_files(root, descriptor)
    loaded = {
        array: {part: _load(choice) for part, choice in found[array].items()} for array in ARRAYS
    }
    where = " + ".join(part.where for part in loaded["labels"].values())
    hot = {part: multi_hot(labels, len(categories)) for part, labels in loaded["labels"].items()}
    for part, rows in hot.items():
        for array in ("image", "text"):
            _check_rows(loaded[array][part], len(rows), loaded["labels"][part].where)
        if strict_counts:
            _check_count(part, len(rows), descriptor, loaded["labels"][part].where)
    labels = np.concatenate(list(hot.values()))
    kept = np.flatnonzero(labels.any(axis=1))
    if len(kept) == 0:
        raise InputError(f"{where}: labels are all zero; take the package's own labels")
    if len(kept) < len(labels):
        out = len(labels) - len(kept)
        logger.info("%s: %d of %d rows have no label and are left out", name, out, len(labels))
    if "all" in hot:
        numbers = draw_protocol(kept, len(labels), descriptor, where)
    else:
        given = [np.full(len(rows), SPLIT_NAMES.index(part)) for part, rows in hot.items()]
        numbers = np.concatenate(given).astype(np.uint8)
        for part in hot:
            if SPLIT_NAMES.index(part) not in numbers[kept]:
                raise InputError(f"{loaded['labels'][part].where}: no row has a label")
    image, image_name = _joined(loaded["image"])
    text, text_name = _joined(loaded["text"])
    return assemble(
        root=root,
        image=image,
        text=text,
        text_offset=np.arange(len(labels) + 1),
        image_id=np.arange(len(labels), dtype=np.int64),
        order=kept,
        positives=np.nonzero(labels),
        categories=[{"id": i, "name": name} for i, name in enumerate(categories, start=1)],
        split=numbers,
        names={"image.npy": image_name, "text.npy": text_name},
    )


def draw_protocol(kept: np.ndarray, n: int, descriptor: dict[str, Any], where: str) -> np.ndarray:
    """Return the split of each of ``n`` rows as its number in SPLIT_NAMES, (n,) uint8.

    Of the rows ``kept`` the first ``queries`` of a random order are test, then ``training`` train,
    then ``val`` val; the others are for the database only. Rows that are not kept get no say.

    Raises :class:`InputError` where there are fewer rows than that.
    """
    protocol = descriptor["protocol"]
    sizes = {"test": protocol["queries"], "train": protocol["training"], "val": protocol["val"]}
    if len(kept) < sum(sizes.values()):
        raise InputError(
            f"{where}: {len(kept):,} rows with a label, but the protocol takes {sizes['test']:,} "
            f"queries + {sizes['train']:,} training + {sizes['val']:,} val rows; take the whole "
            f"set, or lower the numbers in data/descriptors/{descriptor['dataset']}.json"
        )
    stream = numpy_stream(protocol["seed"], descriptor["dataset"], "protocol")
    rows = stream.permutation(kept)
    numbers = np.full(n, SPLIT_NAMES.index("database"), dtype=np.uint8)
    start = 0
    for name, size in sizes.items():
        numbers[rows[start : start + size]] = SPLIT_NAMES.index(name)
        start += size
    return numbers


def multi_hot(part: Part, classes: int) -> np.ndarray:
    """Return labels as (n, classes) bool: multi-hot as they are, or single labels from 1 on.

    Raises :class:`InputError` naming the row for anything but 0 and 1, or 1 to ``classes``.
    """
    array, where = part.array, part.where
    if array.dtype.kind == "c":
        raise InputError(f"{where}: labels are complex numbers, must be whole numbers")
    single = array.ndim == 1 or (array.ndim == 2 and 1 in array.shape and classes > 1)
    if not single and (array.ndim != 2 or array.shape[1] != classes):
        raise InputError(
            f"{where}: shape is {array.shape}, must be (N, {classes}) of 0 and 1, or (N,) of "
            f"1 to {classes}"
        )
    values = array.reshape(-1) if single else array
    good = np.isin(values, np.arange(1, classes + 1) if single else (0, 1))
    bad = np.argwhere(~good)
    if len(bad):
        allowed = f"a whole number from 1 to {classes}" if single else "0 or 1"
        raise InputError(
            f"{where}: row {bad[0][0]} holds {values[tuple(bad[0])]}, must be {allowed}"
        )
    if not single:
        return values.astype(bool)
    return values.astype(np.int64)[:, None] == np.arange(1, classes + 1)


def checked_features(part: Part) -> np.ndarray:
    """Return features as (n, D) float16 or float32, as they are or converted to float32.

    Raises :class:`InputError` naming file and row for a wrong shape, complex numbers, NaN,
    infinity, numbers that float32 cannot hold, and a matrix whose rows are all equal.
    """
    array, where = part.array, part.where
    if array.ndim != 2:
        pictures = " (pictures are no features: encode each to one vector)" * (array.ndim > 2)
        raise InputError(f"{where}: shape is {array.shape}, must be (N, D){pictures}")
    if 0 in array.shape:
        raise InputError(f"{where}: shape is {array.shape}; it holds nothing")
    if array.dtype.kind == "c":
        raise InputError(f"{where}: holds complex numbers; save their real features")
    as_it_is = array.dtype in (np.float16, np.float32) and array.flags.c_contiguous
    out = array if as_it_is else np.empty(array.shape, dtype=np.float32)
    whole, wide = array.dtype.kind in "biu", array.dtype.itemsize > 4
    largest = EXACT if whole else float(np.finfo(np.float32).max)
    beyond = f"holds a number beyond {largest:.9g}, which float32 cannot hold"
    constant, empty = True, 0
    for start, block in row_blocks(array):
        if not whole:
            _stop_at(~np.isfinite(block), where, start, "holds NaN or infinity")
        if whole or wide:  # both ends: the absolute value of the smallest integer is negative
            _stop_at((block > largest) | (block < -largest), where, start, beyond)
        constant = constant and bool((block == array[:1]).all())
        empty += int((block == 0).all(axis=1).sum())
        if not as_it_is:
            out[start : start + len(block)] = block
    if constant and len(array) > 1:
        raise InputError(f"{where}: all {len(array)} rows are equal; it holds no features")
    if empty:
        logger.info("%s: %d rows are zero throughout; they stay in", where, empty)
    return out


def _stop_at(bad: np.ndarray, where: str, start: int, what: str) -> None:
    rows = np.flatnonzero(bad.any(axis=1))
    if len(rows):
        raise InputError(f"{where}: row {start + rows[0]} {what}; compute that vector again")


def _look_for(
    root: Path, layout: Layout
) -> tuple[dict[str, dict[str, Choice]], dict[tuple[str, str], list[str]]]:
    """Return where the arrays of ``layout`` lie, and the file names of those that are missing."""
    found: dict[str, dict[str, Choice]] = {array: {} for array in ARRAYS}
    missing: dict[tuple[str, str], list[str]] = {}
    for array in ARRAYS:
        for part, choices in layout[array].items():
            for file, *rest in choices:
                path = _path_of(root, file)
                if path is not None:
                    keys = rest[0] if rest else []
                    found[array][part] = Choice(
                        path,
                        tuple([keys] if isinstance(keys, str) else keys),
                        rest[1] if len(rest) > 1 else None,
                    )
                    break
            else:
                missing[array, part] = list(dict.fromkeys(file for file, *_ in choices))
    return found, missing


def _path_of(root: Path, file: str) -> Path | None:
    if (root / file).is_file():
        return root / file
    return next((path for path in sorted(root.glob(f"*/{file}")) if path.is_file()), None)


def _load(choice: Choice) -> Part:
    array, where = load_array(choice.path, choice.keys)
    return Part(array if choice.bits is None else _unpacked(array, choice.bits, where), where)


def _unpacked(array: np.ndarray, bits: int, where: str) -> np.ndarray:
    if array.ndim != 2 or array.dtype != np.uint8 or array.shape[1] != -(-bits // 8):
        raise InputError(
            f"{where}: is {array.dtype} of shape {array.shape}, must be uint8 "
            f"(N, {-(-bits // 8)}): {bits} columns of 0 and 1 packed by numpy.packbits(axis=1)"
        )
    columns = np.unpackbits(array, axis=1)
    beyond = np.flatnonzero(columns[:, bits:].any(axis=1))
    if len(beyond):
        raise InputError(f"{where}: row {beyond[0]} has ones beyond column {bits}")
    return np.ascontiguousarray(columns[:, :bits])


def _check_rows(features: Part, n: int, labels: str) -> None:
    shape = features.array.shape
    if not shape or shape[0] != n:
        turned = "; it looks transposed" if len(shape) == 2 and shape[1] == n else ""
        raise InputError(
            f"{features.where}: shape is {shape}, but {labels} has {n} rows{turned}; image, text "
            "and labels must have one row a pair, in the same order"
        )


def _check_count(part: str, n: int, descriptor: dict[str, Any], labels: str) -> None:
    name, allowed = descriptor["dataset"], descriptor["counts"][part]
    if n not in allowed:
        of_part = "" if part == "all" else f" {part}"
        raise InputError(
            f"{labels}: {n:,} rows, but {name} has "
            f"{' or '.join(f'{count:,}' for count in allowed)}{of_part} rows; complete the files, "
            f"or set datasets.{name}.strict_counts=false"
        )


def _joined(parts: dict[str, Part]) -> tuple[np.ndarray, str]:
    """Return the parts one after another, checked, and what messages call them."""
    arrays = [checked_features(part) for part in parts.values()]
    names = [part.where for part in parts.values()]
    if len(arrays) == 1:
        return arrays[0], names[0]
    for array, name in zip(arrays, names, strict=True):
        if array.shape[1] != arrays[0].shape[1]:
            raise InputError(
                f"{name}: has {array.shape[1]} columns, but {names[0]} has {arrays[0].shape[1]}"
            )
    return np.concatenate(arrays), f"{' + '.join(names)} (rows counted through)"
