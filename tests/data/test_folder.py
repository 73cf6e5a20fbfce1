"""Features that the user brings: what is checked, what is set aside, and what is copied."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmhash.data import row_blocks
from mmhash.data.coco import IMAGES_SCHEMA, data_statistics, label_matrix
from mmhash.data.folder import copy_features, read_feature_folder, set_val_aside
from mmhash.data.karpathy import SPLIT_SCHEMA, training_rows

from .conftest import fails_with

N, T, C = 12, 3, 4
OFFSET = np.array([0, 1, 3, 6, 7, 9, 10, 11, 13, 14, 15, 16, 18])


def arrays_of(n: int = N, seed: int = 0) -> dict[str, np.ndarray]:
    stream = np.random.default_rng(seed)
    return {
        "image": stream.standard_normal((n, 6)).astype(np.float32),
        "text": stream.standard_normal((n, 5)).astype(np.float16),
        "labels": (stream.random((n, C)) < 0.4).astype(np.uint8),
        "image_id": stream.permutation(1000)[:n].astype(np.int64),
        "split": np.resize(np.array([0, 1, 3, 0, 2, 4], dtype=np.uint8), n),
    }


def ragged_text() -> dict[str, np.ndarray]:
    stream = np.random.default_rng(1)
    text = stream.standard_normal((OFFSET[-1], 5)).astype(np.float32)
    return {"text": text, "caption_offset": OFFSET}


def save(root: Path, arrays: dict[str, np.ndarray], names: object = "abcd") -> Path:
    root.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(root / f"{name}.npy", array)
    names = list(names) if isinstance(names, str) else names
    (root / "categories.json").write_text(json.dumps(names))
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "features"


def test_tables_are_those_of_coco_with_empty_captions(root, tmp_path):
    arrays = arrays_of()
    folder = read_feature_folder(save(root, arrays | ragged_text()))
    order = np.argsort(arrays["image_id"])
    assert folder.images.schema.equals(IMAGES_SCHEMA)
    assert folder.split.schema.equals(SPLIT_SCHEMA)
    assert folder.images["image_id"].to_pylist() == sorted(arrays["image_id"].tolist())
    assert folder.categories == [{"id": i + 1, "name": name} for i, name in enumerate("abcd")]
    labels = label_matrix(folder.images, folder.categories)
    assert (labels == arrays["labels"][order]).all()
    counts = np.diff(OFFSET)[order]
    assert folder.images["captions"].to_pylist() == [[""] * count for count in counts]
    assert (np.diff(folder.caption_offset) == counts).all()
    names = np.array(["train", "restval", "val", "test", "database"])
    assert folder.split["split"].to_pylist() == names[arrays["split"][order]].tolist()
    row = folder.images.to_pylist()[0]
    assert (row["folder"], row["file_name"], row["width"], row["height"]) == ("", "", 0, 0)
    statistics = data_statistics(folder.images, folder.categories, tmp_path)
    assert statistics["missing_pictures"]["count"] == 0
    assert statistics["positives"] == arrays["labels"].sum()


@pytest.mark.parametrize("form", ["one", "fixed", "ragged"])
@pytest.mark.parametrize("block", [1, 100, 1 << 20])
def test_copies_follow_the_images_table_in_each_form_of_text(
    root, tmp_path, form, block, monkeypatch
):
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", block)
    arrays = arrays_of()
    if form == "ragged":
        arrays |= ragged_text()
    elif form == "fixed":
        arrays["text"] = np.random.default_rng(2).random((N, T, 5), dtype=np.float32)
    folder = read_feature_folder(save(root, arrays))
    copy_features(folder, tmp_path / "out", "float32")
    out = {path.stem: np.load(path) for path in (tmp_path / "out").glob("*.npy")}
    assert sorted(out) == ["caption_offset", "image", "image_id", "text"]
    assert out["image_id"].tolist() == folder.images["image_id"].to_pylist()
    assert out["image"].dtype == out["text"].dtype == np.float32
    assert out["caption_offset"].dtype == np.int64
    texts = {
        "one": lambda row: arrays["text"][row][None],
        "fixed": lambda row: arrays["text"][row],
        "ragged": lambda row: arrays["text"][OFFSET[row] : OFFSET[row + 1]],
    }[form]
    for row, image_id in enumerate(out["image_id"]):
        source = int(np.flatnonzero(arrays["image_id"] == image_id)[0])
        assert (out["image"][row] == arrays["image"][source]).all()
        start, stop = out["caption_offset"][row : row + 2]
        assert (out["text"][start:stop] == texts(source)).all()
    assert out["caption_offset"][-1] == len(out["text"])


def test_copies_are_what_numpy_would_save(root, tmp_path):
    arrays = arrays_of()
    arrays["image_id"].sort()
    folder = read_feature_folder(save(root, arrays))
    meta = copy_features(folder, tmp_path / "out", "float16")
    np.save(tmp_path / "expected.npy", arrays["image"].astype(np.float16))
    assert (tmp_path / "out" / "image.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()
    assert meta == json.loads((tmp_path / "out" / "meta.json").read_text())
    assert (meta["dtype"], meta["image_width"], meta["text_width"]) == ("float16", 6, 5)


def test_a_value_too_large_for_float16_names_its_row_and_leaves_nothing(root, tmp_path):
    arrays = arrays_of()
    arrays["image"][5, 2] = -70000.0
    folder = read_feature_folder(save(root, arrays))
    fails_with(
        lambda: copy_features(folder, tmp_path / "out", "float16"),
        "image.npy",
        "row 5",
        "features.dtype=float32",
    )
    assert list((tmp_path / "out").iterdir()) == []
    copy_features(folder, tmp_path / "out", "float32")


def without_val(n: int) -> dict[str, np.ndarray]:
    arrays = arrays_of(n)
    arrays["split"] = np.resize(np.array([0, 1, 3, 0, 4], dtype=np.uint8), n)
    return arrays


def split_of(root: Path, seed: int) -> dict[int, str]:
    split = set_val_aside(read_feature_folder(root).split, seed)
    return dict(zip(split["image_id"].to_pylist(), split["split"].to_pylist(), strict=True))


def test_without_val_a_tenth_of_the_training_rows_is_set_aside(root):
    arrays = without_val(100)
    save(root, arrays)
    split = set_val_aside(read_feature_folder(root).split, seed=3)
    names = np.array(split["split"].to_pylist())
    assert split.schema.equals(SPLIT_SCHEMA)
    assert (names == "val").sum() == 6
    assert len(training_rows(split)) == 54
    given_names = np.array(["train", "restval", "val", "test", "database"])
    before = given_names[arrays["split"][np.argsort(arrays["image_id"])]]
    assert set(before[names == "val"]) <= {"train", "restval"}
    assert (before[names != "val"] == names[names != "val"]).all()


def test_what_is_set_aside_depends_on_seed_and_ids_but_not_on_the_order_of_rows(root, tmp_path):
    arrays = without_val(100)
    save(root, arrays)
    shuffle = np.random.default_rng(5).permutation(100)
    other = save(tmp_path / "other", {name: array[shuffle] for name, array in arrays.items()})
    assert split_of(root, 3) == split_of(root, 3) == split_of(other, 3)
    assert split_of(root, 3) != split_of(root, 4)


def test_given_val_rows_are_kept_as_they_are(root):
    save(root, arrays_of())
    assert split_of(root, 1) == split_of(root, 2)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.data())
def test_any_order_of_rows_gives_the_same_tables(tmp_path, data):
    arrays = arrays_of()
    expected = read_feature_folder(save(tmp_path / "a", arrays))
    shuffle = np.array(data.draw(st.permutations(range(N))))
    got = read_feature_folder(
        save(tmp_path / "b", {name: array[shuffle] for name, array in arrays.items()})
    )
    assert got.images.equals(expected.images)
    assert got.split.equals(expected.split)
    assert (got.image[got.order] == expected.image[expected.order]).all()


def test_a_single_training_row_is_too_few_to_set_val_aside(root):
    arrays = arrays_of() | {"split": np.array([0] + [3] * 11, dtype=np.uint8)}
    split = read_feature_folder(save(root, arrays)).split
    fails_with(lambda: set_val_aside(split, 0), "split.npy", "no val row", "only 1 train")


def put(name: str, row: object, value: object) -> Callable[[dict[str, np.ndarray]], None]:
    return lambda arrays: arrays[name].__setitem__(row, value)


def become(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[dict], None]:
    return lambda arrays: arrays.__setitem__(name, change(arrays[name]))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (put("image", (7, 2), np.nan), ["image.npy", "row 7", "NaN"]),
        (put("image", (11, 0), -np.inf), ["image.npy", "row 11", "infinity"]),
        (put("text", (3, 1), np.inf), ["text.npy", "row 3"]),
        (become("image", lambda a: a.astype(np.float64)), ["image.npy", "float64", "float16"]),
        (become("image", lambda a: a[0]), ["image.npy", "(6,)", "(N, D)"]),
        (become("image", lambda a: a[:-1]), ["image.npy", "11 rows", "12"]),
        (become("image", lambda a: a[:, :0]), ["image.npy", "(12, 0)"]),
        (become("image", np.asfortranarray), ["image.npy", "Fortran", "ascontiguousarray"]),
        (become("text", lambda a: a[:-1]), ["text.npy", "11 rows", "caption_offset.npy"]),
        (become("text", lambda a: a[:, None, None]), ["text.npy", "(N, D) or (N, T, D)"]),
        (become("text", lambda a: a.astype(np.int32)), ["text.npy", "int32"]),
        (become("text", lambda a: a[:, None][:, :0]), ["text.npy", "(0, 5)"]),
        (put("image", slice(None), 3.0), ["image.npy", "all 12 rows are equal"]),
        (put("text", slice(None), 0.0), ["text.npy", "rows are equal"]),
        (put("labels", slice(None), 0), ["labels.npy", "no image has a label"]),
        (put("labels", (8, 1), 2), ["labels.npy", "row 8 holds 2", "0 or 1"]),
        (become("labels", lambda a: a.astype(bool)), ["labels.npy", "bool", "uint8"]),
        (become("labels", lambda a: a[:, :3]), ["labels.npy", "3 columns", "4 names"]),
        (become("labels", lambda a: a[:-1]), ["labels.npy", "11 rows"]),
        (become("image_id", lambda a: a[np.r_[0:11, 2]]), ["image_id.npy", "rows 2 and 11"]),
        (become("image_id", lambda a: a.astype(np.int32)), ["image_id.npy", "int32", "int64"]),
        (become("image_id", lambda a: a[:0]), ["image_id.npy", "no rows"]),
        (become("image_id", lambda a: a[:, None]), ["image_id.npy", "(12, 1)"]),
        (put("split", 6, 5), ["split.npy", "row 6 is 5", "3 test", "4 database"]),
        (become("split", lambda a: a[:-1]), ["split.npy", "11 rows"]),
        (become("split", lambda a: a.astype(np.int64)), ["split.npy", "int64"]),
        (put("split", slice(None), 3), ["split.npy", "train"]),
        (put("split", slice(None), 0), ["split.npy", "one test row"]),
        (
            lambda arrays: arrays.update(image=np.full((N, 6), None)),
            ["image.npy", "Python objects"],
        ),
    ],
)  # fmt: skip
def test_bad_arrays_are_named_with_file_and_row(root, spoil, words, monkeypatch):
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 24)  # one row of image.npy, six of labels
    arrays = arrays_of()
    arrays["split"] = arrays["split"].copy()
    spoil(arrays)
    save(root, arrays)
    fails_with(lambda: read_feature_folder(root), *words)


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        (OFFSET[:-1], ["12 numbers", "N + 1 = 13"]),
        (OFFSET + 1, ["from 1 to 19", "18 rows"]),
        (np.r_[OFFSET[:-1], 17], ["from 0 to 17"]),
        (np.r_[OFFSET[:4], OFFSET[3], OFFSET[5:]], ["row 3", "6 to 6", "at least one"]),
        (OFFSET.astype(np.int32), ["int32", "int64"]),
    ],
)
def test_bad_caption_offsets_are_named(root, offset, words):
    save(root, arrays_of() | ragged_text() | {"caption_offset": offset})
    fails_with(lambda: read_feature_folder(root), "caption_offset.npy", *words)


def test_offsets_beside_captions_of_a_fixed_number_are_refused(root):
    text = np.zeros((N, T, 5), dtype=np.float32)
    save(root, arrays_of() | {"text": text, "caption_offset": OFFSET})
    fails_with(lambda: read_feature_folder(root), "text.npy", "beside caption_offset.npy")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"a": 1}, ["must be a list"]),
        ([], ["must be a list"]),
        (["a", "b", 3, "d"], ["entry 2 is 3"]),
        (["a", "b", " ", "d"], ["entry 2"]),
        (["a", "b", "a", "d"], ["'a' stands twice"]),
    ],
)
def test_bad_categories_are_named(root, names, words):
    save(root, arrays_of(), names)
    fails_with(lambda: read_feature_folder(root), "categories.json", *words)


def test_missing_files_are_listed(root):
    fails_with(lambda: read_feature_folder(root), "image.npy, text.npy", "root")
    save(root, arrays_of())
    (root / "split.npy").unlink()
    fails_with(lambda: read_feature_folder(root), ": split.npy not there")


def test_a_folder_that_does_not_exist_is_said_to_be_missing(root):
    fails_with(lambda: read_feature_folder(root / "absent"), "absent: no such folder", "root")


def test_a_truncated_array_is_named(root):
    save(root, arrays_of())
    data = (root / "image.npy").read_bytes()
    (root / "image.npy").write_bytes(data[:-10])
    fails_with(lambda: read_feature_folder(root), "image.npy", "not a readable")


def test_reading_and_copying_need_little_memory_however_large_the_arrays(
    root, tmp_path, monkeypatch
):
    import tracemalloc

    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 1 << 16)
    arrays = arrays_of(4000)
    arrays["image_id"] = np.random.default_rng(0).permutation(4000).astype(np.int64)
    arrays["image"] = np.ones((4000, 1000), dtype=np.float32)
    arrays["image"][0] = 2
    save(root, arrays)
    tracemalloc.start()
    copy_features(read_feature_folder(root), tmp_path / "out", "float16")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < arrays["image"].nbytes / 4


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc: Linux only")
def test_a_folder_larger_than_its_blocks_takes_the_memory_of_blocks(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 1 << 20)
    n = 40_000
    arrays = {
        "image": np.ones((n, 256), dtype=np.float16),  # 20 MB
        "text": np.ones((n, 256), dtype=np.float16),
        "labels": np.ones((n, C), dtype=np.uint8),
        "image_id": np.arange(n, dtype=np.int64),
        "split": np.resize(np.array([0, 2, 3], dtype=np.uint8), n),
    }
    arrays["image"][0] = arrays["text"][0] = 2
    save(root, arrays)
    before = file_pages()
    folder = read_feature_folder(root)
    copy_features(folder, tmp_path / "out", "float16")
    assert (file_pages() - before) * os.sysconf("SC_PAGE_SIZE") < 15e6  # libraries too
    np.testing.assert_array_equal(np.load(tmp_path / "out/image.npy"), arrays["image"])


def file_pages() -> int:
    """Pages of files that count as memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[2])
