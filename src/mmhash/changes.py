"""What a change makes of a database: arrays in, a new version out (:mod:`mmhash.collection`).

The index is built anew for every version, so that it is the one that the kind would have been over
these items from the start: ``flat`` and ``multihash`` take a copy of the codes, ``ivf`` trains its
cells, ``hnsw`` links every item again (how long each takes: ``benchmarks/index.py``). Building is
deterministic: adding and removing the same again gives the same bytes.

All functions that return a :class:`Collection` make a version, within ``changing(root)``.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmhash.collection import ITEMS, Collection, commit, read_state
from mmhash.errors import InputError
from mmhash.files import (
    read_npy,
    read_table,
    require_space,
    sha256_file,
    write_json,
    write_npy,
)
from mmhash.index.kinds import build, indexed_items, save
from mmhash.retriever import read_index

LARGEST_ID = 2**63 - 1


@dataclass(frozen=True)
class Contents:
    """The M items of a database: rows of the index and of the arrays beside it.

    ``items``: packed codes (M, B / 8) uint8, or vectors (M, D) float32 of a model without hash
    layer, which has no ``soft`` (M, B) float16. ``labels`` (M, C) uint8, ``image_id`` (M,) int64,
    ``caption`` (M,) int32: the number of the item's caption, −1: the mean of all. ``meta`` is
    ``meta.json``.
    """

    items: np.ndarray
    soft: np.ndarray | None
    labels: np.ndarray
    image_id: np.ndarray
    caption: np.ndarray
    meta: dict[str, Any]

    def rows(self, chosen: np.ndarray) -> "Contents":
        """Return the items ``chosen``, a mask (M,) or row numbers."""
        return Contents(
            self.items[chosen],
            None if self.soft is None else self.soft[chosen],
            self.labels[chosen],
            self.image_id[chosen],
            self.caption[chosen],
            self.meta,
        )


def read_contents(folder: Path) -> Contents:
    """Read a database in the layout of ``index/``; InputError where files do not fit together."""
    index, meta, arrays = read_index(folder, ("labels", "image_id", "caption"))
    return Contents(
        items=np.array(indexed_items(index)),  # a copy, which outlives the index
        soft=arrays.get("soft"),
        labels=arrays["labels"],
        image_id=arrays["image_id"],
        caption=arrays["caption"],
        meta=meta,
    )


def write_contents(folder: Path, contents: Contents) -> None:
    """Index the items as ``meta`` says and write them in the layout of ``index/``."""
    index = build(contents.items, contents.meta["kind"])
    save(index, folder / "index.faiss")
    for name in ("soft", "image_id", "caption", "labels"):
        values = getattr(contents, name)
        if values is not None:
            write_npy(folder / f"{name}.npy", values)
    checksum = sha256_file(folder / "index.faiss")
    write_json(folder / "meta.json", {**contents.meta, "items": index.size, "sha256": checksum})


def new_image_ids(collection: Collection, n: int) -> np.ndarray:
    """Return ``n`` image ids (n,) int64 that no image of the data set and no addition ever had."""
    known = [
        read_npy(collection.folder / "image_id.npy"),
        read_npy(collection.root / "index" / "image_id.npy"),
        read_table(collection.root / "data" / "images.parquet")["image_id"].to_numpy(),
    ]
    first = max([read_state(collection.root).next_image_id, *(int(ids.max()) + 1 for ids in known)])
    if first + n > LARGEST_ID:
        raise InputError(
            f"no image id is left: the largest, {first - 1}, is the largest number that fits; "
            "number the images of the data set from 0"
        )
    return np.arange(first, first + n, dtype=np.int64)


def added_table(
    image_id: np.ndarray,
    path: list[str],
    sha256: list[str],
    caption: list[str | None],
    labels: list[list[str]],
) -> pa.Table:
    """Return n additions as :data:`mmhash.collection.ITEMS` has them."""
    columns = {
        "image_id": image_id,
        "path": path,
        "sha256": sha256,
        "caption": caption,
        "labels": labels,
    }
    return pa.table(columns, schema=ITEMS)


def label_columns(names: list[list[str]], categories: list[dict[str, Any]]) -> np.ndarray:
    """Return labels (n, C) uint8 from the category names of each item; all must be known."""
    column = {category["name"]: place for place, category in enumerate(categories)}
    labels = np.zeros((len(names), len(categories)), dtype=np.uint8)
    for row, found in enumerate(names):
        labels[row, [column[name] for name in found]] = 1
    return labels


def extend(
    collection: Collection,
    queries: np.ndarray,
    soft: np.ndarray | None,
    items: pa.Table,
    new_categories: list[str] | None = None,
) -> Collection:
    """Add n items and ``new_categories``; each of those becomes a column of labels, after the rest.

    ``queries`` are packed codes (n, B / 8) uint8 or, without a hash layer, vectors (n, D); ``soft``
    (n, B) the soft codes that they are the signs of. ``items`` (:data:`ITEMS`) says what they are;
    their labels are names of categories that exist or are new. Raises InputError where codes have
    another length than those of the index.
    """
    old = read_contents(collection.folder)
    categories = [*collection.categories, *_numbered(collection.categories, new_categories or [])]
    contents = _joined(old, queries, soft, items, categories)
    pictures = "picture" if len(items) == 1 else "pictures"
    did = f"added {len(items)} {pictures}"
    if new_categories:
        did += f" and {'category' if len(new_categories) == 1 else 'categories'} "
        did += ", ".join(new_categories)
    together = pa.concat_tables([collection.items, items])
    return _commit(collection, contents, did, categories=categories, items=together)


def remove(collection: Collection, image_ids: list[int], least: int) -> Collection:
    """Take images out, added ones or those of ``index/``, with every item that an image has.

    Raises InputError for an id that is not there, and where fewer than ``least`` items (``knn.k``)
    would be left.
    """
    contents = read_contents(collection.folder)
    strangers = sorted(set(image_ids) - set(contents.image_id.tolist()))
    if strangers:
        named = ", ".join(str(stranger) for stranger in strangers[:5])
        more = f" and {len(strangers) - 5} more" if len(strangers) > 5 else ""
        raise InputError(
            f"no image {named}{more} in the database; mmhash index info lists what was added"
        )
    wanted = np.unique(np.array(image_ids, dtype=np.int64))
    stays = ~np.isin(contents.image_id, wanted)
    if stays.sum() < least:
        raise InputError(
            f"{int(stays.sum())} items would be left, and knn.k = {least} neighbours vote; remove "
            "fewer, or lower knn.k"
        )
    built = np.setdiff1d(wanted, collection.items["image_id"].to_numpy()).tolist()
    kept = collection.items.filter(~np.isin(collection.items["image_id"].to_numpy(), wanted))
    return _commit(
        collection,
        contents.rows(stays),
        f"removed {len(wanted)} {'image' if len(wanted) == 1 else 'images'}",
        items=kept,
        removed=sorted([*collection.removed, *built]),
    )


def drop_category(collection: Collection, name: str) -> Collection:
    """Take a category that was added out of the database; its pictures stay, with other labels.

    ``name`` must be one of ``collection.categories``. Raises InputError for a category that the
    model was trained with, whose column is an output of the classifier.
    """
    place = [category["name"] for category in collection.categories].index(name)
    if place < collection.built_categories:
        raise InputError(
            f"category {name!r} is one that the model was trained with; only added ones can be "
            "taken out"
        )
    contents = read_contents(collection.folder)
    contents = replace(contents, labels=np.delete(contents.labels, place, axis=1))
    labels = [
        [label for label in found if label != name]
        for found in collection.items["labels"].to_pylist()
    ]
    items = collection.items.set_column(
        ITEMS.get_field_index("labels"),
        ITEMS.field("labels"),
        pa.array(labels, ITEMS.field("labels").type),
    )
    categories = [*collection.categories[:place], *collection.categories[place + 1 :]]
    return _commit(
        collection, contents, f"dropped category {name}", categories=categories, items=items
    )


def rebuild(
    stale: Collection, now: Collection, queries: np.ndarray | None, soft: np.ndarray | None
) -> Collection:
    """Make the changes of ``stale`` to ``now``, which is ``index/`` after another training.

    ``queries`` and ``soft`` are what the model of now makes of ``stale.items``, as for
    :func:`extend`, None where nothing was added. Images that were removed from the index stay away.
    The versions of the earlier model are dropped.
    """
    known = {category["name"] for category in now.categories}
    added = [c["name"] for c in stale.categories[stale.built_categories :]]
    new = [name for name in added if name not in known]
    categories = [*now.categories, *_numbered(now.categories, new)]
    gone = {label for found in stale.items["labels"].to_pylist() for label in found}
    gone -= {category["name"] for category in categories}
    if gone:
        raise InputError(
            f"category {min(gone)!r} of what was added does not exist any more; "
            "mmhash index reset does without what was added"
        )
    contents = read_contents(now.folder)
    removed = np.intersect1d(stale.removed, contents.image_id).tolist()
    contents = contents.rows(~np.isin(contents.image_id, removed))
    ids = stale.items["image_id"].to_numpy()
    taken = np.isin(ids, read_table(now.root / "data" / "images.parquet")["image_id"].to_numpy())
    ids = np.where(taken, new_image_ids(stale, len(ids)), ids)  # the data set may be another one
    items = stale.items.set_column(0, ITEMS.field("image_id"), pa.array(ids))
    contents = _joined(contents, queries, soft, items, categories)
    return _commit(
        stale,
        contents,
        f"encoded {len(items)} added pictures again",
        categories=categories,
        built_categories=now.built_categories,
        items=items,
        removed=removed,
        base=now.base,
    )


def _numbered(categories: list[dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    """Return new categories with ids beyond those that are taken."""
    first = max((int(category["id"]) for category in categories), default=0) + 1
    return [{"id": first + place, "name": name} for place, name in enumerate(names)]


def _joined(
    old: Contents,
    queries: np.ndarray | None,
    soft: np.ndarray | None,
    items: pa.Table,
    categories: list[dict[str, Any]],
) -> Contents:
    """Return ``old`` with the additions after its rows and a column a category."""
    n, width = len(items), old.items.shape[1]
    if queries is None and n == 0:
        queries, soft = old.items[:0], None if old.soft is None else old.soft[:0]
    assert queries is not None
    if queries.shape != (n, width) or (queries.dtype == np.uint8) != (old.items.dtype == np.uint8):
        raise InputError(
            f"the model gives codes {queries.dtype} of shape {queries.shape}, and the index holds "
            f"{old.items.dtype} {(n, width)}: they are of two trainings; run dvc repro"
        )
    if old.soft is not None and (soft is None or soft.shape != (n, old.soft.shape[1])):
        raise InputError(f"soft codes of {n} items are missing or of another length")
    wider = np.zeros((len(old.labels), len(categories)), dtype=np.uint8)
    wider[:, : old.labels.shape[1]] = old.labels
    # the text of an added item is its only caption, which is the first, each and the mean of all
    number = np.full(n, -1 if old.meta.get("captions") == "mean" else 0, dtype=old.caption.dtype)
    labels = label_columns(items["labels"].to_pylist(), categories)
    return Contents(
        items=np.concatenate([old.items, queries.astype(old.items.dtype)]),
        soft=None
        if old.soft is None or soft is None
        else np.concatenate([old.soft, soft.astype(old.soft.dtype)]),
        labels=np.concatenate([wider, labels]),
        image_id=np.concatenate([old.image_id, items["image_id"].to_numpy()]),
        caption=np.concatenate([old.caption, number]),
        meta=old.meta,
    )


def _commit(before: Collection, contents: Contents, did: str, **changed: Any) -> Collection:
    arrays = (contents.items, contents.soft, contents.labels, contents.image_id, contents.caption)
    needed = sum(array.nbytes for array in arrays if array is not None)
    require_space(before.root / "collection", needed, "a version of the database")
    return commit(before, lambda folder: write_contents(folder, contents), did, **changed)
