"""COCO 2014 from the official archives, over a local server that cuts connections."""

import hashlib
import io
import json
import shutil
import zipfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmhash.data.raw import split_file
from mmhash.data.source import prepare_raw
from mmhash.errors import InputError

from .conftest import answering, fails_with, send

DESCRIPTOR = Path(__file__).resolve().parents[2] / "data/descriptors/coco2014.json"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "checkout"))
    return tmp_path / "checkout"


@pytest.fixture
def web(coco, tmp_path, monkeypatch):
    """The four archives behind HTTP, and the descriptor with their addresses, sizes and sums.

    ``requests`` counts by archive; ``cut`` ends that many answers of each archive early.
    """
    official = coco.write()
    files = [path for path in official.rglob("*") if path.is_file()]
    packed = {
        "annotations_trainval2014.zip": {"annotations/person_keypoints_val2014.json": b"{}"},
        "train2014.zip": {},
        "val2014.zip": {},
        "caption_datasets.zip": {},
    }
    for path in files:
        name = path.relative_to(official).as_posix().removeprefix("images/")
        first = name.split("/")[0]
        archive = {
            "annotations": "annotations_trainval2014",
            "dataset_coco.json": "caption_datasets",
        }
        packed[f"{archive.get(first, first)}.zip"][name] = path.read_bytes()
    bodies = {}
    for archive, members in packed.items():
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as opened:
            for name, content in members.items():
                opened.writestr(name, content)
        bodies[archive] = stream.getvalue()
    state = SimpleNamespace(requests=Counter(), cut=0, bodies=bodies, official=official)

    def reply(handler):
        name = handler.path.rpartition("/")[2]
        state.requests[name] += 1
        body = bodies[name]
        send(handler, body, len(body) // 3 if state.requests[name] <= state.cut else None)

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with answering(reply) as address:
        descriptor = json.loads(DESCRIPTOR.read_text())
        for entry in [*descriptor["archives"], descriptor["split_file"]]:
            name = entry["url"].rpartition("/")[2]
            entry["url"] = f"{address}/{name}"
            entry["bytes"] = len(bodies[name])
            entry["sha256"] = hashlib.sha256(bodies[name]).hexdigest()
            entry["max_bytes"] = 100_000
        state.descriptor = descriptor
        yield state


def everything_below(root: Path) -> dict[str, bytes]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("cut", [0, 2])
def test_a_folder_that_is_not_there_is_filled_from_the_archives(
    web, checkout, tmp_path, cut, caplog
):
    web.cut = cut
    root = tmp_path / "disk" / "coco"
    manifest = prepare_raw("coco2014", root, True, web.descriptor)
    wanted = everything_below(web.official)
    split = wanted.pop("dataset_coco.json")
    assert everything_below(root) == wanted
    assert everything_below(checkout) == {".cache/downloads/coco2014/dataset_coco.json": split}
    assert set(web.requests.values()) == {cut + 1}
    assert manifest == prepare_raw("coco2014", web.official, False, {})

    again = prepare_raw("coco2014", root, True, web.descriptor)
    assert again == manifest
    assert set(web.requests.values()) == {cut + 1}, "nothing is downloaded twice"


def test_only_what_is_missing_is_downloaded_and_what_is_there_stays(web, checkout, tmp_path):
    root = tmp_path / "mine"
    shutil.copytree(web.official, root)
    shutil.rmtree(root / "images" / "val2014")
    (root / "annotations" / "captions_val2014.json").unlink()
    marked = root / "annotations" / "captions_train2014.json"
    marked.write_text(marked.read_text() + "\n")
    kept = everything_below(root)
    (root / ".downloads").mkdir()
    (root / ".downloads" / "train2014.zip.part").write_bytes(b"of a download given up")
    prepare_raw("coco2014", root, True, web.descriptor)
    assert web.requests == {"val2014.zip": 1, "annotations_trainval2014.zip": 1}
    assert everything_below(root) == everything_below(web.official) | kept


def test_a_wrong_checksum_names_the_archive_and_leaves_no_folder_of_it(web, checkout, tmp_path):
    web.descriptor["archives"][1]["sha256"] = "0" * 64
    root = tmp_path / "disk"
    fails_with(
        lambda: prepare_raw("coco2014", root, True, web.descriptor), "train2014.zip: SHA-256 is"
    )
    assert not (root / "images" / "train2014").exists()


def test_no_room_on_the_disk_is_noticed_before_the_first_byte(web, checkout, tmp_path, monkeypatch):
    free = sum(a["bytes"] + a["max_bytes"] for a in web.descriptor["archives"]) - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(InputError, match=f"needs {free + 1:,} bytes"):
        prepare_raw("coco2014", tmp_path / "disk", True, web.descriptor)
    assert not web.requests


def test_without_the_switch_nothing_is_downloaded(web, checkout, tmp_path):
    with pytest.raises(InputError, match=r"datasets\.coco2014\.download=true"):
        prepare_raw("coco2014", tmp_path / "disk", False, web.descriptor)
    assert not web.requests
    assert split_file("coco2014", web.official).parent == web.official
