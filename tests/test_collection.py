"""Versions on disk: what a kill, a second process and time do to them."""

import errno
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mmhash import changes, collection
from mmhash.changes import added_table, extend, new_image_ids, remove
from mmhash.codes import binarise, pack
from mmhash.collection import (
    KEPT,
    changing,
    history,
    open_collection,
    read_state,
    redo,
    reset,
    undo,
)
from mmhash.errors import InputError
from mmhash.files import sha256_file

from .conftest import NAMES, soft_codes

MakeRun = Callable[..., Path]
INDEX_FILES = ["caption.npy", "image_id.npy", "index.faiss", "labels.npy", "meta.json", "soft.npy"]


def add(root: Path, seed: int, n: int = 2, new: list[str] | None = None) -> collection.Collection:
    """Add ``n`` pictures that do not exist, of the last category."""
    with changing(root):
        before = open_collection(root)
        soft = soft_codes(1000 + seed, n)
        labels = [[(new or NAMES)[-1]]] * n
        hashes = [f"{seed:032x}{place:032x}" for place in range(n)]
        paths = [f"/p/{place}.jpg" for place in range(n)]
        ids = new_image_ids(before, n)
        table = added_table(ids, paths, hashes, ["a caption"] * n, labels)
        return extend(before, pack(binarise(soft)), soft, table, new)


def contents_of(folder: Path) -> dict[str, str]:
    return {file.name: sha256_file(file) for file in sorted(folder.iterdir())}


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug on a test: what fsync waits for takes longer than all the rest."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def root(tmp_path: Path, make_run: MakeRun) -> Path:
    return make_run(tmp_path / "run")


def test_without_changes_the_index_as_built_is_the_collection(root: Path) -> None:
    opened = open_collection(root)
    assert (opened.version, opened.folder) == (0, root / "index")
    assert [category["name"] for category in opened.categories] == NAMES
    assert opened.items.num_rows == 0
    assert not (root / "collection").exists()


def test_a_change_leaves_index_as_it_is_and_makes_a_whole_database(root: Path) -> None:
    before = contents_of(root / "index")
    first = add(root, 1, 2, ["okapi"])
    assert contents_of(root / "index") == before
    opened = open_collection(root)
    assert opened.version == first.version == 1
    assert {file.name for file in opened.folder.iterdir()} == {
        *INDEX_FILES,
        "categories.json",
        "items.parquet",
        "version.json",
    }
    assert opened.categories[-1] == {"id": 7, "name": "okapi"}
    assert opened.built_categories == 3
    assert opened.items["image_id"].to_pylist() == [501, 502]
    assert (opened.folder.stat().st_mode & 0o777) == 0o755


def test_undo_and_redo_walk_through_the_versions(root: Path) -> None:
    for seed in (1, 2):
        add(root, seed)
    bytes_of_two = contents_of(open_collection(root).folder)
    assert undo(root) == (2, 1)
    assert open_collection(root).items.num_rows == 2
    assert undo(root) == (1, 0)
    assert open_collection(root).folder == root / "index"
    with pytest.raises(InputError, match="nothing to undo"):
        undo(root)
    assert redo(root) == (0, 1)
    assert redo(root) == (1, 2)
    assert contents_of(open_collection(root).folder) == bytes_of_two
    with pytest.raises(InputError, match="nothing to redo"):
        redo(root)


def test_a_change_after_undo_drops_what_was_undone_and_uses_no_number_twice(root: Path) -> None:
    for seed in (1, 2, 3):
        add(root, seed)
    undo(root)
    undo(root)
    assert add(root, 4).version == 4
    assert read_state(root).versions == (1, 4)
    assert sorted(p.name for p in (root / "collection/versions").iterdir()) == ["0001", "0004"]
    assert open_collection(root).items["image_id"].to_pylist() == [501, 502, 507, 508]
    assert undo(root) == (4, 1)


def test_the_newest_versions_are_kept_and_the_oldest_says_how_to_go_further(root: Path) -> None:
    for seed in range(KEPT + 2):
        add(root, seed)
    assert [version["version"] for version in history(root)] == list(range(3, KEPT + 3))
    for _ in range(KEPT - 1):
        undo(root)
    with pytest.raises(InputError, match=r"version 2 is not kept any more.*index reset"):
        undo(root)
    reset(root)
    assert open_collection(root).folder == root / "index"
    assert redo(root) == (0, 3)
    reset(root)
    assert add(root, 99).version == KEPT + 3
    assert [version["version"] for version in history(root)] == [KEPT + 3]


