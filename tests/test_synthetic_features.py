"""The benchmarks with real labels read what ``--pack`` makes of the tables of any COCO."""

import importlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmhash.errors import InputError
from mmhash.files import write_json, write_table

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def test_packed_labels_are_those_of_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    benchmark = importlib.import_module("synthetic_features")
    ids = pa.array([10, 20, 30, 40], pa.int64())
    carried = pa.array([[90], [1, 3], [], [3]], pa.list_(pa.int32()))
    write_table(tmp_path / "images.parquet", pa.table({"image_id": ids, "category_ids": carried}))
    names = ["restval", "train", "test", "val"]
    write_table(tmp_path / "split.parquet", pa.table({"image_id": ids, "split": names}))
    categories = [{"id": number, "name": str(number)} for number in [*range(1, 80), 90]]
    write_json(tmp_path / "categories.json", categories[:-1])
    with pytest.raises(InputError, match="category id 90"):
        benchmark.pack_labels(tmp_path, tmp_path / "labels.npz")
    assert not (tmp_path / "labels.npz").exists()

    write_json(tmp_path / "categories.json", categories)
    benchmark.pack_labels(tmp_path, tmp_path / "labels.npz")
    labels, split, image_id = benchmark.read_labels(tmp_path / "labels.npz")
    assert labels.shape == (4, 80)
    assert [np.flatnonzero(row).tolist() for row in labels] == [[79], [0, 2], [], [2]]
    assert benchmark.SPLIT_NAMES[split].tolist() == names
    assert image_id.tolist() == [10, 20, 30, 40]


def test_a_file_of_labels_that_is_not_there_is_named_with_what_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    benchmark = importlib.import_module("synthetic_features")
    with pytest.raises(SystemExit, match=r"no such file.*--pack data"):
        benchmark.require_labels(tmp_path / "labels.npz")
