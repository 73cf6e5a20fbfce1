"""Pictures decoded once, into a file that is read row by row."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from mmhash.encoders.checkpoint import Towers
from mmhash.encoders.pictures import decode_once
from mmhash.encoders.pixels import decode
from mmhash.errors import InputError


def test_rows_are_what_the_extraction_decodes(
    towers: Towers, dataset, pictures: list[Path], tmp_path: Path
) -> None:
    images, locate = dataset
    kept = decode_once(images, locate, towers.pixels, tmp_path)
    expected, _ = decode(pictures, towers.pixels)
    rows = np.array([7, 0, 3, 3])
    found = kept.rows(rows)
    assert len(kept) == len(pictures)
    assert torch.equal(found.pixels, expected.pixels[rows])
    assert torch.equal(found.grids, expected.grids[rows])


def test_the_number_of_workers_changes_no_byte(towers: Towers, dataset, tmp_path: Path) -> None:
    images = pa.concat_tables([dataset[0]] * 8)  # three chunks
    found = []
    for workers in (0, 2):
        folder = tmp_path / str(workers)
        decode_once(images, dataset[1], towers.pixels, folder, workers=workers)
        found.append({path.name: path.read_bytes() for path in folder.glob("*.npy")})
    assert found[0] == found[1]
    assert len(found[0]) == 2


def test_it_decodes_once_and_again_for_other_pixels_and_keeps_one_file(
    towers: Towers, dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, locate = dataset
    first = decode_once(images, locate, towers.pixels, tmp_path)
    before = set(tmp_path.glob("*.npy"))

    def fails(*arguments):
        raise AssertionError("decoded twice")

    with monkeypatch.context() as patch:
        patch.setattr("mmhash.encoders.pictures.decode", fails)
        again = decode_once(images, locate, towers.pixels, tmp_path)
    rows = np.arange(5)
    assert torch.equal(again.rows(rows).pixels, first.rows(rows).pixels)
    # Other pixels, other raw data, other rows.
    sharper = dataclasses.replace(towers.pixels, resample=1)
    for change in ({"settings": sharper}, {"raw": "x"}, {"images": images.slice(1)}):
        asked = {"images": images, "locate": locate, "settings": towers.pixels, **change}
        decode_once(folder=tmp_path, **asked)
        after = set(tmp_path.glob("*.npy"))
        assert len(after) == 2
        assert not after & before
        before = after
    # What was open stays readable.
    expected, _ = decode([locate("train2014", images["file_name"][0].as_py())], towers.pixels)
    assert torch.equal(first.rows(np.array([0])).pixels, expected.pixels)


def test_a_kill_while_decoding_leaves_nothing_that_looks_finished(
    towers: Towers, dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / ".half.npy"
    left.write_bytes(b"by a kill -9")

    def dies(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mmhash.encoders.pictures.write_npy", dies)
        with pytest.raises(KeyboardInterrupt):
            decode_once(*dataset, towers.pixels, tmp_path)
    assert not list(tmp_path.glob("*.npy"))
    assert len(decode_once(*dataset, towers.pixels, tmp_path)) == 10


def test_pictures_that_cannot_be_read_are_all_named(
    towers: Towers, dataset, tmp_path: Path
) -> None:
    images, locate = dataset
    names = images["file_name"].to_pylist()
    names[2], names[8] = "gone.jpg", "away.jpg"
    broken = images.set_column(2, "file_name", pa.array(names))
    with pytest.raises(InputError, match=r"2 of 10 .*gone\.jpg .*away\.jpg .*on_bad_image"):
        decode_once(broken, locate, towers.pixels, tmp_path)
    assert not list(tmp_path.glob("*.npy"))


def test_a_full_disk_is_said_before_decoding(
    towers: Towers, dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mmhash.encoders.pictures.shutil.disk_usage", lambda _: type("", (), {"free": 1000})
    )
    with pytest.raises(InputError, match=r"has 0\.0 GB free; free some space"):
        decode_once(*dataset, towers.pixels, tmp_path)
