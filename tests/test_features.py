from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmhash.errors import InputError
from mmhash.features import load_features
from mmhash.files import write_json, write_npy, write_table

SPLIT = ["train", "restval", "val", "test", "database"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = pa.table(
        {
            "image_id": pa.array([10, 20, 30, 40, 50], pa.int64()),
            "category_ids": pa.array([[1], [3], [1, 3], [], [3]], pa.list_(pa.int32())),
        }
    )
    write_table(tmp_path / "data" / "images.parquet", images)
    split = pa.table({"image_id": images["image_id"], "split": SPLIT})
    write_table(tmp_path / "data" / "split.parquet", split)
    write_json(
        tmp_path / "data" / "categories.json", [{"id": 1, "name": "a"}, {"id": 3, "name": "b"}]
    )
    write_features(tmp_path / "features", [10, 20, 30, 40, 50])
    return tmp_path


def write_features(features: Path, ids: list[int]) -> None:
    n = len(ids)
    write_npy(
        features / "image.npy", np.array(ids, np.float16)[:, None] * np.ones((1, 4), np.float16)
    )
    write_npy(features / "text.npy", np.ones((2 * n, 4), np.float16))
    write_npy(features / "caption_offset.npy", np.arange(0, 2 * n + 1, 2))
    write_npy(features / "image_id.npy", np.array(ids, np.int64))
    write_json(features / "meta.json", {})


def test_restval_is_training_data_and_nothing_else(folder: Path) -> None:
    store = load_features(folder / "features", folder / "data")
    np.testing.assert_array_equal(store.training_rows(), [0, 1])
    np.testing.assert_array_equal(store.rows("val"), [2])
    np.testing.assert_array_equal(store.rows("test"), [3])


def test_database_only_rows_are_searched_but_not_trained_on(folder: Path) -> None:
    store = load_features(folder / "features", folder / "data")
    np.testing.assert_array_equal(store.database_rows(), [0, 1, 4])


def test_labels_and_split_follow_the_feature_rows_when_a_picture_was_skipped(folder: Path) -> None:
    write_features(folder / "features", [10, 30, 40])
    store = load_features(folder / "features", folder / "data")
    assert store.split.tolist() == ["train", "val", "test"]
    assert store.features.labels.tolist() == [[1, 0], [1, 1], [0, 0]]
    assert store.features.image[:, 0].tolist() == [10, 30, 40]


def test_a_feature_row_without_an_image_is_refused(folder: Path) -> None:
    write_features(folder / "features", [10, 20, 30, 40, 99])
    with pytest.raises(InputError, match="names images that"):
        load_features(folder / "features", folder / "data")


def test_arrays_that_do_not_fit_together_are_refused(folder: Path) -> None:
    write_npy(folder / "features" / "text.npy", np.ones((3, 4), np.float16))
    with pytest.raises(InputError, match="do not fit together"):
        load_features(folder / "features", folder / "data")


def test_a_split_that_lost_all_its_images_is_named(folder: Path) -> None:
    write_features(folder / "features", [10, 20, 30])
    with pytest.raises(InputError, match="no image in test"):
        load_features(folder / "features", folder / "data")
