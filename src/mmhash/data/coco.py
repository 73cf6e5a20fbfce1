"""MS-COCO 2014 annotations: instances and captions → one table of images, captions and labels.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014, and Chen et al., "Microsoft COCO
Captions", 2015. A subset in the same layout, and any drawn data set in it, reads the same way.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmhash.errors import InputError

FOLDERS = ("train2014", "val2014")

IMAGES_SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("folder", pa.string()),
        ("file_name", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("captions", pa.list_(pa.string())),
        ("category_ids", pa.list_(pa.int32())),
    ]
)

# Polygons are nine tenths of the file; dropped object by object while the parser runs, they never
# pile up in memory.
_UNREAD = frozenset(
    {"segmentation", "bbox", "area", "iscrowd", "coco_url", "flickr_url", "date_captured"}
)

_INT32_MAX = 2**31 - 1
_INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class CocoTable:
    """``images``: one row an image (:data:`IMAGES_SCHEMA`), sorted by image id.
    ``categories``: ``{"id", "name"}`` in id order; column c of a label matrix is the c-th of them.
    """

    images: pa.Table
    categories: list[dict[str, Any]]


@dataclass
class _Image:
    folder: str
    file_name: str
    width: int
    height: int
    captions: list[str] = field(default_factory=list)
    category_ids: set[int] = field(default_factory=set)


def how_to_get_coco(root: Path | str) -> str:
    """Return the words that tell a user how to put COCO 2014 below ``root``."""
    return (
        "set datasets.coco2014.download=true, or get annotations_trainval2014.zip (253 MB, "
        "http://images.cocodataset.org/annotations/), "
        "train2014.zip (13.5 GB) and val2014.zip (6.6 GB, both http://images.cocodataset.org/zips/)"
        f" and unpack them so that {root}/annotations, {root}/images/train2014 and "
        f"{root}/images/val2014 stand there, or set datasets.coco2014.root to a copy you have"
    )


def find_annotations(root: Path) -> Path:
    """Return the folder of the annotation files; raises :class:`InputError` where it is absent."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; {how_to_get_coco(root)}")
    annotations = root / "annotations"
    if not annotations.is_dir():
        raise InputError(f"{annotations}: no such folder; {how_to_get_coco(root)}")
    return annotations


def annotated_folders(root: Path) -> list[str]:
    """Return which of train2014 and val2014 are annotated below ``root``, at least one.

    One alone is a valid subset. A folder with only one of its two annotation files, or with
    pictures but no annotations, is a half-unpacked copy: :class:`InputError`.
    """
    annotations = find_annotations(root)
    found = []
    for folder in FOLDERS:
        names = [f"{kind}_{folder}.json" for kind in ("instances", "captions")]
        missing = [name for name in names if not (annotations / name).is_file()]
        if not missing:
            found.append(folder)
        elif len(missing) == 1:
            raise InputError(
                f"{annotations / missing[0]}: no such file, though the other annotations of "
                f"{folder} are there; {how_to_get_coco(root)}"
            )
        elif picture_folder(root, folder).is_dir():
            raise InputError(
                f"{annotations}: neither {names[0]} nor {names[1]}, though the pictures of "
                f"{folder} are there; {how_to_get_coco(root)}"
            )
    if not found:
        raise InputError(
            f"{annotations}: no instances_*.json and captions_*.json of train2014 or val2014; "
            f"{how_to_get_coco(root)}"
        )
    return found


def picture_folder(root: Path, folder: str) -> Path:
    """Return where the pictures of ``folder`` lie: ``root/images/folder``, or ``root/folder``."""
    nested, flat = root / "images" / folder, root / folder
    return flat if flat.is_dir() and not nested.is_dir() else nested


def image_path(root: Path, folder: str, file_name: str) -> Path:
    """Return the path of one picture in either of the two official layouts."""
    return picture_folder(root, folder) / file_name


def read_annotation_json(path: Path, unread: frozenset[str]) -> Any:
    """Read JSON, leaving out the keys ``unread`` of every object, so that memory stays low.

    Raises :class:`InputError` where the file is missing, malformed, or has a key twice.
    """

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        kept = {key: value for key, value in pairs if key not in unread}
        if len(kept) != len(pairs) and len({key for key, _ in pairs}) != len(pairs):
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise InputError(f"{path}: key {twice!r} stands twice in one object; keep one of them")
        return kept

    try:
        return json.loads(path.read_bytes().decode("utf-8"), object_pairs_hook=keep)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            f"{path}: not valid JSON ({error}); is the file truncated? unpack or download it again"
        ) from None


