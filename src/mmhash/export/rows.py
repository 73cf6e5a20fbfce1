"""What is exported: the database that predictions search, as one table with a row an item."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmhash.collection import Collection
from mmhash.errors import InputError
from mmhash.files import read_json, read_npy, sha256_file
from mmhash.images import images_of
from mmhash.index.kinds import indexed_items, load


@dataclass(frozen=True)
class Rows:
    """What is written: the table of :func:`export_rows`, its categories, where they come from.

    ``origin``: ``index_sha256``, the ``version`` of the collection, and ``captions`` (as
    ``index.captions``).
    """

    table: pa.Table
    categories: list[dict[str, Any]]
    origin: dict[str, Any]

    @property
    def bits(self) -> int:
        """Code length in bits."""
        return 8 * int(self.table.schema.field("code").type.byte_width)


def export_rows(collection: Collection) -> Rows:
    """Return the items of ``collection`` in the order of its index.

    The table: ``item`` int64, the row of the index; ``image_id`` int64; ``caption_number`` int32,
    the caption of the image that the code was made with (-1: the mean of all); ``picture``, folder
    and name of its file ("" without pictures; for one that was added the small copy that the
    collection keeps); ``caption``, that caption (the first where the number is -1, "" for one that
    was added without); ``category_ids``, a list of int32, and ``categories``, their names, in the
    order of the label columns; ``code``, B / 8 bytes as :mod:`mmhash.codes` packs them.

    Raises InputError where files are missing, damaged or do not belong together, and for a model
    without binary codes.
    """
    folder = collection.folder
    file, meta = folder / "index.faiss", read_json(folder / "meta.json")
    if not file.is_file():
        raise InputError(f"{file}: no such file; run build_index")
    sha256 = sha256_file(file)
    if sha256 != meta.get("sha256"):
        raise InputError(
            f"{file}: not the index that {folder / 'meta.json'} describes; damaged or replaced: "
            "run build_index again"
        )
    index = load(file)
    if index.metric != "hamming":
        raise InputError(
            f"{file}: holds real vectors, for this model makes no binary codes, which is what "
            "export writes; train one that does (model.name=full, hash.enabled=true)"
        )
    codes = indexed_items(index)
    image_id, number, labels = (
        read_npy(folder / f"{name}.npy") for name in ("image_id", "caption", "labels")
    )
    size, classes = len(codes), len(collection.categories)
    for name, array, shape in (
        ("image_id", image_id, (size,)),
        ("caption", number, (size,)),
        ("labels", labels, (size, classes)),
    ):
        if array.shape != shape:
            raise InputError(
                f"{folder / name}.npy: has shape {array.shape}, but {size} items are indexed and "
                f"there are {classes} categories; run build_index again"
            )
    images = images_of(collection)
    known = images["image_id"].to_numpy()
    of_item = images.take(pa.array(_places(known, image_id, folder / "image_id.npy")))
    # chunks are joined: list offsets and buffers below are those of one array
    captions = of_item["captions"].combine_chunks()
    ids = pa.array([category["id"] for category in collection.categories], pa.int32())
    names = pa.array([category["name"] for category in collection.categories], pa.string())
    owner, column = np.nonzero(labels)
    starts = pa.array(np.searchsorted(owner, np.arange(size + 1)).astype(np.int32))
    table = pa.table(
        {
            "item": pa.array(np.arange(size, dtype=np.int64)),
            "image_id": pa.array(image_id.astype(np.int64)),
            "caption_number": pa.array(number.astype(np.int32)),
            "picture": _paths(of_item),
            "caption": _chosen(captions, np.maximum(number, 0), image_id),
            "category_ids": pa.ListArray.from_arrays(starts, ids.take(pa.array(column))),
            "categories": pa.ListArray.from_arrays(starts, names.take(pa.array(column))),
            "code": pa.Array.from_buffers(
                pa.binary(codes.shape[1]), size, [None, pa.py_buffer(codes.tobytes())]
            ),
        }
    )
    origin = {
        "index_sha256": sha256,
        "version": collection.version,
        "captions": meta.get("captions"),
    }
    return Rows(table, collection.categories, origin)


def _places(known: np.ndarray, image_id: np.ndarray, file: Path) -> np.ndarray:
    """Return where each of ``image_id`` stands in ``known``; InputError for one that does not."""
    order = np.argsort(known, kind="stable")
    place = np.minimum(np.searchsorted(known, image_id, sorter=order), max(len(known) - 1, 0))
    row = order[place] if len(known) else place
    strange = np.flatnonzero(known[row] != image_id) if len(known) else np.arange(len(row))
    if len(strange):
        raise InputError(
            f"{file}: item {strange[0]} is of image {image_id[strange[0]]}, which "
            "data/images.parquet lacks; run dvc repro build_index"
        )
    return row


def _paths(images: pa.Table) -> pa.Array:
    """Return folder/file_name of each row, "" where there is no picture."""
    folder, name = images["folder"], images["file_name"]
    joined = pc.if_else(pc.equal(folder, ""), name, pc.binary_join_element_wise(folder, name, "/"))
    return pc.if_else(pc.equal(name, ""), "", joined).combine_chunks()


def _chosen(captions: pa.ListArray, number: np.ndarray, image_id: np.ndarray) -> pa.Array:
    """Return caption ``number`` of each row; InputError where an image has fewer."""
    short = np.flatnonzero(captions.value_lengths().to_numpy() <= number)
    if len(short):
        raise InputError(
            f"image {image_id[short[0]]} has no caption {number[short[0]]}, with which its code "
            "was made; run dvc repro"
        )
    return captions.values.take(pa.array(captions.offsets.to_numpy()[:-1] + number))
