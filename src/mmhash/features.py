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
from mmhash.models.weights import tuned_towers
from mmhash.training.batches import Features


@dataclass(frozen=True)
class Dataset:
    """N images: their memory-mapped ``features`` (with labels), ids, splits and class names.

    ``image_id`` is (N,) int64, ``split`` (N,) holds the names of the splits, ``prototypes``
    (C, D_t) the unit text vector of each class, or None for features without a text tower;
    ``meta`` says where the features are from.
    """

    features: Features
    image_id: np.ndarray
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


def features_for(model: Path, features: Path = Path("features")) -> Path:
    """Return the folder of the vectors that ``model`` takes.

    A model whose towers learnt brings its own: theirs are other vectors than those of the frozen
    towers, which ``extract_features`` has written.
    """
    return features if tuned_towers(model) is None else model / "features"


def load_features(features: Path, data: Path, prototypes: Path | None = None) -> Dataset:
    """Open the outputs of ``extract_features`` beside the tables in ``data``.

    ``prototypes`` is the file that ``encode_classes`` wrote; it holds no row where there is no text
    tower.

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
    classes = read_npy(prototypes) if prototypes is not None else np.empty((0, 0))
    image = read_npy(features / "image.npy", mmap=True)
    text = read_npy(features / "text.npy", mmap=True)
    offset = read_npy(features / "caption_offset.npy")
    if not len(image) == len(image_id) == len(offset) - 1 or offset[-1] != len(text):
        raise InputError(
            f"{features}: {len(image)} images, {len(image_id)} ids, {len(offset) - 1} caption "
            f"offsets and {len(text)} captions do not fit together; run "
            "dvc repro -f extract_features"
        )
    store = Dataset(
        features=Features(image, text, offset, label_matrix(images, categories)[rows]),
        image_id=image_id,
        split=split["split"].to_numpy(zero_copy_only=False)[rows],
        categories=[category["name"] for category in categories],
        prototypes=classes if len(classes) else None,
        meta=read_json(features / "meta.json"),
    )
    for name, count in (
        ("train and restval", len(store.training_rows())),
        ("val", len(store.rows("val"))),
        ("test", len(store.rows("test"))),
    ):
        if count == 0:
            raise InputError(f"{data / 'split.parquet'}: no image in {name}; check the split file")
    return store