def read_coco(root: Path) -> CocoTable:
    """Read instances and captions of train2014 and val2014 below ``root``.

    An image's labels are the categories with at least one instance annotation, crowd or not;
    images without any are kept. Captions stand as in the file, word for word and in its order.

    Raises :class:`InputError` for anything missing, malformed or contradictory in the files.
    """
    images: dict[int, _Image] = {}
    categories: dict[int, str] = {}
    for folder in annotated_folders(root):
        annotations = root / "annotations"
        instances = annotations / f"instances_{folder}.json"
        content = read_annotation_json(instances, _UNREAD)
        of_folder = _read_images(content, folder, instances, images)
        named = _read_categories(content, instances)
        if categories and named != categories:
            raise InputError(
                f"{instances}: its categories differ from those of instances_{FOLDERS[0]}.json; "
                "take both files from one annotation archive"
            )
        categories = named
        _read_labels(content, of_folder, categories, instances)
        captions = annotations / f"captions_{folder}.json"
        _read_captions(read_annotation_json(captions, _UNREAD), of_folder, captions)
        images |= of_folder
    if not images:
        raise InputError(f"{root / 'annotations'}: the annotation files list no image")
    return CocoTable(
        images=_images_table(images),
        categories=[{"id": key, "name": name} for key, name in categories.items()],
    )


def label_matrix(images: pa.Table, categories: list[dict[str, Any]]) -> np.ndarray:
    """Return the multi-hot labels, (N, C) uint8, rows as ``images``, columns as ``categories``."""
    column = images.column("category_ids").combine_chunks()
    rows = pc.list_parent_indices(column).to_numpy().astype(np.int64)
    ids = pc.list_flatten(column).to_numpy()
    known = np.array([category["id"] for category in categories], dtype=np.int64)
    if len(strangers := np.setdiff1d(ids, known)):
        raise InputError(
            f"images table: category id {strangers[0]} is not among the {len(known)} categories; "
            "take both from one run of index_coco"
        )
    by_id = np.argsort(known)
    labels = np.zeros((len(images), len(known)), dtype=np.uint8)
    labels[rows, by_id[np.searchsorted(known[by_id], ids)]] = 1
    return labels


def missing_pictures(images: pa.Table, root: Path) -> list[str]:
    """Return ``folder/file_name`` of every image whose picture is not below ``root``, in row order.

    Rows without a file name (features that the user brought) have no picture to miss.
    """
    present: dict[str, set[str]] = {}
    missing = []
    for folder, name in zip(
        images["folder"].to_pylist(), images["file_name"].to_pylist(), strict=True
    ):
        if folder not in present:
            path = picture_folder(root, folder)
            present[folder] = set(os.listdir(path)) if path.is_dir() else set()  # noqa: PTH208 names only
        if name and name not in present[folder]:
            missing.append(f"{folder}/{name}")
    return missing


def data_statistics(
    images: pa.Table, categories: list[dict[str, Any]], root: Path
) -> dict[str, Any]:
    """Return counts that describe the data: classes, labels and captions an image, missing files.

    Caption lengths are in words (runs of non-blank characters). Histograms map a value, as a
    string, to the number of images (for caption lengths: captions) that have it.
    """
    labels = label_matrix(images, categories)
    per_image = labels.sum(axis=1, dtype=np.int64)
    captions = images["captions"].to_pylist()
    words = np.array([len(text.split()) for texts in captions for text in texts], dtype=np.int64)
    missing = missing_pictures(images, root)
    return {
        "images": len(images),
        "images_by_folder": dict(sorted(Counter(images["folder"].to_pylist()).items())),
        "missing_pictures": {"count": len(missing), "first": missing[:10]},
        "classes": len(categories),
        "positives": int(per_image.sum()),
        "images_without_label": int((per_image == 0).sum()),
        "labels_per_image": _distribution(per_image),
        "captions": len(words),
        "captions_per_image": _distribution(np.array([len(texts) for texts in captions])),
        "caption_words": _distribution(words),
        "class_frequency": {
            category["name"]: int(count)
            for category, count in zip(categories, labels.sum(axis=0, dtype=np.int64), strict=True)
        },
    }


def _distribution(values: np.ndarray) -> dict[str, Any]:
    if not len(values):
        return {"mean": None, "median": None, "histogram": {}}
    number, count = np.unique(values, return_counts=True)
    return {
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "histogram": {str(n): int(c) for n, c in zip(number, count, strict=True)},
    }


