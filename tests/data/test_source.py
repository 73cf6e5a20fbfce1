"""Raw data are found, drawn or asked for; the manifest says what they are, the same everywhere."""

import hashlib
import json
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mmhash.data import source
from mmhash.data.coco import how_to_get_coco
from mmhash.data.karpathy import COCO2014_COUNTS
from mmhash.data.source import ensure_raw, prepare_raw, split_file

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


@pytest.mark.parametrize("left", ["folder", "nothing"])
def test_annotations_without_pictures_say_what_to_get(coco, left):
    coco.pictures = [name for name in coco.pictures if "val2014" in name]
    root = coco.write()
    if left == "folder":
        (root / "images" / "train2014").mkdir()
    fails_with(lambda: ensure_raw("coco2014", root), "train2014: no pictures", "train2014.zip")


def test_a_single_missing_picture_is_left_to_the_extraction(coco):
    coco.pictures.pop(0)
    ensure_raw("coco2014", coco.write())


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


@pytest.fixture
def drawing(coco, monkeypatch):
    """Stand-ins for the drawing of the sample, which has its own tests."""
    drawn = []

    def draw_sample(root, seed=20140, workers=None):
        drawn.append(root)
        coco.root = root
        coco.write()

    def sample_is_complete(root):
        return all((root / name).is_file() for name in [*coco.files, *coco.pictures])

    module = types.ModuleType("mmhash.data.sample.draw")
    module.draw_sample = draw_sample
    module.sample_is_complete = sample_is_complete
    monkeypatch.setitem(sys.modules, "mmhash.data.sample.draw", module)
    return drawn


def test_the_split_of_a_sample_that_is_not_there_is_drawn_with_it(coco, drawing, tmp_path):
    root = tmp_path / "sample" / "raw"
    assert split_file("sample", root) == root / "dataset_coco.json"
    assert drawing == [root]


def test_the_sample_is_drawn_when_a_picture_is_missing_and_only_then(coco, drawing, tmp_path):
    root = tmp_path / "sample" / "raw"
    first = prepare_raw("sample", root, False, {})
    assert drawing == [root]
    assert first["image_counts"] == {"train2014": 2, "val2014": 3}
    ensure_raw("sample", root)
    assert drawing == [root]
    (root / coco.pictures[0]).unlink()
    ensure_raw("sample", root)
    assert drawing == [root, root]
    assert prepare_raw("sample", root, False, {}) == first


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
