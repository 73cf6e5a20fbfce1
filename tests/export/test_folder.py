import errno
import os
from pathlib import Path

import numpy as np
import pytest

from mmhash.errors import InputError
from mmhash.export.folder import check_export, replaced
from mmhash.export.rows import export_rows
from mmhash.export.write import ENGINES, write_export
from mmhash.files import read_json, read_table


@pytest.fixture
def rows(make_collection):
    codes = np.random.default_rng(0).integers(0, 256, (40, 8), dtype=np.uint8)
    return export_rows(make_collection(codes))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("engine", [None, *ENGINES])
def test_the_same_rows_give_the_same_bytes(rows, tmp_path, engine):
    for name in ("a", "b"):
        write_export(rows, tmp_path / "out" / name, engine)
    assert contents(tmp_path / "out" / "a") == contents(tmp_path / "out" / "b")
    table = read_table(tmp_path / "out" / "a" / "codes.parquet")
    assert table.equals(rows.table)
    assert read_json(tmp_path / "out" / "a" / "categories.json") == rows.categories


def test_an_export_replaces_an_earlier_one_and_leaves_nothing_of_it(rows, tmp_path):
    folder = tmp_path / "out" / "codes"
    write_export(rows, folder, "pgvector")
    manifest = write_export(rows, folder, "milvus")
    assert set(contents(folder)) == {"manifest.json", *manifest["files"]}
    assert "pgvector/load.sql" not in contents(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["codes"]


def test_an_empty_folder_is_filled(rows, tmp_path):
    (tmp_path / "empty").mkdir()
    write_export(rows, tmp_path / "empty")
    assert "codes.parquet" in contents(tmp_path / "empty")


@pytest.mark.parametrize("strange", ["thesis.tex", "manifest.json", "codes.parquet", "a/b", "link"])
def test_what_no_export_wrote_is_left_alone(rows, tmp_path, strange):
    folder = tmp_path / "mine"
    (folder / strange).parent.mkdir(parents=True)
    if strange == "link":
        (folder / "link").symlink_to(tmp_path / "nowhere")
    else:
        (folder / strange).write_text("{}")
    with pytest.raises(InputError, match=f"holds {strange}, which no export wrote"):
        write_export(rows, folder)
    assert [path.name for path in folder.iterdir()] == [strange.split("/")[0]]


def test_a_file_added_to_an_export_stops_the_next_one(rows, tmp_path):
    write_export(rows, tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds notes\.txt"):
        write_export(rows, tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        write_export(rows, tmp_path / "file")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_a_stopped_export_leaves_the_earlier_one(rows, tmp_path, stop):
    folder = tmp_path / "out" / "codes"
    write_export(rows, folder)
    before = contents(folder)

    def stopped() -> None:
        with replaced(folder) as new:
            (new / "half").write_text("half")
            raise stop

    with pytest.raises(stop):
        stopped()
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["codes"]


def test_a_damaged_or_other_export_is_not_loaded(rows, tmp_path):
    folder = tmp_path / "out"
    write_export(rows, folder, "pgvector")
    assert check_export(folder, "pgvector") == folder / "pgvector"
    with pytest.raises(InputError, match="no export for milvus"):
        check_export(folder, "milvus")
    (folder / "pgvector" / "items.copy").write_text("")
    with pytest.raises(InputError, match=r"items\.copy: missing or changed"):
        check_export(folder, "pgvector")


@pytest.mark.parametrize("name", ["file/codes", "a" * 300, "\udcff", "loop/codes"])
def test_a_folder_that_cannot_be_is_one_line(rows, tmp_path, name):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"cannot be written|no UTF-8") as told:
        write_export(rows, tmp_path / name)
    assert len(str(told.value).splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_full_disk_leaves_the_earlier_export(rows, tmp_path, monkeypatch):
    write_export(rows, tmp_path / "codes")
    before = contents(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("mmhash.export.write.write_json", full)
    with pytest.raises(InputError, match="codes: cannot be written: No space left"):
        write_export(rows, tmp_path / "codes")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("place", [0, 1])
def test_ctrl_c_between_two_renames_loses_no_export(rows, tmp_path, monkeypatch, place):
    write_export(rows, tmp_path / "codes")
    before, rename, calls = contents(tmp_path), Path.rename, []

    def interrupted(self, target):
        calls.append(target)
        if len(calls) == place + 1:
            if place == 0:
                rename(self, target)  # done, and then the signal is looked at
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), replaced(tmp_path / "codes") as new:
        (new / "codes.parquet").write_bytes(b"new")
    assert contents(tmp_path) == before
