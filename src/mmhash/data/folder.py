"""Features that the user brings: a folder of arrays instead of pictures and captions.

``image.npy`` (N, D_i) and ``text.npy``, float16 or float32: (N, D_t) one caption an image,
(N, T, D_t) T captions an image, or (ΣT, D_t) ragged with ``caption_offset.npy`` (N+1,) int64;
``labels.npy`` (N, C) uint8; ``image_id.npy`` (N,) int64; ``split.npy`` (N,) uint8 with 0 train,
1 restval, 2 val, 3 test (the queries), 4 database only; ``categories.json`` with C names.

Arrays are memory-mapped and gone through in blocks, so memory stays flat as N grows. Rows may come
in any order; everything made from them is in the order of image ids.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmhash.data.coco import IMAGES_SCHEMA
from mmhash.data.karpathy import SPLIT_SCHEMA, training_rows
from mmhash.data.row_blocks import copy_rows, row_blocks
from mmhash.errors import InputError
from mmhash.files import read_json, read_npy, write_json, write_npy
from mmhash.seeding import numpy_stream

FEATURE_FILES = (
    "image.npy",
    "text.npy",
    "labels.npy",
    "image_id.npy",
    "split.npy",
    "categories.json",
)
OFFSET_FILE = "caption_offset.npy"
SPLIT_NAMES = ("train", "restval", "val", "test", "database")  # by the number in split.npy

_FLOATS = (np.dtype(np.float16), np.dtype(np.float32))


@dataclass(frozen=True)
class FeatureFolder:
    """A checked folder. ``image`` (N, D_i), ``text`` (ΣT, D_t) and ``text_offset`` (N+1,) stand in
    the order of the files; ``images``, ``split`` and ``caption_offset`` (M+1,) in the order of
    image ids, of which row i is the files' row ``order[i]``; rows that ``order`` (M,) does not name
    are left out. ``names`` has what messages call image.npy and text.npy.
    """

    root: Path
    image: np.ndarray
    text: np.ndarray
    text_offset: np.ndarray
    order: np.ndarray
    images: pa.Table
    categories: list[dict[str, Any]]
    split: pa.Table
    caption_offset: np.ndarray
    names: dict[str, str]


def read_feature_folder(root: Path) -> FeatureFolder:
    """Read and check the feature folder ``root``.

    The split is that of ``split.npy``, with or without validation rows (:func:`set_val_aside`). In
    the images table the captions are empty texts, as many an image as there are vectors, and width
    and height are 0.

    Raises :class:`InputError` naming file, row and mend for a missing file, a wrong shape, type or
    value, NaN or infinity, an image id that stands twice, or a split without train or test.
    """
    require_feature_files(root)
    image_id = _array(root, "image_id.npy", (np.dtype(np.int64),), 1, "(N,)")
    n = len(image_id)
    if n == 0:
        raise InputError(f"{root / 'image_id.npy'}: has no rows; save at least a few images")
    order = np.argsort(image_id, kind="stable")
    _check_unique(image_id, order, root)

    image = _array(root, "image.npy", _FLOATS, 2, "(N, D)")
    _check_rows(image, n, root / "image.npy")
    text, text_offset = _read_text(root, n)
    for features, name in ((image, "image.npy"), (text, "text.npy")):
        _check_features(features, root / name)

    categories = _read_categories(root)
    return assemble(
        root=root,
        image=image,
        text=text,
        text_offset=text_offset,
        image_id=image_id,
        order=order,
        positives=_read_labels(root, n, len(categories)),
        categories=categories,
        split=_read_split(root, n),
        names={name: f"{name} of the feature folder" for name in ("image.npy", "text.npy")},
    )


def assemble(
    *,
    root: Path,
    image: np.ndarray,
    text: np.ndarray,
    text_offset: np.ndarray,
    image_id: np.ndarray,
    order: np.ndarray,
    positives: tuple[np.ndarray, ...],
    categories: list[dict[str, Any]],
    split: np.ndarray,
    names: dict[str, str],
) -> FeatureFolder:
    """Return the folder of arrays that have been checked.

    ``image_id``, ``split`` (N,) (numbers of :data:`SPLIT_NAMES`) and ``positives``, the row and the
    column of every positive label in row order, stand in the order of the files like the features.
    """
    counts = np.diff(text_offset)[order]
    caption_offset = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    ids = np.array([category["id"] for category in categories], dtype=np.int32)
    category_rows, category_columns = positives
    category_offset = np.searchsorted(category_rows, np.arange(len(image_id) + 1))
    column_rows, gathered_offset = _gather(category_offset, order)
    m = len(order)
    images = pa.table(
        {
            "image_id": image_id[order],
            "folder": pa.repeat("", m),
            "file_name": pa.repeat("", m),
            "width": np.zeros(m, dtype=np.int32),
            "height": np.zeros(m, dtype=np.int32),
            "captions": pa.ListArray.from_arrays(
                caption_offset.astype(np.int32), pa.repeat("", int(caption_offset[-1]))
            ),
            "category_ids": pa.ListArray.from_arrays(
                gathered_offset.astype(np.int32), ids[category_columns[column_rows]]
            ),
        },
        schema=IMAGES_SCHEMA,
    )
    split_names = np.array(SPLIT_NAMES, dtype=object)[split[order]]
    return FeatureFolder(
        root=root,
        image=image,
        text=text,
        text_offset=text_offset,
        order=order,
        images=images,
        categories=categories,
        split=pa.table({"image_id": image_id[order], "split": split_names}, schema=SPLIT_SCHEMA),
        caption_offset=caption_offset,
        names=names,
    )


def require_feature_files(root: Path) -> None:
    """Raise :class:`InputError` unless the folder and every file of it that must exist does."""
    if not root.is_dir():
        raise InputError(
            f"{root}: no such folder; set datasets.features.root to the one that holds "
            f"{', '.join(FEATURE_FILES)}"
        )
    missing = [name for name in FEATURE_FILES if not (root / name).is_file()]
    if missing:
        raise InputError(
            f"{root}: {', '.join(missing)} not there; the folder must hold "
            f"{', '.join(FEATURE_FILES)} (and {OFFSET_FILE} for ragged captions), "
            "or set datasets.features.root to the folder that does"
        )


def set_val_aside(split: pa.Table, seed: int) -> pa.Table:
    """Return ``split`` (image_id, split) with a tenth of its training rows as ``val``.

    A split that has val rows is returned as it is. The tenth is drawn by ``seed`` among the image
    ids, so that the order of the rows in the files does not matter.

    Raises :class:`InputError` where there is only one training row.
    """
    names = split["split"].to_numpy(zero_copy_only=False)
    if (names == "val").any():
        return split
    training = training_rows(split)
    if len(training) < 2:
        raise InputError(
            f"split.npy: no val row (2) and only {len(training)} train row to take one from; "
            "add val rows or more train rows"
        )
    count = max(1, round(len(training) / 10))
    chosen = numpy_stream(seed, "features", "val").choice(training, count, replace=False)
    names = names.copy()
    names[chosen] = "val"
    return pa.table({"image_id": split["image_id"], "split": names}, schema=SPLIT_SCHEMA)


def copy_features(folder: FeatureFolder, out: Path, dtype: str) -> dict[str, Any]:
    """Write the features to ``out`` in the order of image ids and return what ``meta.json`` says.

    Writes image.npy, text.npy (both ``dtype``: float16 or float32), caption_offset.npy,
    image_id.npy and meta.json. Vectors are copied block by block and not normalised.

    Raises :class:`InputError` where a float32 value is too large for float16.
    """
    kind = np.dtype(dtype)
    text_rows, caption_offset = _gather(folder.text_offset, folder.order)
    for name, source, rows in (
        ("image.npy", folder.image, folder.order),
        ("text.npy", folder.text, text_rows),
    ):
        copy_rows(source, rows, out / name, kind, folder.names[name])
    write_npy(out / OFFSET_FILE, caption_offset)
    write_npy(out / "image_id.npy", folder.images["image_id"].to_numpy())
    image_width, text_width = folder.image.shape[1], folder.text.shape[1]
    meta = {
        "checkpoint": None,
        "revision": None,
        "model_type": "features",
        "device": None,
        "precision": None,
        "dtype": kind.name,
        "width": image_width if image_width == text_width else None,
        "image_width": image_width,
        "text_width": text_width,
        "max_num_patches": None,
        "token_length": None,
        "versions": {},
        "normalised": None,
        "skipped": [],
    }
    write_json(out / "meta.json", meta)
    return meta


def _array(
    root: Path, name: str, dtypes: tuple[np.dtype, ...], dimensions: int, shape: str
) -> np.ndarray:
    path = root / name
    array = read_npy(path, mmap=True)
    if array.ndim != dimensions:
        raise InputError(f"{path}: shape is {array.shape}, must be {shape}; reshape and save again")
    if array.dtype not in dtypes:
        raise InputError(
            f"{path}: type is {array.dtype}, must be {' or '.join(map(str, dtypes))}; "
            f"save it with .astype({dtypes[-1].name!r})"
        )
    if not array.flags.c_contiguous:
        raise InputError(f"{path}: is in Fortran order; save it with numpy.ascontiguousarray")
    return array


def _check_rows(array: np.ndarray, n: int, path: Path) -> None:
    if len(array) != n:
        raise InputError(
            f"{path}: has {len(array)} rows, but image_id.npy has {n}; save one row an image"
        )


def _check_unique(image_id: np.ndarray, order: np.ndarray, root: Path) -> None:
    twice = np.flatnonzero(np.diff(image_id[order]) == 0)
    if len(twice):
        first, second = order[twice[0]], order[twice[0] + 1]
        raise InputError(
            f"{root / 'image_id.npy'}: rows {first} and {second} both have id {image_id[first]}; "
            "give each image its own"
        )


def _check_features(features: np.ndarray, path: Path) -> None:
    if 0 in features.shape:
        raise InputError(f"{path}: shape is {features.shape}; save vectors of at least one number")
    constant = len(features) > 1
    for start, block in row_blocks(features):
        constant = constant and bool((block == features[:1]).all())
        bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
        if len(bad):
            raise InputError(
                f"{path}: row {start + bad[0]} holds NaN or infinity (rows counted over all "
                "captions in text.npy); compute that vector again, or leave the image out"
            )
    if constant:
        raise InputError(f"{path}: all {len(features)} rows are equal; it holds no features")


def _read_text(root: Path, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return text as (ΣT, D) and the captions' offsets (N+1,), both in the files' order."""
    path = root / "text.npy"
    text = read_npy(path, mmap=True)
    ragged = (root / OFFSET_FILE).is_file()
    dimensions = 3 if text.ndim == 3 and not ragged else 2
    shape = f"(ΣT, D) beside {OFFSET_FILE}" if ragged else "(N, D) or (N, T, D)"
    text = _array(root, "text.npy", _FLOATS, dimensions, shape)
    if not ragged:
        if len(text) != n:
            raise InputError(
                f"{path}: has {len(text)} rows, but image_id.npy has {n}; save one row an image, "
                f"or add {OFFSET_FILE} for ragged captions"
            )
        captions = text.shape[1] if text.ndim == 3 else 1
        return text.reshape(n * captions, text.shape[-1]), np.arange(n + 1) * captions

    where = root / OFFSET_FILE
    offset = np.array(_array(root, OFFSET_FILE, (np.dtype(np.int64),), 1, "(N+1,)"))
    if len(offset) != n + 1:
        raise InputError(f"{where}: has {len(offset)} numbers, must have N + 1 = {n + 1}")
    if offset[0] != 0 or offset[-1] != len(text):
        raise InputError(
            f"{where}: runs from {offset[0]} to {offset[-1]}, must run from 0 to the "
            f"{len(text)} rows of text.npy"
        )
    falling = np.flatnonzero(np.diff(offset) < 1)
    if len(falling):
        raise InputError(
            f"{where}: row {falling[0]} has no caption ({offset[falling[0]]} to "
            f"{offset[falling[0] + 1]}); give each image at least one, or leave it out"
        )
    return text, offset


