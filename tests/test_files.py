import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmhash.errors import InputError
from mmhash.files import (
    atomic_path,
    cache_dir,
    digest,
    dvc_root,
    forget_pages,
    read_json,
    read_npy,
    read_table,
    sha256_file,
    write_json,
    write_npy,
    write_table,
    write_text,
)


def test_an_interrupted_write_leaves_the_old_file_and_no_debris(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    write_text(target, "old")
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_arrays_tables_and_json_come_back_as_written(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float16).reshape(2, 3)
    write_npy(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy", mmap=True), array)
    table = pa.table({"image_id": [1, 2], "captions": [["a"], ["b", "c"]]})
    write_table(tmp_path / "t.parquet", table)
    assert read_table(tmp_path / "t.parquet").equals(table)
    write_json(tmp_path / "j.json", {"名": [1, 0.5]})
    assert read_json(tmp_path / "j.json") == {"名": [1, 0.5]}


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_table(tmp_path / name, pa.table({"image_id": list(range(1000))}))
    assert sha256_file(tmp_path / "one") == sha256_file(tmp_path / "two")


def test_nan_is_refused_in_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "j.json", {"mAP": float("nan")})
    assert not (tmp_path / "j.json").exists()


def test_a_pickled_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for mmap in (False, True):
        with pytest.raises(InputError, match=r"evil\.npy: holds Python objects, .*astype"):
            read_npy(path, mmap=mmap)


def test_an_archive_named_like_an_array_is_one_line_with_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "image.npy"
    with path.open("wb") as stream:
        np.savez(stream, np.zeros(3))
    for mmap in (False, True):
        with pytest.raises(InputError, match=r"image\.npy: an archive .* save it with numpy\.save"):
            read_npy(path, mmap=mmap)


@pytest.mark.parametrize("reader", [read_json, read_npy, read_table])
def test_missing_and_truncated_files_give_one_line(tmp_path: Path, reader) -> None:
    with pytest.raises(InputError, match="no such file"):
        reader(tmp_path / "absent")
    broken = tmp_path / "broken"
    broken.write_bytes(b'{"a": [1,')
    with pytest.raises(InputError, match="broken"):
        reader(broken)


def test_a_digest_depends_on_order_and_borders() -> None:
    assert digest("a", "bc") != digest("ab", "c")
    assert digest(1, 2) != digest(2, 1)
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})


def test_the_main_checkout_is_found_through_dvc_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert dvc_root() == tmp_path
    monkeypatch.delenv("DVC_ROOT")
    assert dvc_root() == Path.cwd()


WAITER = """
from mmhash.files import cache_dir
print("asks", flush=True)
folder = cache_dir("train", "same")
print("has it" if not (folder / "state").exists() else "came too early", flush=True)
"""


def test_a_second_run_of_the_same_result_waits_for_the_first(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    source = str(Path(__file__).resolve().parents[1] / "src")
    environment = {**os.environ, "PYTHONPATH": source}
    first = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from mmhash.files import cache_dir; f = cache_dir('train', 'same');"
            "(f / 'state').touch(); print('at work', flush=True); sys.stdin.read();"
            "(f / 'state').unlink()",
        ],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout.readline() == "at work\n"
    second = subprocess.Popen(
        [sys.executable, "-c", WAITER],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert second.stdout.readline() == "asks\n"
    assert "another run is at work on the same result" in second.stderr.readline()
    first.communicate("")  # the first one finishes
    out, _ = second.communicate(timeout=60)
    assert out == "has it\n"


def test_the_same_process_may_ask_for_its_folder_again(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert cache_dir("train", "mine") == cache_dir("train", "mine")


def test_forgotten_pages_of_a_memory_map_are_read_again(tmp_path: Path) -> None:
    write_npy(tmp_path / "a.npy", np.arange(12, dtype=np.float16).reshape(4, 3))
    array = read_npy(tmp_path / "a.npy", mmap=True)
    view = array.reshape(2, 6)[1:]
    assert view.sum() == 51
    forget_pages(view)
    assert view.sum() == 51
    forget_pages(np.zeros(3))  # in memory: there is nothing to let go of


def test_an_array_that_finds_no_room_is_one_line_and_leaves_the_old_one(
    tmp_path: Path, no_room: None
) -> None:
    write_npy(tmp_path / "x.npy", np.arange(3))
    with pytest.raises(InputError, match=r"x\.npy: not written whole \(.*\); make room$"):
        write_npy(tmp_path / "x.npy", np.zeros(100_000))
    assert read_npy(tmp_path / "x.npy").tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]
