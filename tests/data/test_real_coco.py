"""The whole read path on real COCO 2014 files, against pycocotools and the raw JSON."""

import contextlib
import io
import json

import numpy as np
import pyarrow as pa
import pytest
from pycocotools.coco import COCO

from mmhash.data.coco import data_statistics, image_path, label_matrix, read_coco
from mmhash.data.karpathy import (
    COCO2014_COUNTS,
    SPLIT_SCHEMA,
    find_split_file,
    read_karpathy,
    split_counts,
    split_table,
    training_rows,
)
from mmhash.data.source import prepare_raw


@pytest.fixture(scope="module")
def mini(real_data):
    root = real_data / "coco-mini"
    return root, read_coco(root)


def test_labels_equal_those_that_pycocotools_finds(mini):
    root, table = mini
    labels = label_matrix(table.images, table.categories)
    names = np.array([category["name"] for category in table.categories])
    seen = 0
    for folder in ("train2014", "val2014"):
        with contextlib.redirect_stdout(io.StringIO()):
            reference = COCO(root / "annotations" / f"instances_{folder}.json")
        for row, image_id in enumerate(table.images["image_id"].to_pylist()):
            if image_id not in reference.imgs:
                continue
            found = reference.loadAnns(reference.getAnnIds(imgIds=[image_id], iscrowd=None))
            expected = {reference.cats[entry["category_id"]]["name"] for entry in found}
            assert set(names[labels[row] == 1]) == expected
            assert table.images["folder"][row].as_py() == folder
            seen += 1
    assert seen == len(table.images) == 310
    assert len(names) == 80
    assert labels.sum() > 310


def test_captions_sizes_and_names_stand_as_in_the_files(mini):
    root, table = mini
    captions: dict[int, list[str]] = {}
    entries = {}
    for folder in ("train2014", "val2014"):
        content = json.loads((root / "annotations" / f"captions_{folder}.json").read_text())
        entries |= {entry["id"]: entry for entry in content["images"]}
        for entry in content["annotations"]:
            captions.setdefault(entry["image_id"], []).append(entry["caption"])
    for row in table.images.to_pylist():
        assert row["captions"] == captions[row["image_id"]]
        for key in ("file_name", "width", "height"):
            assert row[key] == entries[row["image_id"]][key]
        assert image_path(root, row["folder"], row["file_name"]).is_file()


def test_230_images_train_35_validate_and_45_test(mini):
    root, table = mini
    split = split_table(table.images, read_karpathy(find_split_file(root)), strict_counts=False)
    assert split_counts(split) == {"restval": 196, "test": 45, "train": 34, "val": 35}
    assert len(training_rows(split)) == 230
    assert split["image_id"].equals(table.images["image_id"])


def test_statistics_and_manifest_of_the_real_subset(mini):
    root, table = mini
    statistics = data_statistics(table.images, table.categories, root)
    assert statistics["missing_pictures"]["count"] == 0
    assert statistics["images_by_folder"] == {"train2014": 34, "val2014": 276}
    assert set(statistics["captions_per_image"]["histogram"]) <= {"5", "6", "7"}
    manifest = prepare_raw("coco2014", root, False, {})
    assert manifest["image_counts"] == {"train2014": 34, "val2014": 276}
    assert len(manifest["files"]) == 5


def test_the_real_split_of_all_images_has_the_asserted_counts(real_data):
    with np.load(real_data / "coco-labels" / "labels.npz", allow_pickle=False) as arrays:
        names = np.array(["train", "restval", "val", "test"])[arrays["split"]]
        ids = np.sort(arrays["image_id"].astype(np.int64))
    split = pa.table({"image_id": ids, "split": names}, schema=SPLIT_SCHEMA)
    assert len(np.unique(ids)) == len(split) == sum(COCO2014_COUNTS.values()) == 123_287
    # 267 restval images of unknown folder stand as train in this file; their sum is exact
    assert len(training_rows(split)) == 113_287
    counts = split_counts(split)
    assert (counts["val"], counts["test"]) == (COCO2014_COUNTS["val"], COCO2014_COUNTS["test"])
