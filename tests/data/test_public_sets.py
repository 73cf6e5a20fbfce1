"""Public retrieval sets: which files are taken, how they are divided, and what is refused."""

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from mmhash.data import row_blocks
from mmhash.data.coco import label_matrix
from mmhash.data.folder import FeatureFolder, copy_features, set_val_aside
from mmhash.data.karpathy import split_counts
from mmhash.data.public_sets import draw_protocol, files_in_use, find_files, read_public_set
from mmhash.data.raw import PUBLIC_SETS, ensure_raw, is_folder_dataset, open_feature_dataset
from mmhash.data.source import prepare_raw

from .conftest import fails_with

DESCRIPTORS = Path(__file__).parents[2] / "data" / "descriptors"
N, C = 60, 10

Arrays = dict[str, np.ndarray]


def descriptor(name: str, **changes: Any) -> dict[str, Any]:
    """The descriptor of a set, with a protocol that fits sixty rows."""
    content = json.loads((DESCRIPTORS / f"{name}.json").read_text())
    if name != "wiki":
        content["protocol"] = {"queries": 10, "training": 20, "val": 5, "seed": 0}
    return content | changes


def arrays_of(n: int = N, classes: int = C, seed: int = 0) -> Arrays:
    stream = np.random.default_rng(seed)
    labels = (stream.random((n, classes)) < 0.3).astype(np.uint8)
    labels[np.arange(n), np.arange(n) % classes] = 1
    return {
        "IAll": stream.standard_normal((n, 8)).astype(np.float32),
        "YAll": (stream.random((n, 12)) < 0.3).astype(np.float64),
        "LAll": labels,
    }


def save_nuswide(root: Path, arrays: Arrays) -> Path:
    """The files of NUS-WIDE-TC10, one array each."""
    root.mkdir(exist_ok=True)
    for key, array in arrays.items():
        savemat(root / f"nus-wide-tc10-{key.lower()}.mat", {key: array})
    return root


def save_wiki(root: Path, n: int = 30, test: int = 10) -> Arrays:
    """The raw files of Wiki: features in MATLAB's format, categories in lists."""
    root.mkdir(exist_ok=True)
    stream = np.random.default_rng(1)
    arrays = {}
    for part, rows in (("tr", n), ("te", test)):
        arrays[f"I_{part}"] = stream.random((rows, 7))
        arrays[f"T_{part}"] = stream.random((rows, 4))
    savemat(root / "raw_features.mat", arrays)
    for name, rows in (("train", n), ("test", test)):
        lines = [f"text-{row}\timage-{row}\t{row % 10 + 1}" for row in range(rows)]
        (root / f"{name}set_txt_img_cat.list").write_text("\n".join(lines) + "\n")
    return arrays


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "set"


def nuswide(root: Path, **changes: Any) -> FeatureFolder:
    return read_public_set(root, descriptor("nuswide", **changes))


def test_wiki_comes_as_it_is_divided_and_its_categories_are_one_hot(root: Path) -> None:
    arrays = save_wiki(root)
    folder = read_public_set(root, descriptor("wiki"))
    assert split_counts(folder.split) == {"test": 10, "train": 30}
    assert folder.split["split"].to_pylist() == ["train"] * 30 + ["test"] * 10
    assert folder.images["image_id"].to_pylist() == list(range(40))
    for name, got in (("I", folder.image), ("T", folder.text)):
        expected = np.concatenate([arrays[f"{name}_tr"], arrays[f"{name}_te"]]).astype(np.float32)
        assert (got == expected).all()
    labels = label_matrix(folder.images, folder.categories)
    assert (labels == np.eye(10)[np.r_[np.arange(30), np.arange(10)] % 10]).all()
    assert folder.categories[9] == {"id": 10, "name": "warfare"}
    assert split_counts(set_val_aside(folder.split, 0)) == {"test": 10, "train": 27, "val": 3}


