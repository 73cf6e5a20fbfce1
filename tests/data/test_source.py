"""Raw data are found, downloaded or asked for; the manifest says the same of them everywhere."""

import hashlib
import json
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mmhash.data import source
from mmhash.data.coco import how_to_get_coco
from mmhash.data.karpathy import COCO2014_COUNTS
from mmhash.data.raw import ensure_raw, split_file
from mmhash.data.source import prepare_raw

from .conftest import fails_with

DESCRIPTORS = Path(__file__).parents[2] / "data" / "descriptors"


@pytest.fixture(autouse=True)
def checkout(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "checkout"))
    return tmp_path / "checkout"


def snapshot(root: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }


def test_the_manifest_of_coco_names_files_by_checksum_and_counts_pictures(coco):
    root = coco.write()
    before = snapshot(root)
    manifest = prepare_raw("coco2014", root, False, {})
    assert snapshot(root) == before
    assert manifest["dataset"] == "coco2014"
    assert manifest["image_counts"] == {"train2014": 2, "val2014": 3}
    assert [entry["path"] for entry in manifest["files"]] == [
        "annotations/captions_train2014.json",
        "annotations/captions_val2014.json",
        "annotations/instances_train2014.json",
        "annotations/instances_val2014.json",
        "dataset_coco.json",
    ]
    for entry in manifest["files"]:
        data = (root / entry["path"]).read_bytes()
        assert entry["bytes"] == len(data)
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()


def test_the_manifest_is_the_same_wherever_the_data_lie(coco, tmp_path):
    here = prepare_raw("coco2014", coco.write(), False, {})
    coco.root = tmp_path / "else" / "where"
    coco.pictures = [name.removeprefix("images/") for name in coco.pictures]
    assert prepare_raw("coco2014", coco.write(), False, {}) == here


def test_files_that_are_no_pictures_are_not_counted(coco):
    root = coco.write()
    (root / "images" / "train2014" / "notes.txt").touch()
    (root / "images" / "train2014" / ".x.jpg.part").touch()
    assert prepare_raw("coco2014", root, False, {})["image_counts"]["train2014"] == 2


def test_missing_coco_says_what_to_get(tmp_path):
    root = tmp_path / "data" / "coco"
    for call in (
        lambda: ensure_raw("coco2014", root),
        lambda: prepare_raw("coco2014", root, True, {}),
    ):
        fails_with(call, how_to_get_coco(root), "13.5 GB")
    assert not root.exists()


def test_a_missing_split_names_the_switch_and_the_archive(coco):
    del coco.files["dataset_coco.json"]
    root = coco.write()
    fails_with(
        lambda: prepare_raw("coco2014", root, False, {}),
        "datasets.coco2014.download=true",
        "caption_datasets.zip",
    )


@pytest.fixture
def served_split(coco, tmp_path, monkeypatch):
    """An archive with the split, a ``fetch`` that copies it, and the descriptor that names it."""
    content = json.dumps(coco.files.pop("dataset_coco.json"))
    archive = tmp_path / "served.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("dataset_flickr8k.json", "{}")
        stream.writestr("dataset_coco.json", content)
    calls = []

    def fetch(url, destination, *, sha256, size):
        calls.append((url, sha256, size))
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.write_bytes(archive.read_bytes())

    monkeypatch.setattr(source, "fetch", fetch)
    split = {
        "url": "https://host/caption_datasets.zip",
        "sha256": None,
        "bytes": None,
        "member": "dataset_coco.json",
        "max_bytes": 10_000,
    }
    return types.SimpleNamespace(calls=calls, content=content, descriptor={"split_file": split})


def test_an_absent_split_is_downloaded_once_and_beside_the_users_folder(
    coco, served_split, checkout
):
    root = coco.write()
    before = snapshot(root)
    first = prepare_raw("coco2014", root, True, served_split.descriptor)
    again = prepare_raw("coco2014", root, True, served_split.descriptor)
    assert first == again == prepare_raw("coco2014", root, False, {})
    assert served_split.calls == [("https://host/caption_datasets.zip", None, None)]
    assert snapshot(root) == before
    assert split_file("coco2014", root).read_text() == served_split.content
    assert [path.name for path in checkout.rglob("*") if path.is_file()] == ["dataset_coco.json"]

    (root / "dataset_coco.json").write_text(served_split.content)
    assert split_file("coco2014", root).parent == root
    assert prepare_raw("coco2014", root, False, {}) == first


def test_a_damaged_download_is_not_kept(coco, served_split, checkout):
    served_split.descriptor["split_file"]["max_bytes"] = 10
    root = coco.write()
    fails_with(lambda: prepare_raw("coco2014", root, True, served_split.descriptor), "more than")
    assert [path for path in checkout.rglob("*") if path.is_file()] == []


def test_features_are_summed_file_by_file(tmp_path):
    root = tmp_path / "features"
    fails_with(lambda: ensure_raw("features", root), "image.npy", "datasets.features.root")
    root.mkdir()
    for name in ("image", "text", "labels", "image_id", "split"):
        np.save(root / f"{name}.npy", np.zeros((2, 2)))
    (root / "categories.json").write_text("[]")
    manifest = prepare_raw("features", root, False, {})
    assert manifest["image_counts"] == {}
    assert len(manifest["files"]) == 6
    np.save(root / "caption_offset.npy", np.zeros(3))
    assert len(prepare_raw("features", root, False, {})["files"]) == 7


def test_descriptors_name_their_dataset_and_what_the_library_asks_for():
    names = {path.stem: json.loads(path.read_text()) for path in DESCRIPTORS.glob("*.json")}
    assert set(names) >= {"sample", "coco2014", "features"}
    assert all(content["dataset"] == name for name, content in names.items())
    coco2014 = names["coco2014"]
    assert coco2014["counts"] == COCO2014_COUNTS
    asked = how_to_get_coco("data/coco")
    for archive in coco2014["archives"]:
        folder, _, name = archive["url"].rpartition("/")
        assert name in asked
        assert folder in asked
        size = archive["bytes"]
        assert (f"{size / 1e9:.1f} GB" if size > 1e9 else f"{size / 1e6:.0f} MB") in asked
        assert len(archive["sha256"]) == 64
    split = coco2014["split_file"]
    assert split["url"].startswith("https://")
    assert split["sha256"] is None or len(split["sha256"]) == 64
    assert split["member"] == "dataset_coco.json"