def _read_categories(root: Path) -> list[dict[str, Any]]:
    path = root / "categories.json"
    names = read_json(path)
    if not isinstance(names, list) or not names:
        raise InputError(f"{path}: must be a list of class names, one a column of labels.npy")
    for position, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"{path}: entry {position} is {name!r:.60}, must be a name")
        if name in names[:position]:
            raise InputError(f"{path}: {name!r} stands twice; give each class its own name")
    return [{"id": number, "name": name} for number, name in enumerate(names, start=1)]


def _read_labels(root: Path, n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the row and the column of every positive, in row order."""
    path = root / "labels.npy"
    labels = _array(root, "labels.npy", (np.dtype(np.uint8),), 2, "(N, C)")
    _check_rows(labels, n, path)
    if labels.shape[1] != classes:
        raise InputError(
            f"{path}: has {labels.shape[1]} columns, but categories.json has {classes} names"
        )
    rows, columns = [], []
    for start, block in row_blocks(labels):
        bad = np.flatnonzero((block > 1).any(axis=1))
        if len(bad):
            raise InputError(
                f"{path}: row {start + bad[0]} holds {block[bad[0]].max()}, must be 0 or 1"
            )
        row, column = np.nonzero(block)
        rows.append(row + start)
        columns.append(column)
    if not any(len(row) for row in rows):
        raise InputError(f"{path}: no image has a label; without labels there is nothing to learn")
    return np.concatenate(rows), np.concatenate(columns)


def _read_split(root: Path, n: int) -> np.ndarray:
    path = root / "split.npy"
    split = np.array(_array(root, "split.npy", (np.dtype(np.uint8),), 1, "(N,)"))
    _check_rows(split, n, path)
    meaning = ", ".join(f"{number} {name}" for number, name in enumerate(SPLIT_NAMES))
    bad = np.flatnonzero(split >= len(SPLIT_NAMES))
    if len(bad):
        raise InputError(f"{path}: row {bad[0]} is {split[bad[0]]}, must be one of {meaning}")
    if not (split <= 1).any() or not (split == SPLIT_NAMES.index("test")).any():
        raise InputError(
            f"{path}: needs at least one train or restval row and one test row ({meaning})"
        )
    return split


def _gather(offset: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that bring the groups of ``offset`` into ``order``, and their new offsets."""
    counts = np.diff(offset)[order]
    new = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    rows = np.arange(new[-1]) + np.repeat(offset[:-1][order] - new[:-1], counts)
    return rows, new