def test_your_own_image_features_go_before_those_of_the_package(root: Path) -> None:
    save_wiki(root)
    own = {
        part: np.random.default_rng(2).random((n, 16)) for part, n in (("train", 30), ("test", 10))
    }
    for part, array in own.items():
        np.save(root / f"image_{part}.npy", array)
    folder = read_public_set(root, descriptor("wiki"))
    assert (folder.image == np.concatenate(list(own.values())).astype(np.float32)).all()
    (root / "image_test.npy").unlink()
    fails_with(lambda: read_public_set(root, descriptor("wiki")), "7 columns", "has 16")


def test_the_protocol_divides_by_the_seed_of_the_descriptor(root: Path) -> None:
    save_nuswide(root, arrays_of())
    folder = nuswide(root)
    assert split_counts(folder.split) == {"database": 25, "test": 10, "train": 20, "val": 5}
    assert nuswide(root).split.equals(folder.split)
    other = {"queries": 10, "training": 20, "val": 5, "seed": 1}
    assert not nuswide(root, protocol=other).split.equals(folder.split)
    assert set_val_aside(folder.split, 3).equals(folder.split)


@settings(max_examples=40)
@given(st.integers(35, 80), st.integers(0, 5), st.data())
def test_val_comes_from_the_rows_that_are_neither_queries_nor_trained_on(n, seed, data) -> None:
    kept = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=35))))
    sizes = {"queries": 10, "training": 20, "val": 5, "seed": seed}
    numbers = draw_protocol(kept, n, descriptor("nuswide", protocol=sizes), "labels")
    assert np.bincount(numbers[kept], minlength=5).tolist() == [20, 0, 5, 10, len(kept) - 35]
    fewer = draw_protocol(kept, n, descriptor("nuswide", protocol=sizes | {"val": 1}), "labels")
    for number in (0, 3):  # the size of val moves neither queries nor training rows
        assert ((fewer == number) == (numbers == number)).all()


def test_rows_without_a_label_are_left_out_and_counted(root, tmp_path, caplog) -> None:
    arrays = arrays_of()
    bare = [3, 17, 59]
    arrays["LAll"][bare] = 0
    save_nuswide(root, arrays)
    with caplog.at_level(logging.INFO, "mmhash"):
        folder = nuswide(root)
    assert "3 of 60 rows have no label and are left out" in caplog.text
    kept = np.delete(np.arange(N), bare)
    assert folder.images["image_id"].to_pylist() == kept.tolist()
    assert (label_matrix(folder.images, folder.categories) == arrays["LAll"][kept]).all()
    assert sum(split_counts(folder.split).values()) == 57
    copy_features(folder, tmp_path / "out", "float32")
    assert (np.load(tmp_path / "out" / "image.npy") == arrays["IAll"][kept]).all()
    assert (np.load(tmp_path / "out" / "text.npy") == arrays["YAll"][kept]).all()
    assert np.load(tmp_path / "out" / "image_id.npy").tolist() == kept.tolist()


def test_packed_text_and_labels_of_mirflickr(root: Path) -> None:
    root.mkdir()
    stream = np.random.default_rng(3)
    bow = (stream.random((N, 1386)) < 0.05).astype(np.uint8)
    labels = np.eye(24, dtype=np.uint8)[np.arange(N) % 24]
    packed = {
        "bow_packed": np.packbits(bow, axis=1),
        "labels_packed": np.packbits(labels, axis=1),
    }
    np.savez(root / "text_labels.npz", **packed)
    np.save(root / "image.npy", stream.random((N, 8)))
    folder = read_public_set(root, descriptor("mirflickr25k"))
    assert (folder.text == bow).all()
    assert (label_matrix(folder.images, folder.categories) == labels).all()
    packed["bow_packed"][7, -1] |= 1
    np.savez(root / "text_labels.npz", **packed)
    fails_with(
        lambda: read_public_set(root, descriptor("mirflickr25k")),
        "text_labels.npz, bow_packed", "row 7", "beyond column 1386",
    )  # fmt: skip
    np.savez(root / "text_labels.npz", **packed | {"bow_packed": bow})
    fails_with(lambda: read_public_set(root, descriptor("mirflickr25k")), "bow_packed", "(N, 174)")


