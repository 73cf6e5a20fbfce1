"""The Karpathy split: its three forms, its counts, and that restval is always trained on."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmhash.data.coco import read_coco
from mmhash.data.karpathy import (
    COCO2014_COUNTS,
    SPLIT_SCHEMA,
    SPLITS,
    assert_coco2014_counts,
    find_split_file,
    read_karpathy,
    split_counts,
    split_table,
    training_rows,
)

from .conftest import fails_with

SPLIT_OF = {4: "train", 7: "restval", 9: "train", 12: "test", 30: "val"}


def written(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "karpathy_split.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def table_of(splits: list[str]) -> pa.Table:
    return pa.table({"image_id": range(len(splits)), "split": splits}, schema=SPLIT_SCHEMA)


def test_the_standard_file_gives_split_and_folder(coco):
    karpathy = read_karpathy(find_split_file(coco.write()))
    assert karpathy == {
        9: ("train", "train2014"),
        4: ("train", "train2014"),
        7: ("restval", "val2014"),
        30: ("val", "val2014"),
        12: ("test", "val2014"),
    }


@pytest.mark.parametrize(
    "content",
    [
        {str(image_id): split for image_id, split in SPLIT_OF.items()},
        {split: [i for i, s in SPLIT_OF.items() if s == split] for split in SPLITS},
        {"images": [{"cocoid": i, "split": s} for i, s in SPLIT_OF.items()]},
    ],
    ids=["id to split", "split to ids", "standard without folders"],
)
def test_a_users_split_file_gives_the_same_table(coco, tmp_path, content):
    images = read_coco(coco.write()).images
    karpathy = read_karpathy(written(tmp_path, content))
    split = split_table(images, karpathy, strict_counts=False)
    assert split.schema.equals(SPLIT_SCHEMA)
    assert split.to_pylist() == [{"image_id": i, "split": s} for i, s in SPLIT_OF.items()]


@pytest.mark.parametrize(
    "name", ["dataset_coco.json", "karpathy_split.json", "annotations/dataset_coco.json"]
)
def test_the_split_file_is_found_under_each_name(tmp_path, name):
    assert find_split_file(tmp_path) is None
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}")
    assert find_split_file(tmp_path) == tmp_path / name


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"images": [{"cocoid": 4', ["not valid JSON", "truncated"]),
        ([], ["must be a JSON object"]),
        ({}, ["must be a JSON object"]),
        ({"images": {}}, ["'images' must be a list"]),
        ({"images": [3]}, ["images[0]", "cocoid"]),
        ({"images": [{"imgid": 4, "split": "val"}]}, ["images[0]", "caption_datasets.zip"]),
        ({"images": [{"cocoid": "4", "split": "val"}]}, ["'4'", "whole number"]),
        ({"images": [{"cocoid": True, "split": "val"}]}, ["True", "whole number"]),
        ({"images": [{"cocoid": 4, "split": "dev"}]}, ["image 4", "'dev'", "train, restval, val"]),
        ({"images": [{"cocoid": 4, "split": ["val"]}]}, ["image 4", "['val']"]),
        ({"images": [{"cocoid": 4, "split": "val", "filepath": "val"}]}, ["image 4", "val2014"]),
        (
            {"images": [{"cocoid": 4, "split": "val"}, {"cocoid": 4, "split": "train"}]},
            ["image 4 stands twice (val and train)"],
        ),
        ({"train": [4, 5], "val": [5]}, ["image 5 stands twice (train and val)"]),
        ({"train": [4], "dev": [5]}, ["image 5", "'dev'"]),
        ({"4": "train", "04": "val"}, ["image 4 stands twice"]),
        ('{"4": "train", "4": "val"}', ["key '4' stands twice"]),
        ({"four": "train"}, ["'four'", "whole number"]),
        ({"4": None}, ["image 4", "None"]),
    ],
)
def test_bad_split_files_are_named_in_one_line(tmp_path, content, words):
    path = written(tmp_path, content)
    fails_with(lambda: read_karpathy(path), path.name, *words)


def test_images_that_the_annotations_lack_are_counted_and_named(coco):
    images = read_coco(coco.write()).images
    karpathy = {image_id: (split, "") for image_id, split in SPLIT_OF.items()}
    karpathy |= {99: ("train", ""), 66: ("val", "")}
    fails_with(lambda: split_table(images, karpathy, False), "2 of its 7", "image 66", "complete")


def test_images_without_a_split_are_counted_and_named(coco):
    images = read_coco(coco.write()).images
    karpathy = {4: ("train", ""), 30: ("test", ""), 9: ("val", "")}
    fails_with(lambda: split_table(images, karpathy, False), "2 of 5", "image 7", "no split")


def test_a_folder_against_the_annotations_is_named(coco):
    images = read_coco(coco.write()).images
    karpathy = {image_id: (split, "") for image_id, split in SPLIT_OF.items()}
    karpathy[7] = ("restval", "train2014")
    fails_with(lambda: split_table(images, karpathy, False), "image 7", "train2014", "val2014")


def test_strict_counts_refuse_a_subset_and_name_the_switch(coco):
    root = coco.write()
    images, karpathy = read_coco(root).images, read_karpathy(find_split_file(root))
    split_table(images, karpathy, strict_counts=False)
    fails_with(
        lambda: split_table(images, karpathy, strict_counts=True),
        "train 2 (expected 82,783)",
        "restval 1 (expected 30,504)",
        "datasets.coco2014.strict_counts=false",
    )


def full_coco() -> list[str]:
    return [split for split, count in COCO2014_COUNTS.items() for _ in range(count)]


def test_coco_2014_has_113287_training_images():
    splits = full_coco()
    assert len(splits) == 123_287
    split = table_of(splits)
    assert_coco2014_counts(split)
    assert len(training_rows(split)) == 113_287


@pytest.mark.parametrize(("row", "to"), [(-1, "restval"), (0, "restval"), (0, "database")])
def test_one_image_in_the_wrong_split_fails_the_counts(row, to):
    splits = full_coco()
    splits[row] = to
    fails_with(lambda: assert_coco2014_counts(table_of(splits)), to)


@given(st.lists(st.sampled_from([*SPLITS, "database"])))
def test_training_rows_are_exactly_train_and_restval(splits):
    rows = training_rows(table_of(splits))
    assert rows.dtype == np.int64
    assert rows.tolist() == [i for i, split in enumerate(splits) if split in ("train", "restval")]


@given(st.lists(st.sampled_from(SPLITS)))
def test_split_counts_add_up(splits):
    counts = split_counts(table_of(splits))
    assert sum(counts.values()) == len(splits)
    assert all(splits.count(split) == count > 0 for split, count in counts.items())