def test_another_training_is_one_line_until_reset(root: Path, make_run: MakeRun) -> None:
    add(root, 1)
    shutil.rmtree(root / "index")
    make_run(root.parent / "other", seed=1)
    for name in ("index", "model", "data"):
        shutil.copytree(root.parent / "other" / name, root / name, dirs_exist_ok=True)
    with pytest.raises(InputError, match=r"index rebuild encodes the 2 pictures.*index reset"):
        open_collection(root)
    reset(root)
    assert open_collection(root).version == 0


def test_training_again_with_the_same_result_keeps_the_additions(
    root: Path, make_run: MakeRun
) -> None:
    add(root, 1)
    make_run(root.parent / "again")
    for name in ("index", "model", "data"):
        shutil.rmtree(root / name)
        shutil.copytree(root.parent / "again" / name, root / name)
    assert open_collection(root).version == 1


@pytest.mark.parametrize("file", ["version.json", "items.parquet", "categories.json"])
def test_a_damaged_version_is_one_line_and_undo_leaves_it(root: Path, file: str) -> None:
    add(root, 1)
    add(root, 2)
    (root / "collection/versions/0002" / file).write_bytes(b"{}x")
    with pytest.raises(InputError, match="0002: damaged"):
        open_collection(root)
    undo(root)
    assert open_collection(root).version == 1
    add(root, 3)


@pytest.mark.parametrize("text", ["", "{}", '{"current": 9, "versions": [], "x": 1}', "[1]"])
def test_a_damaged_state_is_one_line_until_reset(root: Path, text: str) -> None:
    add(root, 1)
    (root / "collection/state.json").write_text(text)
    with pytest.raises(InputError, match=r"state\.json: damaged.*index reset"):
        open_collection(root)
    reset(root)
    assert open_collection(root).version == 0
    assert add(root, 2).version == 2


def test_nothing_trained_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; run dvc repro"):
        open_collection(tmp_path)


def test_a_failure_while_a_version_is_written_changes_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(root, 1)
    state = (root / "collection/state.json").read_bytes()

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(changes, "write_json", fail)
    with pytest.raises(KeyboardInterrupt):
        add(root, 2)
    assert (root / "collection/state.json").read_bytes() == state
    assert [p.name for p in (root / "collection/versions").iterdir()] == ["0001"]


def test_pictures_that_no_version_names_are_deleted(root: Path) -> None:
    add(root, 1)
    pictures = root / "collection/pictures"
    pictures.mkdir()
    opened = open_collection(root)
    kept = opened.picture(opened.items["sha256"][0].as_py())
    for file in (kept, pictures / "stranger.jpg", pictures / ".half.jpg"):
        file.write_bytes(b"x")
    undo(root)
    with changing(root):
        assert list(pictures.iterdir()) == [kept]  # it can be redone
    add(root, 2)
    assert list(pictures.iterdir()) == []


KILLED = """
import os, shutil, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import tests.test_collection as t

root = Path(sys.argv[1])
t.add(root, 1)
t.add(root, 2)
t.undo(root)
start = root.with_name("start")
os.fsync = lambda _: None
shutil.copytree(root, start)
steps = [(os, "fsync"), (os, "replace"), (os, "rename"), (Path, "replace"), (Path, "rename"),
         (os, "rmdir"), (os, "unlink"), (Path, "chmod"), (t.collection.tempfile, "mkdtemp")]

def arm(fatal):
    done = 0
    def wrapped(function):
        def call(*arguments, **named):
            nonlocal done
            done += 1
            if done == fatal:
                os._exit(9)
            return function(*arguments, **named)
        return call
    for owner, name in steps:
        setattr(owner, name, wrapped(getattr(owner, name)))

fatal, seen = 0, set()
while True:
    fatal += 1
    shutil.rmtree(root)
    shutil.copytree(start, root)
    child = os.fork()
    if not child:
        arm(fatal)
        t.add(root, 3)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    opened = t.open_collection(root)
    t.changes.read_contents(opened.folder)  # whole, whatever happened
    seen.add(opened.version)
    assert opened.version in (1, 3), opened.version
    assert opened.items.num_rows == (2 if opened.version == 1 else 4)
    after = t.add(root, 4)
    assert after.items.num_rows == opened.items.num_rows + 2
    listed = {f"{number:04d}" for number in t.read_state(root).versions}
    assert {p.name for p in (root / "collection/versions").iterdir()} == listed
    if os.waitstatus_to_exitcode(status) == 0:
        break
    assert os.waitstatus_to_exitcode(status) == 9
print(fatal, sorted(seen))
"""