def test_features_in_npy_stay_memory_mapped_and_are_not_changed(root: Path) -> None:
    root.mkdir()
    arrays = arrays_of()
    for name, key in (("image", "IAll"), ("text", "YAll"), ("labels", "LAll")):
        np.save(root / f"{name}.npy", arrays[key])
    folder = nuswide(root)
    assert isinstance(folder.image, np.memmap)
    assert folder.text.dtype == np.float32
    assert list(files_in_use(root, descriptor("nuswide"))) == [
        "image.npy",
        "labels.npy",
        "text.npy",
    ]


def test_files_may_lie_one_folder_below(root: Path) -> None:
    save_nuswide(root, arrays_of())
    (root / "YAll").mkdir()
    (root / "nus-wide-tc10-yall.mat").rename(root / "YAll" / "nus-wide-tc10-yall.mat")
    assert "YAll/nus-wide-tc10-yall.mat" in files_in_use(root, descriptor("nuswide"))
    assert len(nuswide(root).images) == N


def test_arrays_of_two_packages_are_not_mixed(root: Path) -> None:
    save_nuswide(root, arrays_of())
    (root / "nus-wide-tc10-yall.mat").unlink()
    np.save(root / "text.npy", arrays_of()["YAll"])
    fails_with(lambda: nuswide(root), "not there: text (nus-wide-tc10-yall.mat")


def test_missing_files_say_what_is_looked_for_and_what_is_there(root: Path) -> None:
    save_nuswide(root, arrays_of())
    (root / "nus-wide-tc10-iall.mat").unlink()
    fails_with(
        lambda: find_files(root, descriptor("nuswide")),
        str(root), "not there: image (image.npy or", "nus-wide-tc10-iall.mat",
        "found beside it: nus-wide-tc10-lall.mat, nus-wide-tc10-yall.mat",
        "code of cross-modal hashing", "datasets.nuswide.root",
    )  # fmt: skip


def test_the_published_counts_are_asserted_on_request(root: Path) -> None:
    save_nuswide(root, arrays_of())
    allowed = descriptor("nuswide", counts={"all": [60]})
    assert len(read_public_set(root, allowed, strict_counts=True).images) == N
    fails_with(
        lambda: read_public_set(root, descriptor("nuswide"), strict_counts=True),
        "nus-wide-tc10-lall.mat, LAll: 60 rows", "186,577", "datasets.nuswide.strict_counts=false",
    )  # fmt: skip
    save_wiki(root)
    fails_with(
        lambda: read_public_set(root, descriptor("wiki"), strict_counts=True),
        "trainset_txt_img_cat.list", "30 rows", "2,173 train rows",
    )  # fmt: skip


def put(key: str, row: object, value: object) -> Callable[[Arrays], None]:
    return lambda arrays: arrays[key].__setitem__(row, value)


