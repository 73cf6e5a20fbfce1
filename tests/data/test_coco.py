"""Reading COCO annotations: what a label and a caption are, and how bad files are named."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mmhash.data.coco import (
    IMAGES_SCHEMA,
    data_statistics,
    image_path,
    label_matrix,
    missing_pictures,
    read_coco,
)
from mmhash.errors import InputError

from .conftest import fails_with

TRAIN = "annotations/instances_train2014.json"
VAL = "annotations/instances_val2014.json"
CAPTIONS = "annotations/captions_train2014.json"


def test_rows_are_sorted_by_image_id_and_hold_what_the_files_say(coco):
    table = read_coco(coco.write()).images
    assert table.schema.equals(IMAGES_SCHEMA)
    assert table.to_pylist()[0] == {
        "image_id": 4,
        "folder": "train2014",
        "file_name": "COCO_train2014_000000000004.jpg",
        "width": 640,
        "height": 404,
        "captions": ["a man and two dogs", "dogs"],
        "category_ids": [1, 18],
    }
    assert table["image_id"].to_pylist() == [4, 7, 9, 12, 30]
    assert table["folder"].to_pylist() == ["train2014", "val2014", "train2014", *["val2014"] * 2]


def test_captions_keep_their_order_and_every_letter(coco):
    table = read_coco(coco.write()).images
    assert table["captions"].to_pylist()[1] == ["a crowd", "people ", "many people here"]


def test_a_crowd_alone_makes_a_label_and_an_image_without_instance_stays(coco):
    table = read_coco(coco.write())
    assert [category["name"] for category in table.categories] == ["person", "dog", "toothbrush"]
    labels = label_matrix(table.images, table.categories)
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0], [1, 0, 1], [1, 0, 0]]


def test_columns_follow_the_categories_in_whatever_order_they_are_given(coco):
    table = read_coco(coco.write())
    backwards = label_matrix(table.images, table.categories[::-1])
    assert (backwards == label_matrix(table.images, table.categories)[:, ::-1]).all()


def test_labels_of_another_category_list_are_refused(coco):
    table = read_coco(coco.write())
    with pytest.raises(InputError, match="category id 90"):
        label_matrix(table.images, table.categories[:2])


def test_labels_of_a_slice_of_the_table_are_the_slice_of_the_labels(coco):
    table = read_coco(coco.write())
    labels = label_matrix(table.images, table.categories)
    assert (label_matrix(table.images.slice(2), table.categories) == labels[2:]).all()
    shuffled = table.images.take(pa.array([3, 0, 2]))
    assert (label_matrix(shuffled, table.categories) == labels[[3, 0, 2]]).all()


def test_order_of_entries_in_the_files_changes_nothing(coco):
    expected = read_coco(coco.write())
    for name, content in coco.files.items():
        if "instances" in name:
            for entries in content.values():
                if isinstance(entries, list):
                    entries.reverse()
    again = read_coco(coco.write())
    assert again.images.equals(expected.images)
    assert again.categories == expected.categories


def test_one_folder_alone_is_a_subset(coco):
    coco.files = {name: content for name, content in coco.files.items() if "val" not in name}
    coco.pictures = [name for name in coco.pictures if "train2014" in name]
    assert read_coco(coco.write()).images["image_id"].to_pylist() == [4, 9]


def test_pictures_without_annotations_are_a_half_unpacked_copy(coco):
    coco.files = {name: content for name, content in coco.files.items() if "val" not in name}
    fails_with(partial(read_coco, coco.write()), "val2014", "annotations_trainval2014.zip")


def test_one_annotation_file_of_two_is_a_half_unpacked_copy(coco):
    del coco.files[CAPTIONS]
    fails_with(
        partial(read_coco, coco.write()), "captions_train2014.json", "annotations_trainval2014.zip"
    )


@pytest.mark.parametrize("left", [None, ".", "annotations"])
def test_missing_data_say_which_archives_to_get_and_where_to_put_them(tmp_path, left):
    root = tmp_path / "coco"
    if left:
        (root / left).mkdir(parents=True)
    fails_with(
        partial(read_coco, root),
        "annotations_trainval2014.zip",
        "train2014.zip",
        "val2014.zip",
        f"{root}/images/train2014",
        "datasets.coco2014.root",
    )


@pytest.mark.parametrize("name", [TRAIN, CAPTIONS])
def test_a_truncated_file_is_named(coco, name):
    coco.files[name] = json.dumps(coco.files[name])[:-40]
    fails_with(partial(read_coco, coco.write()), Path(name).name, "truncated")


def test_bytes_that_are_no_text_are_named(coco):
    root = coco.write()
    (root / TRAIN).write_bytes(b'{"images": "\xff"}')
    fails_with(partial(read_coco, root), Path(TRAIN).name, "not valid JSON")


def first(key: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change to the first entry of a list; None removes a key."""

    def spoil(content: dict[str, Any]) -> None:
        entry = dict(content[key][0])
        for name, value in changes.items():
            entry.pop(name, None)
            if value is not None:
                entry[name] = value
        content[key] = [entry, *content[key][1:]]

    return spoil