def _entries(content: Any, key: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, entry) for each object of the list ``content[key]``."""
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise InputError(f"{path}: no list {key!r} in it; take the file from the official archive")
    for position, entry in enumerate(entries):
        where = f"{path}: {key}[{position}]"
        if not isinstance(entry, dict):
            raise InputError(f"{where} is {entry!r:.60}, must be an object")
        yield where, entry


def _whole(entry: dict[str, Any], key: str, low: int, high: int, where: str) -> int:
    value = entry.get(key)
    if type(value) is not int or not low <= value <= high:  # bool is an int to isinstance
        shown = "missing" if key not in entry else f"{value!r:.60}"
        raise InputError(f"{where}: {key!r} is {shown}, must be a whole number from {low} on")
    return value


def _text(entry: dict[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str):
        shown = "missing" if key not in entry else f"{value!r:.60}"
        raise InputError(f"{where}: {key!r} is {shown}, must be a text")
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise InputError(f"{where}: {key!r} holds half a surrogate pair; write the letter itself")
    return value


def _read_images(
    content: Any, folder: str, path: Path, earlier: dict[int, _Image]
) -> dict[int, _Image]:
    images: dict[int, _Image] = {}
    for where, entry in _entries(content, "images", path):
        image_id = _whole(entry, "id", 0, _INT64_MAX, where)
        where = f"{where} (id {image_id})"
        if image_id in images or image_id in earlier:
            other = folder if image_id in images else earlier[image_id].folder
            raise InputError(f"{where}: this image id stands already in {other}; remove one")
        name = _text(entry, "file_name", where)
        if not name or name in {".", ".."} or "/" in name or "\\" in name or "\0" in name:
            raise InputError(
                f"{where}: 'file_name' is {name!r:.60}, must be a bare name; folders are fixed"
            )
        images[image_id] = _Image(
            folder=folder,
            file_name=name,
            width=_whole(entry, "width", 1, _INT32_MAX, where),
            height=_whole(entry, "height", 1, _INT32_MAX, where),
        )
    return images


def _read_categories(content: Any, path: Path) -> dict[int, str]:
    categories: dict[int, str] = {}
    for where, entry in _entries(content, "categories", path):
        key = _whole(entry, "id", 0, _INT32_MAX, where)
        name = _text(entry, "name", where)
        if key in categories:
            raise InputError(f"{where}: category id {key} stands twice; remove one")
        if not name.strip() or name in categories.values():
            raise InputError(f"{where}: category name {name!r} is empty or taken; give it its own")
        categories[key] = name
    if not categories:
        raise InputError(f"{path}: no category; take the file from the official archive")
    return dict(sorted(categories.items()))


def _read_labels(
    content: Any, images: dict[int, _Image], categories: dict[int, str], path: Path
) -> None:
    for where, entry in _entries(content, "annotations", path):
        image_id = _whole(entry, "image_id", 0, _INT64_MAX, where)
        category_id = _whole(entry, "category_id", 0, _INT32_MAX, where)
        if image_id not in images:
            raise InputError(
                f"{where}: annotates image {image_id}, which 'images' of this file lacks; "
                "add the image or remove the annotation"
            )
        if category_id not in categories:
            raise InputError(
                f"{where} (image {image_id}): category id {category_id} is not in 'categories'; "
                "add the category or remove the annotation"
            )
        images[image_id].category_ids.add(category_id)


def _read_captions(content: Any, images: dict[int, _Image], path: Path) -> None:
    for where, entry in _entries(content, "annotations", path):
        image_id = _whole(entry, "image_id", 0, _INT64_MAX, where)
        if image_id not in images:
            raise InputError(
                f"{where}: a caption for image {image_id}, which the instances file of this folder "
                "lacks; take both files from one annotation archive"
            )
        caption = _text(entry, "caption", where)
        if not caption.strip():
            raise InputError(
                f"{where}: the caption of image {image_id}, annotation id "
                f"{entry.get('id')!r:.30}, is empty; write it or remove the annotation"
            )
        images[image_id].captions.append(caption)
    bare = [image_id for image_id, image in images.items() if not image.captions]
    if bare:
        raise InputError(
            f"{path}: {len(bare)} images have no caption, the first is image {min(bare)}; "
            "add captions or remove the images from the instances file"
        )


def _images_table(images: dict[int, _Image]) -> pa.Table:
    rows = sorted(images.items())
    return pa.table(
        {
            "image_id": [image_id for image_id, _ in rows],
            "folder": [image.folder for _, image in rows],
            "file_name": [image.file_name for _, image in rows],
            "width": [image.width for _, image in rows],
            "height": [image.height for _, image in rows],
            "captions": [image.captions for _, image in rows],
            "category_ids": [sorted(image.category_ids) for _, image in rows],
        },
        schema=IMAGES_SCHEMA,
    )
