"""The database that a prediction searches, with what there is to say of each of its items."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmhash.data.coco import image_path
from mmhash.errors import InputError
from mmhash.files import read_json, read_npy, read_table
from mmhash.index.neighbours import Neighbours
from mmhash.params import Params
from mmhash.prediction import Voter
from mmhash.retriever import Retriever, open_retriever


@dataclass(frozen=True)
class Database:
    """A retriever, the names of the categories that its labels are in, and its images.

    ``caption_number`` (M,) int32 says which caption an item was indexed with, -1 for the mean of
    all. ``images`` is the table of images with image_id (ascending), folder, file_name and
    captions; ``pictures`` the root of their files.
    """

    retriever: Retriever
    categories: list[str]
    caption_number: np.ndarray
    images: pa.Table
    pictures: Path

    @cached_property
    def _image_ids(self) -> np.ndarray:
        return self.images["image_id"].to_numpy()

    def voters(self, found: Neighbours, weights: np.ndarray) -> list[list[Voter]]:
        """Return the first ``k`` voters of each query of ``found``, nearest first.

        ``weights`` belong to the entries of ``found``. Tied items beyond the first ``k`` vote too
        where ``knn.ties`` is expected, so that shares need not add up to 1.
        """
        k = self.retriever.k
        rows = [
            found.rows[start : min(start + k, stop)]
            for start, stop in zip(found.lims[:-1], found.lims[1:], strict=True)
        ]
        unique = np.unique(np.concatenate(rows))
        about = dict(zip(unique.tolist(), self._described(unique), strict=True))
        lists = []
        for start, near in zip(found.lims[:-1], rows, strict=True):
            distances = found.distances[start : start + len(near)]
            shares = weights[start : start + len(near)]
            lists.append(
                [
                    Voter(image_id, float(distance), float(share), caption, list(names), picture)
                    for (image_id, caption, names, picture), distance, share in zip(
                        (about[row] for row in near.tolist()), distances, shares, strict=True
                    )
                    if share > 0
                ]
            )
        return lists

    def _described(self, rows: np.ndarray) -> list[tuple[int, str, list[str], Path | None]]:
        """Return image id, caption, names of the labels and picture file of each row."""
        ids = self.retriever.image_id[rows]
        place = np.minimum(np.searchsorted(self._image_ids, ids), len(self._image_ids) - 1)
        if not np.array_equal(self._image_ids[place], ids):
            raise InputError(
                "the index names images that data/images.parquet lacks; run dvc repro build_index"
            )
        table = self.images.take(pa.array(place)).to_pylist()
        found = []
        for image, row, image_id in zip(table, rows.tolist(), ids.tolist(), strict=True):
            number = max(int(self.caption_number[row]), 0)
            caption = image["captions"][number] if number < len(image["captions"]) else ""
            names = [self.categories[c] for c in np.flatnonzero(self.retriever.labels[row])]
            path = None
            if image["file_name"]:
                path = image_path(self.pictures, image["folder"], image["file_name"])
                path = path if path.is_file() else None
            found.append((image_id, caption, names, path))
        return found


def open_database(root: Path, params: Params, device: str = "cpu") -> Database:
    """Open what ``build_index`` wrote below the checkout ``root``.

    This function alone decides which database predictions search. Raises :class:`InputError`
    naming the file that is missing or does not fit the others.
    """
    folder = root / "index"
    retriever = open_retriever(params.knn, folder, device)
    categories = [entry["name"] for entry in read_json(root / "data" / "categories.json")]
    numbers = read_npy(folder / "caption.npy")
    if retriever.labels.shape[1] != len(categories) or len(numbers) != len(retriever.labels):
        raise InputError(
            f"{folder}: {retriever.labels.shape[1]} label columns and {len(numbers)} caption "
            f"numbers do not fit {len(categories)} categories and {len(retriever.labels)} items; "
            "run dvc repro build_index"
        )
    images = read_table(root / "data" / "images.parquet")
    return Database(
        retriever=retriever,
        categories=categories,
        caption_number=numbers,
        images=images.select(["image_id", "folder", "file_name", "captions"]),
        pictures=root / params.dataset.root,
    )
