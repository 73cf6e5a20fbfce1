"""The database that a prediction searches, with what there is to say of each of its items."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmhash.added_categories import added_scores, usual_share
from mmhash.collection import BUILT, open_collection
from mmhash.data.coco import image_path
from mmhash.errors import InputError
from mmhash.files import read_npy
from mmhash.images import images_of
from mmhash.index.neighbours import Neighbours
from mmhash.params import Params
from mmhash.prediction import Item, Voters
from mmhash.retriever import Retriever, open_retriever


@dataclass(frozen=True)
class Database:
    """A retriever, the names of the categories that its labels are in, and its images.

    The first ``built_categories`` are those that the model was trained with. ``version`` 0 is
    ``index/`` as built, on which ``evaluate`` measured; any other is what a user made of it.

    ``caption_number`` (M,) int32 says which caption an item was indexed with, -1 for the mean of
    all. ``images`` is the table of images with image_id (ascending), folder, file_name and
    captions; ``pictures`` the root of their files. ``added`` says where small copies lie of those
    that the user added, by image id.
    """

    retriever: Retriever
    categories: list[str]
    built_categories: int
    caption_number: np.ndarray
    images: pa.Table
    pictures: Path
    added: Mapping[int, Path] = field(default_factory=dict)
    version: int = BUILT
    _about: dict[int, Item] = field(default_factory=dict, repr=False)

    @property
    def added_categories(self) -> list[str]:
        """The names of the categories that the model was not trained with."""
        return self.categories[self.built_categories :]

    @cached_property
    def _usual_share(self) -> float:
        return usual_share(self.retriever.labels, self.built_categories)

    def scores(
        self, found: Neighbours, votes: np.ndarray, queries: np.ndarray, soft: np.ndarray | None
    ) -> np.ndarray:
        """Return the scores (n, C): the ``votes``, but for added categories.

        Those are scored as :mod:`mmhash.added_categories` says. ``found`` are the neighbours of
        ``queries`` and their ``soft`` codes.
        """
        built = self.built_categories
        if built == len(self.categories):
            return votes
        scored = added_scores(self.retriever, built, self._usual_share, found, queries, soft)
        return np.concatenate([votes[:, :built], scored], axis=1)

    @cached_property
    def _image_ids(self) -> np.ndarray:
        return self.images["image_id"].to_numpy()

    def voters(self, found: Neighbours, weights: np.ndarray) -> list[Voters]:
        """Return the first ``k`` voters of each query of ``found``, nearest first.

        ``weights`` belong to the entries of ``found``. Tied items beyond the first ``k`` vote too
        where ``knn.ties`` is expected, so that shares need not add up to 1.
        """
        k = self.retriever.k
        near = [
            start + np.flatnonzero(weights[start : min(start + k, stop)] > 0)
            for start, stop in zip(found.lims[:-1], found.lims[1:], strict=True)
        ]
        self._describe(np.unique(found.rows[np.concatenate(near)]))
        return [
            Voters(
                [self._about[row] for row in found.rows[entries].tolist()],
                found.distances[entries],
                weights[entries],
            )
            for entries in near
        ]

    def _describe(self, rows: np.ndarray) -> None:
        """Look up image id, caption, names of the labels and picture file of rows not yet known."""
        rows = np.array([row for row in rows.tolist() if row not in self._about], dtype=np.int64)
        ids = self.retriever.image_id[rows]
        place = np.minimum(np.searchsorted(self._image_ids, ids), len(self._image_ids) - 1)
        if not np.array_equal(self._image_ids[place], ids):
            raise InputError(
                "the index names images that data/images.parquet lacks; run dvc repro build_index"
            )
        table = self.images.take(pa.array(place)).to_pylist()
        for image, row, image_id in zip(table, rows.tolist(), ids.tolist(), strict=True):
            number = max(int(self.caption_number[row]), 0)
            caption = image["captions"][number] if number < len(image["captions"]) else ""
            names = tuple(self.categories[c] for c in np.flatnonzero(self.retriever.labels[row]))
            path = self.added.get(image_id)
            if path is None and image["file_name"]:
                path = image_path(self.pictures, image["folder"], image["file_name"])
                path = path if path.is_file() else None
            self._about[row] = Item(image_id, caption, names, path)


def open_database(root: Path, params: Params, device: str = "cpu") -> Database:
    """Open the database of the checkout ``root``: ``index/``, or what a user has made of it.

    This function alone decides which database predictions search. Raises :class:`InputError`
    naming the file that is missing or does not fit the others, and where a user's changes belong to
    another training (:func:`mmhash.collection.open_collection`).
    """
    collection = open_collection(root)
    folder = collection.folder
    retriever = open_retriever(params.knn, folder, device)
    categories = [entry["name"] for entry in collection.categories]
    numbers = read_npy(folder / "caption.npy")
    if retriever.labels.shape[1] != len(categories) or len(numbers) != len(retriever.labels):
        raise InputError(
            f"{folder}: {retriever.labels.shape[1]} label columns and {len(numbers)} caption "
            f"numbers do not fit {len(categories)} categories and {len(retriever.labels)} items; "
            "run dvc repro build_index"
        )
    return Database(
        retriever=retriever,
        categories=categories,
        built_categories=collection.built_categories,
        caption_number=numbers,
        images=images_of(collection).sort_by("image_id"),
        pictures=root / params.dataset.root,
        added={
            item["image_id"]: collection.picture(item["sha256"])
            for item in collection.items.to_pylist()
        },
        version=collection.version,
    )
