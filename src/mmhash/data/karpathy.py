"""The Karpathy split of COCO 2014: train, restval, val and test.

Karpathy and Fei-Fei, "Deep Visual-Semantic Alignments for Generating Image Descriptions",
CVPR 2015. Val and test are 5,000 images each out of val2014; the 30,504 other images of val2014
are called ``restval`` and belong to the training images: :func:`training_rows` is the one place
that says so.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmhash.data.coco import FOLDERS, read_annotation_json
from mmhash.errors import InputError

SPLITS = ("train", "restval", "val", "test")
TRAINING_SPLITS = ("train", "restval")
COCO2014_COUNTS = {"train": 82_783, "restval": 30_504, "val": 5_000, "test": 5_000}

SPLIT_SCHEMA = pa.schema([("image_id", pa.int64()), ("split", pa.string())])

_FILE_NAMES = ("dataset_coco.json", "karpathy_split.json", "annotations/dataset_coco.json")
_UNREAD = frozenset({"sentences", "sentids", "tokens", "raw"})


def find_split_file(root: Path) -> Path | None:
    """Return the split file below ``root``, or None; the standard name comes first."""
    return next((root / name for name in _FILE_NAMES if (root / name).is_file()), None)


def read_karpathy(path: Path) -> dict[int, tuple[str, str]]:
    """Read a split file: {image id: (split, folder)}.

    Three forms are taken: the standard ``dataset_coco.json`` ({"images": [{"cocoid", "split",
    "filepath", …}]}), {image id: split} and {split: [image ids]}. Only the first names folders
    (restval images lie in val2014, whatever their split's name suggests); elsewhere folder is "".

    Raises :class:`InputError` for a malformed file, an unknown split, or an image named twice.
    """
    content = read_annotation_json(path, _UNREAD)
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: must be a JSON object that names the split of each image")
    if "images" in content:
        named = _standard_entries(content["images"], path)
    elif all(isinstance(value, list) for value in content.values()):
        named = [(image_id, split, "") for split, ids in content.items() for image_id in ids]
    else:
        named = [(_number(key), split, "") for key, split in content.items()]

    splits: dict[int, tuple[str, str]] = {}
    for image_id, split, folder in named:
        if type(image_id) is not int or image_id < 0:
            raise InputError(f"{path}: image id {image_id!r:.60} must be a whole number from 0 on")
        if split not in SPLITS:
            raise InputError(
                f"{path}: image {image_id} has split {split!r:.60}, must be one of "
                f"{', '.join(SPLITS)}"
            )
        if image_id in splits:
            raise InputError(
                f"{path}: image {image_id} stands twice ({splits[image_id][0]} and {split}); "
                "keep one entry"
            )
        splits[image_id] = (split, folder)
    return splits


def split_table(
    images: pa.Table, karpathy: dict[int, tuple[str, str]], strict_counts: bool
) -> pa.Table:
    """Return (image_id, split) with the rows of ``images``: sorted by image id, none left out.

    With ``strict_counts`` the sizes must be those of COCO 2014 (:func:`assert_coco2014_counts`).

    Raises :class:`InputError` where split file and annotations do not name the same images, or
    name different folders for one.
    """
    ids = images["image_id"].to_pylist()
    known = set(ids)
    if strangers := [image_id for image_id in karpathy if image_id not in known]:
        raise InputError(
            f"split file: {len(strangers)} of its {len(karpathy)} images are not in the "
            f"annotations, the first is image {min(strangers)}; complete the annotations (both "
            "train2014 and val2014), or cut the split file down to the annotated images"
        )
    if homeless := [image_id for image_id in ids if image_id not in karpathy]:
        raise InputError(
            f"split file: {len(homeless)} of {len(ids)} annotated images are in no split, the "
            f"first is image {homeless[0]}; take the complete split file, or add them to it"
        )
    for image_id, folder in zip(ids, images["folder"].to_pylist(), strict=True):
        named = karpathy[image_id][1]
        if named and named != folder:
            raise InputError(
                f"split file: image {image_id} lies in {named!r} by its filepath and in "
                f"{folder!r} by the annotations; take both from the same release"
            )
    split = pa.table(
        {"image_id": ids, "split": [karpathy[image_id][0] for image_id in ids]},
        schema=SPLIT_SCHEMA,
    )
    if strict_counts:
        assert_coco2014_counts(split)
    return split


def split_counts(split: pa.Table) -> dict[str, int]:
    """Return the number of images of each split that occurs."""
    return dict(sorted(Counter(split["split"].to_pylist()).items()))


def assert_coco2014_counts(split: pa.Table) -> None:
    """Raise :class:`InputError` unless the split has the sizes of COCO 2014.

    82,783 train + 30,504 restval (together 113,287), 5,000 val, 5,000 test: 123,287 images.
    """
    counts = split_counts(split)
    wrong = [
        f"{name} {counts.get(name, 0):,} (expected {COCO2014_COUNTS.get(name, 0):,})"
        for name in sorted(counts.keys() | COCO2014_COUNTS.keys())
        if counts.get(name, 0) != COCO2014_COUNTS.get(name, 0)
    ]
    if wrong:
        raise InputError(
            f"split file: not the Karpathy split of COCO 2014: {', '.join(wrong)}; complete the "
            "data, or set datasets.coco2014.strict_counts=false for a subset"
        )


def training_rows(split: pa.Table) -> np.ndarray:
    """Return the rows to train on, ascending (n,) int64: train AND restval.

    Leaving restval out loses 30,504 images of COCO; taking it for validation leaks.
    """
    names = split["split"].to_numpy(zero_copy_only=False)
    return np.flatnonzero(np.isin(names, TRAINING_SPLITS))


def _standard_entries(entries: Any, path: Path) -> list[tuple[Any, Any, str]]:
    if not isinstance(entries, list):
        raise InputError(f"{path}: 'images' must be a list, as in the standard dataset_coco.json")
    named = []
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict) or "cocoid" not in entry or "split" not in entry:
            raise InputError(
                f"{path}: images[{position}] lacks 'cocoid' or 'split'; take the file "
                "dataset_coco.json of caption_datasets.zip"
            )
        folder = entry.get("filepath", "")
        if folder and folder not in FOLDERS:
            raise InputError(
                f"{path}: image {entry['cocoid']!r:.60} has filepath {folder!r:.60}, must be "
                f"{' or '.join(FOLDERS)}"
            )
        named.append((entry["cocoid"], entry["split"], folder))
    return named


def _number(key: str) -> int | str:
    return int(key) if key.isascii() and key.isdigit() else key