def repeat(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content[key].append(content[key][0])


@pytest.mark.parametrize(
    ("name", "spoil", "words"),
    [
        (TRAIN, first("annotations", image_id=5), ["annotations[0]", "image 5", "remove"]),
        (TRAIN, first("annotations", category_id=2), ["category id 2", "image 4"]),
        (TRAIN, first("annotations", category_id=None), ["'category_id' is missing"]),
        (TRAIN, first("annotations", image_id="4"), ["'image_id' is '4'"]),
        (TRAIN, first("annotations", image_id=True), ["'image_id' is True"]),
        (TRAIN, repeat("images"), ["images[2] (id 9)", "already in train2014"]),
        (VAL, first("images", id=9), ["id 9", "already in train2014"]),
        (TRAIN, repeat("categories"), ["category id 90 stands twice"]),
        (TRAIN, first("categories", name="dog"), ["'dog'", "taken"]),
        (TRAIN, first("categories", name=" "), ["' '", "empty"]),
        (TRAIN, first("categories", name="tooth brush"), ["categories differ"]),
        (TRAIN, lambda content: content.update(categories=[]), ["no category"]),
        (TRAIN, first("images", width=None), ["id 9", "'width' is missing"]),
        (TRAIN, first("images", height=None), ["id 9", "'height' is missing"]),
        (TRAIN, first("images", width=0), ["id 9", "'width' is 0"]),
        (TRAIN, first("images", width=640.0), ["id 9", "'width' is 640.0"]),
        (TRAIN, first("images", id=2**63), ["'id' is 9223372036854775808"]),
        (TRAIN, first("images", id=None), ["images[0]", "'id' is missing"]),
        (TRAIN, first("images", file_name=None), ["id 9", "'file_name' is missing"]),
        (TRAIN, first("images", file_name="../x.jpg"), ["id 9", "bare name"]),
        (TRAIN, first("images", file_name="a\\b.jpg"), ["id 9", "bare name"]),
        (TRAIN, first("images", file_name=".."), ["id 9", "bare name"]),
        (TRAIN, lambda content: content.pop("images"), ["no list 'images'"]),
        (TRAIN, lambda content: content.update(annotations={}), ["no list 'annotations'"]),
        (TRAIN, lambda content: content["images"].insert(0, 3), ["images[0] is 3"]),
        (CAPTIONS, first("annotations", image_id=6), ["caption for image 6"]),
        (CAPTIONS, first("annotations", caption=" \n\t"), ["image 9", "id 900", "empty"]),
        (CAPTIONS, first("annotations", caption=None), ["'caption' is missing"]),
        (CAPTIONS, first("annotations", caption=5), ["'caption' is 5"]),
        (CAPTIONS, first("annotations", caption="\ud83d"), ["surrogate"]),
        (CAPTIONS, lambda content: content["annotations"].__delitem__(slice(2)), ["image 9"]),
    ],
)  # fmt: skip
def test_bad_entries_are_named_in_one_line(coco, name, spoil, words):
    coco.files[name] = json.loads(json.dumps(coco.files[name]))
    spoil(coco.files[name])
    fails_with(partial(read_coco, coco.write()), *words)


def test_content_that_is_no_object_is_named(coco):
    coco.files[TRAIN] = []
    fails_with(partial(read_coco, coco.write()), Path(TRAIN).name, "'images'")


def test_files_without_any_image_are_refused(coco):
    for name, content in coco.files.items():
        if name.startswith("annotations"):
            content["annotations"] = []
            content["images"] = []
    fails_with(partial(read_coco, coco.write()), "no image")


@pytest.mark.parametrize("layout", ["images", ""])
def test_both_official_layouts_are_found(coco, layout):
    coco.pictures = [str(Path(layout, *Path(name).parts[1:])) for name in coco.pictures]
    root = coco.write()
    assert missing_pictures(read_coco(root).images, root) == []
    name = "COCO_train2014_000000000004.jpg"
    assert image_path(root, "train2014", name) == root / layout / "train2014" / name


def test_statistics_count_what_is_there(coco):
    gone = coco.pictures.pop(1)
    root = coco.write()
    table = read_coco(root)
    statistics = data_statistics(table.images, table.categories, root)
    json.dumps(statistics, allow_nan=False)
    assert statistics == {
        "images": 5,
        "images_by_folder": {"train2014": 2, "val2014": 3},
        "missing_pictures": {"count": 1, "first": [gone.removeprefix("images/")]},
        "classes": 3,
        "positives": 6,
        "images_without_label": 1,
        "labels_per_image": {"mean": 1.2, "median": 1.0, "histogram": {"0": 1, "1": 2, "2": 2}},
        "captions": 11,
        "captions_per_image": {"mean": 2.2, "median": 2.0, "histogram": {"2": 4, "3": 1}},
        "caption_words": {
            "mean": 24 / 11,
            "median": 2.0,
            "histogram": {"1": 4, "2": 3, "3": 3, "5": 1},
        },
        "class_frequency": {"person": 3, "dog": 1, "toothbrush": 2},
    }


def test_a_missing_picture_folder_counts_every_picture_of_it(coco):
    coco.pictures = [name for name in coco.pictures if "val2014" in name]
    root = coco.write()
    assert missing_pictures(read_coco(root).images, root) == [
        "train2014/COCO_train2014_000000000004.jpg",
        "train2014/COCO_train2014_000000000009.jpg",
    ]


def test_polygons_never_pile_up_in_memory(coco):
    import tracemalloc

    polygon = [float(number) for number in range(2000)]
    coco.files[TRAIN]["annotations"] = [
        {"image_id": 4, "category_id": 18, "segmentation": [polygon]} for _ in range(200)
    ]
    root = coco.write()
    size = (root / TRAIN).stat().st_size
    tracemalloc.start()
    read_coco(root)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * size  # bytes and text; 400,000 floats would be about 5 × the file more
