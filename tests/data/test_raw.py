"""A stage that finds no raw data draws the sample, or says what to get."""

import sys
import types
from pathlib import Path

import pytest

from mmhash.data.raw import ensure_raw, split_file
from mmhash.data.source import prepare_raw

from .conftest import fails_with


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "checkout"))


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


def test_another_picture_of_the_sample_is_another_manifest(coco, drawing, tmp_path):
    root = tmp_path / "sample" / "raw"
    first = prepare_raw("sample", root, False, {})
    picture = root / coco.pictures[0]
    picture.write_bytes(picture.read_bytes()[:-1] + b"\0")
    folder = picture.parent.name
    changed = prepare_raw("sample", root, False, {})
    assert changed["image_sha256"].pop(folder) != first["image_sha256"].pop(folder)
    assert changed == first


def test_pictures_that_the_user_brings_are_counted_and_not_read(coco):
    assert "image_sha256" not in prepare_raw("coco2014", coco.write(), False, {})
