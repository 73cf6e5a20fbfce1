"""What adding and removing make of the arrays, against a naive model of a database."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhash.changes import (
    Contents,
    added_table,
    drop_category,
    extend,
    new_image_ids,
    read_contents,
    rebuild,
    remove,
    write_contents,
)
from mmhash.codes import binarise, pack
from mmhash.collection import (
    Collection,
    changing,
    open_built,
    open_collection,
    open_version,
    read_state,
    undo,
)
from mmhash.errors import InputError
from mmhash.files import sha256_file, write_table
from mmhash.index.kinds import KINDS
from mmhash.params import load_params
from mmhash.retriever import open_retriever

from .conftest import NAMES, soft_codes

MakeRun = Callable[..., Path]
N, BITS = 30, 16


def additions(collection: Collection, labels: list[list[str]]) -> pa.Table:
    n = len(labels)
    ids = new_image_ids(collection, n)
    hashes = [f"{int(number):064x}" for number in ids]
    return added_table(ids, [f"/p/{k}.jpg" for k in range(n)], hashes, ["c"] * n, labels)


def add(
    root: Path, soft: np.ndarray, labels: list[list[str]], new: list[str] | None = None
) -> Collection:
    with changing(root):
        before = open_collection(root)
        return extend(before, pack(binarise(soft)), soft, additions(before, labels), new)


def take_out(root: Path, ids: list[int], least: int = 1) -> Collection:
    with changing(root):
        return remove(open_collection(root), ids, least)


def database_bytes(folder: Path) -> dict[str, str]:
    return {
        file.name: sha256_file(file)
        for file in folder.iterdir()
        if file.suffix in (".npy", ".faiss") or file.name == "meta.json"
    }


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture
def root(tmp_path: Path, make_run: MakeRun) -> Path:
    return make_run(tmp_path / "run")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("captions", ["first", "all", "mean"])
def test_an_added_item_is_found_and_votes_for_its_categories(
    tmp_path: Path, repository: Path, make_run: MakeRun, kind: str, captions: str
) -> None:
    root = make_run(tmp_path / "run", kind, captions)
    soft = soft_codes(7, 2)
    after = add(root, soft, [["okapi", "dog"], ["cat"]], ["okapi"])
    knn = load_params(repository / "params.yaml").knn.model_copy(update={"k": 3})
    for distance in ("hamming", "cosine", "asymmetric", "hybrid"):
        setting = knn.model_copy(update={"distance": distance})
        scores, table = open_retriever(setting, after.folder).score(pack(binarise(soft)), soft)
        assert scores.shape == (2, 4)
        assert [row[0] for row in table["neighbour_ids"].to_pylist()] == [501, 502]
        assert scores[0, 3] > 0.2
    contents = read_contents(after.folder)
    assert contents.caption[-1] == (-1 if captions == "mean" else 0)
    assert contents.soft is not None
    assert contents.soft.dtype == np.float16
    np.testing.assert_array_equal(contents.labels[-2:], [[0, 1, 0, 1], [1, 0, 0, 0]])


@pytest.mark.parametrize("kind", KINDS)
def test_adding_and_removing_the_same_gives_the_bytes_of_the_index(
    tmp_path: Path, make_run: MakeRun, kind: str
) -> None:
    root = make_run(tmp_path / "run", kind)
    after = add(root, soft_codes(7, 5), [["cat"]] * 5)
    assert database_bytes(after.folder) != database_bytes(root / "index")
    back = take_out(root, after.items["image_id"].to_pylist())
    assert database_bytes(back.folder) == database_bytes(root / "index")
    assert back.items.num_rows == 0
    assert back.removed == []


def test_a_category_that_is_dropped_leaves_its_pictures_and_their_other_labels(root: Path) -> None:
    add(root, soft_codes(7, 2), [["okapi", "dog"], ["okapi"]], ["okapi", "quokka"])
    with changing(root):
        after = drop_category(open_collection(root), "okapi")
    assert [c["name"] for c in after.categories] == [*NAMES, "quokka"]
    assert after.items["labels"].to_pylist() == [["dog"], []]
    labels = read_contents(after.folder).labels
    np.testing.assert_array_equal(labels[-2:], [[0, 1, 0, 0], [0, 0, 0, 0]])
    undo(root)
    assert len(open_collection(root).categories) == 5


def test_a_category_of_the_model_cannot_be_dropped(root: Path) -> None:
    with changing(root), pytest.raises(InputError, match="the model was trained with"):
        drop_category(open_collection(root), "dog")


def test_an_id_is_never_used_twice(root: Path) -> None:
    assert add(root, soft_codes(1, 1), [["cat"]]).items["image_id"].to_pylist() == [501]
    take_out(root, [501])
    undo(root)
    undo(root)
    assert add(root, soft_codes(1, 1), [["cat"]]).items["image_id"].to_pylist() == [502]


def test_ids_that_no_number_can_hold_are_one_line(root: Path) -> None:
    write_table(root / "data/images.parquet", pa.table({"image_id": [2**63 - 2]}))
    with pytest.raises(InputError, match="no image id is left"):
        new_image_ids(open_collection(root), 2)


@pytest.mark.parametrize(
    ("ids", "least", "message"),
    [
        ([99, 100], 1, "no image 99 in the database"),
        ([2**70, -1], 1, "no image -1, 1180591620717411303424 in"),
        (list(range(7)), 1, "no image 0, 1, 2, 3, 4 and 2 more in"),
        ([100], 30, r"29 items would be left, and knn\.k = 30 neighbours vote"),
    ],
)
def test_what_cannot_be_removed_is_one_line(
    root: Path, ids: list[int], least: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        take_out(root, ids, least)
    assert open_collection(root).version == 0


def test_removing_takes_every_item_of_an_image(tmp_path: Path, make_run: MakeRun) -> None:
    root = make_run(tmp_path / "run", captions="all")
    after = take_out(root, [100, 110])
    assert len(read_contents(after.folder).image_id) == 2 * (N - 2)


def test_codes_of_another_length_are_one_line(root: Path) -> None:
    with changing(root):
        before = open_collection(root)
        table = additions(before, [["cat"]])
        with pytest.raises(InputError, match="they are of two trainings"):
            extend(before, np.zeros((1, 4), dtype=np.uint8), np.zeros((1, 32)), table)
        with pytest.raises(InputError, match="soft codes of 1 items"):
            extend(before, np.zeros((1, 2), dtype=np.uint8), None, table)


def test_real_vectors_of_a_model_without_hash_layer_can_be_added(
    tmp_path: Path, make_run: MakeRun
) -> None:
    root = make_run(tmp_path / "run")
    shutil.rmtree(root / "index")
    (root / "index").mkdir()
    z = np.random.default_rng(0).normal(size=(N, 8)).astype(np.float32)
    labels = np.zeros((N, 3), dtype=np.uint8)
    ids = np.arange(100, 100 + N)
    meta = {"kind": "flat", "metric": "cosine", "bits": 0, "captions": "first"}
    caption = np.zeros(N, dtype=np.int32)
    write_contents(root / "index", Contents(z, None, labels, ids, caption, meta))
    with changing(root):
        before = open_collection(root)
        after = extend(before, 5 * z[:1], None, additions(before, [["cat"]]))
    found = read_contents(after.folder)
    np.testing.assert_allclose(found.items[-1], found.items[0], atol=1e-6)
    assert found.soft is None


def test_after_another_training_the_changes_are_made_again(
    tmp_path: Path, make_run: MakeRun
) -> None:
    root = make_run(tmp_path / "run")
    add(root, soft_codes(7, 2), [["okapi"], ["cat"]], ["okapi"])
    take_out(root, [100])
    make_run(tmp_path / "other", seed=1)
    for name in ("index", "model"):
        shutil.rmtree(root / name)
        shutil.copytree(tmp_path / "other" / name, root / name)
    # the new data set has an image where an added one was
    write_table(root / "data/images.parquet", pa.table({"image_id": [*range(100, 130), 501]}))
    soft = soft_codes(8, 2)
    with changing(root):
        built = read_contents(root / "index")
        stale = open_version(root, read_state(root).current)
        after = rebuild(stale, open_built(root), pack(binarise(soft)), soft)
    assert open_collection(root).version == after.version == 3
    assert after.removed == [100]
    assert after.items["image_id"].to_pylist() == [503, 502]
    contents = read_contents(after.folder)
    np.testing.assert_array_equal(contents.items[:-2], built.items[1:])
    np.testing.assert_array_equal(contents.items[-2:], pack(binarise(soft)))
    assert contents.labels[-2].tolist() == [0, 0, 0, 1]
    assert undo(root) == (3, 0)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(["add", "remove", "undo", "drop"]), st.integers(0, 99))))
def test_any_sequence_of_changes_is_what_a_list_of_pictures_would_be(
    tmp_path_factory: pytest.TempPathFactory, make_run: MakeRun, steps: list[tuple[str, int]]
) -> None:
    root = make_run(tmp_path_factory.mktemp("sequence") / "run")
    built = read_contents(root / "index")
    rows = [
        (int(image), built.items[row].tobytes(), {NAMES[c] for c in np.flatnonzero(labels)})
        for row, (image, labels) in enumerate(zip(built.image_id, built.labels, strict=True))
    ]
    past: list[tuple[list, list[str]]] = []
    names = list(NAMES)
    for did, number in steps[:12]:
        if did == "add":
            past.append((rows, names))
            soft, new = soft_codes(number, 2), f"new {number}"
            fresh = [] if new in names else [new]
            names = [*names, *fresh]
            labels = [[new], [NAMES[number % 3], new]]
            after = add(root, soft, labels, fresh)
            codes, ids = pack(binarise(soft)), after.items["image_id"].to_pylist()[-2:]
            found = zip(ids, codes, labels, strict=True)
            rows = rows + [(image, code.tobytes(), set(of)) for image, code, of in found]
        elif did == "remove":
            past.append((rows, names))
            gone = rows[number % len(rows)][0]
            rows = [row for row in rows if row[0] != gone]
            take_out(root, [gone])
        elif did == "drop" and len(names) > 3:
            past.append((rows, names))
            name = names[3 + number % (len(names) - 3)]
            names = [other for other in names if other != name]
            rows = [(image, code, labels - {name}) for image, code, labels in rows]
            with changing(root):
                drop_category(open_collection(root), name)
        elif did == "undo" and past and len(past) <= 10:  # of more some are not kept
            rows, names = past.pop()
            undo(root)
    opened = open_collection(root)
    contents = read_contents(opened.folder)
    assert [category["name"] for category in opened.categories] == names
    assert contents.image_id.tolist() == [row[0] for row in rows]
    assert [code.tobytes() for code in contents.items] == [row[1] for row in rows]
    assert [{names[c] for c in np.flatnonzero(of)} for of in contents.labels] == [
        row[2] for row in rows
    ]
    added = {row[0]: row[2] for row in rows if row[0] > 500}
    told = dict(
        zip(opened.items["image_id"].to_pylist(), opened.items["labels"].to_pylist(), strict=True)
    )
    assert {image: set(labels) for image, labels in told.items()} == added