def test_a_kill_at_any_step_leaves_the_old_version_or_the_new_one(
    root: Path, repository: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, root, repository],
        env=os.environ | {"PYTHONPATH": str(repository / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    steps, seen = done.stdout.split(" ", 1)
    assert int(steps) > 20
    assert json.loads(seen) == [1, 3]


ADDER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import tests.test_collection as t
t.add(Path(sys.argv[1]), int(sys.argv[3]))
"""


def test_adders_in_several_processes_wait_for_each_other(root: Path, repository: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(ADDER), root, repository]
    environment = os.environ | {"PYTHONPATH": str(repository / "src"), "OMP_NUM_THREADS": "1"}
    adders = [subprocess.Popen([*command, str(n)], env=environment) for n in range(3)]
    assert [adder.wait(60) for adder in adders] == [0, 0, 0]
    opened = open_collection(root)
    assert opened.version == 3
    assert len(set(opened.items["image_id"].to_pylist())) == 6


def test_threads_of_one_process_wait_too(root: Path) -> None:
    order: list[str] = []

    def slow() -> None:
        with changing(root):
            order.append("in")
            time.sleep(0.2)
            order.append("out")

    threads = [threading.Thread(target=slow) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order == ["in", "out", "in", "out"]


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1]", b"null"])
@pytest.mark.parametrize("file", [*INDEX_FILES, "categories.json"])
def test_a_damaged_database_names_the_way_back(
    root: Path, file: str, content: bytes | None
) -> None:
    add(root, 1)
    path = open_collection(root).folder / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"0001: damaged .*; go back with mmhash index undo"
    ) as told:
        open_collection(root)
    assert "build_index" not in str(told.value)
    undo(root)
    assert open_collection(root).version == 0


@pytest.mark.parametrize("file", ["index/meta.json", "data/categories.json"])
@pytest.mark.parametrize("text", ["null", "3", "[1]"])
def test_damage_of_what_was_built_is_one_line(root: Path, file: str, text: str) -> None:
    (root / file).write_text(text)
    with pytest.raises(InputError, match="is damaged; run dvc repro"):
        open_collection(root)


def test_files_of_two_versions_are_damage(root: Path) -> None:
    folders = [add(root, seed, new=names).folder for seed, names in ((1, None), (2, ["okapi"]))]
    shutil.copy(folders[0] / "labels.npy", folders[1] / "labels.npy")
    with pytest.raises(InputError, match=r"0002: damaged \(labels.npy has shape"):
        open_collection(root)


def test_ids_are_not_used_again_after_a_damaged_state(root: Path) -> None:
    first = add(root, 1).items["image_id"].to_pylist()
    (root / "collection/state.json").write_text("{")
    reset(root)
    assert not set(first) & set(add(root, 2).items["image_id"].to_pylist())


def test_a_full_disk_is_one_line_that_says_where(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(root, 1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(collection, "write_json", full)
    with pytest.raises(InputError, match="collection: cannot be changed: No space left"):
        undo(root)
    assert open_collection(root).version == 1


def test_a_file_in_the_place_of_the_folder_is_one_line(root: Path) -> None:
    (root / "collection").touch()
    for act in (undo, redo, reset):
        with pytest.raises(InputError, match="collection: cannot be changed: File exists"):
            act(root)


def test_nothing_is_left_in_a_folder_that_is_no_checkout(tmp_path: Path) -> None:
    for act in (undo, redo, reset):
        with pytest.raises(InputError, match="index: no such folder; run it from the repository"):
            act(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_needs_no_lock(root: Path) -> None:
    add(root, 1)
    with changing(root):
        assert open_collection(root).version == 1


def test_removed_images_of_the_index_are_remembered(root: Path) -> None:
    with changing(root):
        after = remove(open_collection(root), [110, 105], 1)
    assert open_collection(root).removed == after.removed == [105, 110]