def become(key: str, change: Callable[[np.ndarray], object]) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.__setitem__(key, change(arrays[key]))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (put("IAll", (7, 2), np.nan), ["iall.mat, IAll: row 7", "NaN"]),
        (put("YAll", (59, 0), -np.inf), ["yall.mat, YAll: row 59", "infinity"]),
        (put("YAll", (4, 1), 1e39), ["yall.mat, YAll: row 4", "beyond 3.4", "float32"]),
        (become("IAll", lambda a: a * 1j), ["iall.mat, IAll", "complex"]),
        (
            become("YAll", lambda a: np.where(a > 2, 0, a).astype(np.int64) * (1 << 40)),
            ["yall.mat, YAll: row 0", "beyond 16777216"],
        ),
        (
            become("YAll", lambda a: np.full(a.shape, np.iinfo(np.int64).min)),
            ["YAll: row 0", "beyond 16777216"],
        ),
        (become("IAll", lambda a: np.repeat(a[:1], N, axis=0)), ["IAll", "all 60 rows are equal"]),
        (become("YAll", np.zeros_like), ["YAll", "all 60 rows are equal"]),
        (become("IAll", lambda a: a[:-1]), ["IAll: shape is (59, 8)", "LAll has 60 rows"]),
        (become("YAll", lambda a: a.T), ["YAll: shape is (12, 60)", "looks transposed"]),
        (become("IAll", lambda a: a[:, :4].reshape(N, 2, 2, 1) + np.zeros(3)), ["pictures are no"]),
        (become("IAll", lambda a: [{"a": 1}]), ["IAll", "cell", "array of numbers"]),
        (become("LAll", np.zeros_like), ["lall.mat, LAll", "all zero"]),
        (put("LAll", (8, 1), 2), ["LAll: row 8 holds 2", "0 or 1"]),
        (become("LAll", lambda a: a[:, :9]), ["LAll: shape is (60, 9)", "(N, 10)"]),
        (become("LAll", lambda a: a * 1j), ["LAll", "complex"]),
        (become("LAll", lambda a: np.arange(N) % 10), ["LAll: row 0 holds 0", "from 1 to 10"]),
        (become("LAll", lambda a: np.full(N, np.nan)), ["LAll: row 0 holds nan", "from 1 to 10"]),
    ],
)  # fmt: skip
def test_bad_arrays_are_named_with_file_key_and_row(root, spoil, words, monkeypatch) -> None:
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 200)  # a few rows
    arrays = arrays_of()
    spoil(arrays)
    save_nuswide(root, arrays)
    fails_with(lambda: nuswide(root), *words)


def test_too_few_rows_for_the_protocol_are_counted_after_the_labelless(root: Path) -> None:
    arrays = arrays_of(36)
    arrays["LAll"][:2] = 0
    save_nuswide(root, arrays)
    fails_with(lambda: nuswide(root), "34 rows with a label", "10 queries + 20 training + 5 val")


def test_a_wiki_part_without_a_category_names_list_and_line(root: Path) -> None:
    save_wiki(root)
    path = root / "testset_txt_img_cat.list"
    path.write_text("".join(f"t\ti\t{row % 11 + 1}\n" for row in range(11)))
    fails_with(lambda: read_public_set(root, descriptor("wiki")), "column 3: row 10 holds 11")
    path.write_text("t\ti\t1\n" * 9)
    fails_with(lambda: read_public_set(root, descriptor("wiki")), "I_te", "column 3 has 9 rows")


def test_a_wrong_key_and_a_truncated_file_are_named(root: Path) -> None:
    save_nuswide(root, arrays_of())
    path = root / "nus-wide-tc10-yall.mat"
    savemat(path, {"Y": np.ones((N, 2))})
    fails_with(lambda: nuswide(root), str(path), "no array named YAll; it holds Y")
    path.write_bytes(path.read_bytes()[:-20])
    fails_with(lambda: nuswide(root), str(path))


