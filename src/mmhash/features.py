"""Features, labels and split of a dataset side by side: the one place where rows are aligned.

Extraction may leave out unreadable pictures, so the rows of ``features/`` are a subset of the
images table; everything that follows takes its labels and its split from here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmhash.data.coco import label_matrix
from mmhash.data.karpathy import training_rows
from mmhash.errors import InputError
from mmhash.files import read_json, read_npy, read_table


@dataclass(frozen=True)
class FeatureStore:
    """N images with ragged captions; caption t of image i is text row ``caption_offset[i] + t``.

    ``image`` (N, D_i) and ``text`` (ΣT, D_t) are memory-mapped, float16 or float32. ``labels`` is
    (N, C) uint8, ``split`` (N,) holds the names of the splits, ``prototypes`` (C, D_t) the unit
    text vector of each class, or None for features that came without a text tower.
    """

    image: np.ndarray
    text: np.ndarray
    caption_offset: np.ndarray
    image_id: np.ndarray
    labels: np.ndarray
    split: np.ndarray
    categories: list[str]
    prototypes: np.ndarray | None
    meta: dict[str, Any]

    def rows(self, *splits: str) -> np.ndarray:
        """Return the rows of the named splits, ascending, (n,) int64."""
        return np.flatnonzero(np.isin(self.split, splits))

    def training_rows(self) -> np.ndarray:
        """Return the rows of train and restval, ascending, (n,) int64."""
        return training_rows(pa.table({"split": self.split}))

    def database_rows(self) -> np.ndarray:
        """Return the rows that are searched: train, restval and database-only rows, ascending."""
        return np.union1d(self.training_rows(), self.rows("database"))


def load_features(features: Path, data: Path) -> FeatureStore:
    """Open the outputs of ``extract_features`` beside the tables in ``data``.

    Raises :class:`InputError` where a feature row has no image, where array lengths disagree, or
    where train, val or test is empty.
    """
    images = read_table(data / "images.parquet")
    split = read_table(data / "split.parquet")
    categories = read_json(data / "categories.json")
    image_id = read_npy(features / "image_id.npy")
    known = images["image_id"].to_numpy()
    rows = np.searchsorted(known, image_id)
    if len(image_id) and not np.array_equal(known[np.minimum(rows, len(known) - 1)], image_id):
        raise InputError(
            f"{features / 'image_id.npy'}: names images that {data / 'images.parquet'} lacks; "
            "run dvc repro to extract the features again"
        )
    prototypes = features / "prototypes.npy"
    store = FeatureStore(
        image=read_npy(features / "image.npy", mmap=True),
        text=read_npy(features / "text.npy", mmap=True),
        caption_offset=read_npy(features / "caption_offset.npy"),
        image_id=image_id,
        labels=label_matrix(images, categories)[rows],
        split=split["split"].to_numpy(zero_copy_only=False)[rows],
        categories=[category["name"] for category in categories],
        prototypes=read_npy(prototypes) if prototypes.is_file() else None,
        meta=read_json(features / "meta.json"),
    )
    if not (
        len(store.image) == len(image_id) == len(store.caption_offset) - 1
        and store.caption_offset[-1] == len(store.text)
    ):
        raise InputError(
            f"{features}: {len(store.image)} images, {len(image_id)} ids, "
            f"{len(store.caption_offset) - 1} caption offsets and {len(store.text)} captions do "
            "not fit together; run dvc repro -f extract_features"
        )
    for name, count in (
        ("train and restval", len(store.training_rows())),
        ("val", len(store.rows("val"))),
        ("test", len(store.rows("test"))),
    ):
        if count == 0:
            raise InputError(f"{data / 'split.parquet'}: no image in {name}; check the split file")
    return store
