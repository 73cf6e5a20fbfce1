from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmhash.changes import added_table, extend, new_image_ids, remove
from mmhash.codes import pack, unpack
from mmhash.collection import Collection, changing, open_collection
from mmhash.errors import InputError
from mmhash.export.rows import Rows, export_rows
from mmhash.files import (
    read_json,
    read_npy,
    read_table,
    sha256_file,
    write_json,
    write_npy,
    write_table,
)
from mmhash.index.kinds import KINDS, build, save


def random_codes(n: int, bytes_: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, bytes_), dtype=np.uint8)


def images_of(collection: Collection) -> pa.Table:
    return read_table(collection.root / "data" / "images.parquet")


def with_images(collection: Collection, images: pa.Table) -> Collection:
    write_table(collection.root / "data" / "images.parquet", images)
    return collection


def codes_of(rows: Rows) -> np.ndarray:
    return np.array([list(code) for code in rows.table["code"].to_pylist()], dtype=np.uint8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bytes_", [2, 8, 32])
def test_codes_are_the_bytes_that_were_indexed_in_their_order(make_collection, kind, bytes_):
    codes = random_codes(300, bytes_)
    rows = export_rows(make_collection(codes, kind=kind))
    assert np.array_equal(codes_of(rows), codes)
    assert rows.table["item"].to_pylist() == list(range(300))
    assert rows.bits == 8 * bytes_


def test_a_row_holds_what_the_collection_says_of_its_item(make_collection):
    collection = make_collection(random_codes(50))
    table = export_rows(collection).table
    labels = read_npy(collection.folder / "labels.npy")
    by_id = {row["image_id"]: row for row in images_of(collection).to_pylist()}
    image_id = read_npy(collection.folder / "image_id.npy")
    for row, owner, truth in zip(table.to_pylist(), image_id, labels, strict=True):
        image = by_id[owner]
        assert row["image_id"] == owner
        assert row["picture"] == f"{image['folder']}/{image['file_name']}"
        assert row["caption"] == image["captions"][0]
        chosen = [collection.categories[column] for column in np.flatnonzero(truth)]
        assert row["category_ids"] == [category["id"] for category in chosen]
        assert row["categories"] == [category["name"] for category in chosen]


def test_the_caption_is_the_one_that_the_code_was_made_with(make_collection):
    collection = make_collection(random_codes(4))
    write_npy(collection.folder / "caption.npy", np.array([0, 1, -1, 1], dtype=np.int32))
    table = export_rows(collection).table
    assert table["caption"].to_pylist() == ["caption 0", "another", "caption 2", "another"]
    assert table["caption_number"].to_pylist() == [0, 1, -1, 1]
    write_npy(collection.folder / "caption.npy", np.array([0, 2, 0, 0], dtype=np.int32))
    with pytest.raises(InputError, match="has no caption 2"):
        export_rows(collection)


def test_several_items_of_one_image_and_images_that_are_not_indexed(make_collection):
    collection = make_collection(random_codes(3))
    known = images_of(collection)["image_id"].to_pylist()
    write_npy(collection.folder / "image_id.npy", np.array([known[2], known[0], known[2]]))
    table = export_rows(with_images(collection, images_of(collection).take(pa.array([2, 0])))).table
    assert table["image_id"].to_pylist() == [known[2], known[0], known[2]]
    assert table["picture"].to_pylist() == [f"train2014/{known[i]}.jpg" for i in (2, 0, 2)]


def test_without_pictures_the_path_is_empty(make_collection):
    collection = make_collection(random_codes(3))
    bare = pa.array([""] * 3)
    images = images_of(collection).set_column(2, "file_name", bare)
    table = export_rows(with_images(collection, images)).table
    assert table["picture"].to_pylist() == ["", "", ""]
    flat = images_of(collection).set_column(1, "folder", bare)
    table = export_rows(with_images(collection, flat)).table
    assert all("/" not in picture for picture in table["picture"].to_pylist())


def test_what_the_user_added_and_removed_is_exported_as_it_is_searched(make_collection):
    built = make_collection(random_codes(10))
    codes, hashes = random_codes(2, seed=1), ["a" * 64, "b" * 64]
    soft = unpack(codes).astype(np.float32) * 2 - 1
    ids = new_image_ids(built, 2)
    items = added_table(
        ids, ["/x/1.jpg", "/x/2.jpg"], hashes, ["a zebra", None], [["zebra"], ["class 1", "zebra"]]
    )
    with changing(built.root):
        extend(built, codes, soft, items, ["zebra"])
    gone = int(read_npy(built.folder / "image_id.npy")[0])
    with changing(built.root):
        remove(open_collection(built.root), [gone], 1)
    rows = export_rows(open_collection(built.root))
    assert rows.origin["version"] == 2
    assert rows.categories[-1]["name"] == "zebra"
    assert gone not in rows.table["image_id"].to_pylist()
    last = rows.table.slice(9).to_pylist()
    assert [row["image_id"] for row in last] == ids.tolist()
    assert [row["caption"] for row in last] == ["a zebra", ""]
    assert [row["picture"] for row in last] == [f"collection/pictures/{h}.jpg" for h in hashes]
    assert [row["categories"] for row in last] == [["zebra"], ["class 1", "zebra"]]
    assert np.array_equal(codes_of(rows)[9:], codes)
    assert np.array_equal(codes_of(rows)[:9], random_codes(10)[1:])


def test_real_vectors_are_refused_in_one_line(make_collection):
    collection = make_collection(random_codes(3))
    file = collection.folder / "index.faiss"
    save(build(np.eye(3, dtype=np.float32)), file)
    write_json(collection.folder / "meta.json", {"kind": "flat", "sha256": sha256_file(file)})
    with pytest.raises(InputError, match=r"holds real vectors.*hash.enabled=true"):
        export_rows(collection)


def test_files_that_do_not_belong_together_are_refused(make_collection):
    codes = random_codes(5)
    collection = make_collection(codes)
    meta = read_json(collection.folder / "meta.json")
    write_json(collection.folder / "meta.json", {**meta, "sha256": "0" * 64})
    with pytest.raises(InputError, match=r"not the index that .* describes"):
        export_rows(collection)
    (collection.folder / "index.faiss").unlink()
    with pytest.raises(InputError, match="no such file; run build_index"):
        export_rows(collection)
    for name in ("image_id", "caption", "labels"):
        collection = make_collection(codes)
        array = read_npy(collection.folder / f"{name}.npy")
        write_npy(collection.folder / f"{name}.npy", array[:-1])
        with pytest.raises(InputError, match=f"{name}.npy: has shape"):
            export_rows(collection)
    collection = make_collection(codes)
    with pytest.raises(InputError, match=r"which data/images\.parquet lacks"):
        export_rows(with_images(collection, images_of(collection).slice(1)))
    with pytest.raises(InputError, match=r"which data/images\.parquet lacks"):
        export_rows(with_images(collection, images_of(collection).slice(0, 0)))


def test_the_sample_is_exported_as_it_is_searched(repository: Path):
    if not (repository / "index" / "soft.npy").is_file():
        pytest.skip("the sample has not been run; dvc repro")
    rows = export_rows(open_collection(repository))
    soft = read_npy(repository / "index" / "soft.npy")
    assert np.array_equal(codes_of(rows), pack((soft >= 0).astype(np.uint8)))