def test_matlab_73_without_h5py_is_one_line(root, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    save_nuswide(root, arrays_of())
    (root / "nus-wide-tc10-iall.mat").write_bytes(b"MATLAB 7.3 MAT-file, Platform".ljust(512))
    fails_with(lambda: nuswide(root), "iall.mat", "MATLAB 7.3", "requirements-mat73.txt")


def test_a_value_too_large_for_float16_names_the_users_file_and_row(root, tmp_path) -> None:
    arrays = arrays_of()
    arrays["LAll"][2] = 0  # rows are those of the file, whatever is left out
    arrays["YAll"][5, 3] = 70_000
    save_nuswide(root, arrays)
    fails_with(
        lambda: copy_features(nuswide(root), tmp_path / "out", "float16"),
        "nus-wide-tc10-yall.mat, YAll: row 5", "features.dtype=float32",
    )  # fmt: skip


def test_stages_open_public_sets_like_features(root, monkeypatch) -> None:
    monkeypatch.chdir(DESCRIPTORS.parents[1])
    save_wiki(root)
    assert all(is_folder_dataset(name) for name in ("features", *PUBLIC_SETS))
    assert not any(is_folder_dataset(name) for name in ("sample", "coco2014"))
    ensure_raw("wiki", root)
    manifest = prepare_raw("wiki", root, False, descriptor("wiki"))
    assert [entry["path"] for entry in manifest["files"]] == [
        "raw_features.mat", "testset_txt_img_cat.list", "trainset_txt_img_cat.list"
    ]  # fmt: skip
    assert len(open_feature_dataset("wiki", root).images) == 40
    fails_with(lambda: ensure_raw("nuswide", root), "nus-wide-tc10-lall.mat")


@pytest.mark.parametrize("name", PUBLIC_SETS)
def test_descriptors_give_each_array_a_place_in_each_part(name: str) -> None:
    content = descriptor(name)
    parts = set(content["counts"])
    assert parts == ({"train", "test"} if name == "wiki" else {"all"})
    for layout in content["layouts"]:
        assert set(layout) == {"image", "text", "labels"}
        assert all(set(places) == parts for places in layout.values())
    assert len(set(content["categories"])) == {"wiki": 10, "mirflickr25k": 24, "nuswide": 10}[name]
    assert "http" not in content["get"]


def test_real_wiki_has_its_published_shapes_and_split(real_data: Path, tmp_path: Path) -> None:
    root = real_data / "wiki"
    folder = read_public_set(root, descriptor("wiki"), strict_counts=True)
    assert (folder.image.shape, folder.text.shape) == ((2866, 128), (2866, 10))
    assert split_counts(folder.split) == {"test": 693, "train": 2173}
    assert split_counts(set_val_aside(folder.split, 0)) == {"test": 693, "train": 1956, "val": 217}
    labels = label_matrix(folder.images, folder.categories)
    assert (labels.sum(axis=1) == 1).all()
    with np.load(root / "wiki.npz", allow_pickle=False) as arrays:
        given_labels = np.concatenate([arrays["label_train"], arrays["label_test"]])
        assert (labels.argmax(axis=1) + 1 == given_labels).all()
        assert (folder.text[2173:] == arrays["text_test"]).all()
    copy_features(folder, tmp_path, "float32")
    assert (np.load(tmp_path / "image.npy") == folder.image).all()
    assert list(files_in_use(root, descriptor("wiki"))) == ["wiki.npz"]


def test_real_mirflickr_has_text_and_labels_and_asks_for_image_features(
    real_data: Path, tmp_path: Path
) -> None:
    source = real_data / "mirflickr25k"
    content = json.loads((DESCRIPTORS / "mirflickr25k.json").read_text())
    fails_with(
        lambda: find_files(source, content),
        str(source), "not there: image (image.npy)", "found beside it: text_labels.npz",
        "encode the pictures yourself", "datasets.mirflickr25k.root",
    )  # fmt: skip
    (tmp_path / "text_labels.npz").symlink_to((source / "text_labels.npz").resolve())
    stand_in = np.arange(20015, dtype=np.float32)[:, None] % 7  # no features: only so many rows
    np.save(tmp_path / "image.npy", stand_in)
    folder = read_public_set(tmp_path, content, strict_counts=True)
    assert folder.text.shape == (20015, 1386)
    assert round(100 * float(folder.text.mean()), 2) == 0.33
    assert split_counts(folder.split) == {
        "database": 12015, "test": 2000, "train": 5000, "val": 1000
    }  # fmt: skip
    labels = label_matrix(folder.images, folder.categories)
    assert labels.shape == (20015, 24)
    assert labels.any(axis=1).all()
