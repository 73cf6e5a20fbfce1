"""The database that predictions search: ``index/`` as built, or a version that the user changed.

``index/`` is an output of the pipeline and stays as it is: version 0. Each change makes a version::

    collection/state.json           the version in force, those that are kept, the next numbers
    collection/versions/0003/       a whole database in the layout of index/, and beside it
                    categories.json     columns of labels.npy, the new ones last
                    items.parquet       what was added (:data:`ITEMS`)
                    version.json        what the change did, and what it derives from
    collection/pictures/SHA256.jpg  small copies of the pictures that were added
    collection/lock                 held while a version is made: a second adder waits

A version is written to a folder of another name, fsynced and renamed; then ``state.json`` is
replaced. That replacement alone makes it count, so a process killed at any moment leaves the old
version in force, and the next change clears away what is not listed. Readers take no lock.

Versions are whole: undoing is a matter of one number, and a version cannot be hurt by the loss of
another. COCO's 113,287 training images with 64 bits take 26 MB a version (labels 9.2, soft codes
14.5, codes, ids; 42 with ``hnsw``); the ``KEPT`` newest stay, 0.26 GB. Versions that were undone
stay for ``redo`` until the next change, which drops them. Numbers of versions and ids of images are
never used twice.

Each version names the index and the model that it derives from. After another training the codes
of what was added would mean nothing among the new ones, so that opening it is refused; see
:func:`open_collection`. The stages read ``index/`` alone and never come here.
"""

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmhash.errors import InputError
from mmhash.files import digest, read_json, read_table, write_json, write_table
from mmhash.wholeness import check_whole

logger = logging.getLogger(__name__)

FOLDER = "collection"
KEPT = 10
BUILT = 0  # the version that is index/ itself

ITEMS = pa.schema(
    [
        ("image_id", pa.int64()),
        ("path", pa.string()),  # where the picture was when it was added, absolute
        ("sha256", pa.string()),  # of the file's bytes
        ("caption", pa.string()),  # null: added without one
        ("labels", pa.list_(pa.string())),  # names of categories
    ]
)


@dataclass(frozen=True)
class Collection:
    """A version of the database below ``root``.

    ``folder`` has the layout of ``index/``. ``categories`` are ``{"id", "name", …}``, one a column
    of its labels; the first ``built_categories`` are those that the model was trained with.
    ``items`` (:data:`ITEMS`) are the pictures that were added, ``removed`` the ids of the images of
    ``index/`` that were taken out, ascending. ``base`` is a digest of the index and the model.
    """

    root: Path
    version: int
    folder: Path
    categories: list[dict[str, Any]]
    built_categories: int
    items: pa.Table
    removed: list[int]
    base: str

    def picture(self, sha256: str) -> Path:
        """Return where the small copy of an added picture lies."""
        return self.root / FOLDER / "pictures" / f"{sha256}.jpg"


@dataclass(frozen=True)
class State:
    """``state.json``: the version in force, all kept in order of making, the next numbers."""

    current: int = BUILT
    versions: tuple[int, ...] = ()
    next_version: int = 1
    next_image_id: int = 0


def open_collection(root: Path | str = ".") -> Collection:
    """Open the version in force below ``root``, the checkout; nothing is written.

    Raises :class:`InputError` where there is no index yet, where a file is damaged, and where the
    version derives from another index or model than those of now.
    """
    root = Path(root)
    version = read_state(root).current
    if version == BUILT:
        return open_built(root)
    collection = open_version(root, version)
    if collection.base != base_of(root):
        raise InputError(
            f"{root / FOLDER}: its version {version} belongs to another training than index/ and "
            f"model/; mmhash index rebuild encodes the {len(collection.items)} pictures that were "
            "added with the model of now, mmhash index reset does without them"
        )
    try:
        check_whole(collection.folder, len(collection.categories))
    except InputError as error:
        raise _damaged(collection.folder, error) from None
    return collection


def open_built(root: Path) -> Collection:
    """Open ``index/`` as built, whatever version is in force."""
    base, file = base_of(root), root / "data" / "categories.json"
    try:
        categories = _categories(file)
        read_json(root / "index" / "meta.json")["sha256"]
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{file} or index/meta.json is damaged; run dvc repro") from None
    nothing = ITEMS.empty_table()
    return Collection(root, BUILT, root / "index", categories, len(categories), nothing, [], base)


def open_version(root: Path, version: int) -> Collection:
    """Open a kept version, whatever it derives from; InputError where it is damaged."""
    folder = _versions(root) / f"{version:04d}"
    try:
        about = read_json(folder / "version.json")
        items = read_table(folder / "items.parquet").cast(ITEMS)
        categories = _categories(folder / "categories.json")
        removed, built = list(about["removed"]), int(about["built_categories"])
        base = str(about["base"])
    except (InputError, KeyError, TypeError, ValueError, pa.ArrowInvalid) as error:
        raise _damaged(folder, error) from None
    return Collection(root, version, folder, categories, built, items, removed, base)


def _categories(file: Path) -> list[dict[str, Any]]:
    """Read a list of categories; KeyError, TypeError or ValueError where it is none."""
    found = list(read_json(file))
    if not all(type(entry["id"]) is int and str(entry["name"]) for entry in found):
        raise ValueError(f"{file.name}: an id is no number, or a name is empty")
    return found


def _damaged(folder: Path, why: object) -> InputError:
    return InputError(
        f"{folder}: damaged ({why}); go back with mmhash index undo, or to index/ as built with "
        "mmhash index reset"
    )


def base_of(root: Path) -> str:
    """Return a digest of what a version derives from: index, model and the list of categories.

    ``index/meta.json`` holds the checksum of the codes of all items, ``model/config.json`` the
    score of the training to the last digit. A training that is repeated with the same result gives
    the same digest. Raises InputError where nothing is trained yet.
    """
    try:
        files = [
            root / "index/meta.json",
            root / "model/config.json",
            root / "data/categories.json",
        ]
        return digest(*(file.read_bytes() for file in files))
    except OSError as error:
        raise InputError(f"{error.filename}: no such file; run dvc repro") from None


def read_state(root: Path) -> State:
    """Read ``state.json``; where there is none nothing was ever changed."""
    file = root / FOLDER / "state.json"
    if not file.exists():
        return State()
    try:
        values = read_json(file)
        state = State(**{**values, "versions": tuple(values["versions"])})
        numbers = (state.current, *state.versions, state.next_version, state.next_image_id)
        if not all(type(number) is int for number in numbers):
            raise ValueError("a number is none")
        if state.current not in (BUILT, *state.versions):
            raise ValueError("the current version is not among those kept")
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{file}: damaged ({error}); mmhash index reset goes back to index/ as built"
        ) from None
    return state


@contextmanager
def changing(root: Path | str) -> Iterator[None]:
    """Hold the lock of the collection below ``root`` while a version is made.

    Another process (or thread) that has it is waited for. What a killed one left is cleared away.
    """
    with _locked(Path(root)):
        _clean(Path(root))
        try:
            yield
        except BaseException:
            _clean(Path(root))
            raise


def commit(
    before: Collection,
    write: Callable[[Path], None],
    did: str,
    **changed: Any,
) -> Collection:
    """Make a version after ``before``, the one in force, and return it; within :func:`changing`.

    ``write`` puts the database's files into the folder that it is given. ``did`` says in a few
    words what the change was; ``changed`` are the fields of :class:`Collection` in which the new
    version differs. Where ``base`` is one of them the earlier versions, which belong to another
    model, are dropped. On any exception nothing has changed.
    """
    root, state = before.root, read_state(before.root)
    if state.current != before.version:
        raise ValueError(f"version {state.current} is in force, not {before.version}")
    number, versions = state.next_version, _versions(root)
    after = replace(before, version=number, folder=versions / f"{number:04d}", **changed)
    stays = before.base == after.base
    about = {
        "version": number,
        "parent": before.version if stays else BUILT,
        "did": did,
        "base": after.base,
        "built_categories": after.built_categories,
        "removed": after.removed,
    }
    versions.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".", dir=versions))
    try:
        write(temporary)
        write_json(temporary / "categories.json", after.categories)
        write_table(temporary / "items.parquet", after.items.cast(ITEMS))
        write_json(temporary / "version.json", about)
        temporary.chmod(0o755)
        _sync(temporary)
        temporary.rename(after.folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync(versions)
    older = state.versions[: state.versions.index(before.version) + 1] if before.version else ()
    kept = (*(older if stays else ()), number)[-KEPT:]
    next_id = max([state.next_image_id, *(id + 1 for id in after.items["image_id"].to_pylist())])
    _write_state(root, State(number, kept, number + 1, next_id))
    _clean(root)
    return after


def undo(root: Path | str) -> tuple[int, int]:
    """Put the version before the one in force in force: (which was, which is now).

    Raises InputError where there is none, or where it is not kept any more.
    """
    root = Path(root)
    with _locked(root):
        state = read_state(root)
        if state.current == BUILT:
            raise InputError("nothing to undo: predictions search index/ as built")
        place = state.versions.index(state.current)
        if place == 0:
            about = _about(root, state.current)
            if about.get("parent", BUILT) != BUILT:
                raise InputError(
                    f"version {about['parent']} is not kept any more (only the {KEPT} newest are); "
                    "mmhash index reset goes back to index/ as built"
                )
        return _move(root, state, state.versions[place - 1] if place else BUILT)


def redo(root: Path | str) -> tuple[int, int]:
    """Take the last :func:`undo` back: (which version was in force, which is now)."""
    root = Path(root)
    with _locked(root):
        state = read_state(root)
        place = state.versions.index(state.current) + 1 if state.current else 0
        if place == len(state.versions):
            raise InputError("nothing to redo: no version was undone since the last change")
        return _move(root, state, state.versions[place])


def reset(root: Path | str) -> None:
    """Search ``index/`` as built again; :func:`redo` walks forward until the next change."""
    root = Path(root)
    with _locked(root):
        try:
            state = read_state(root)
        except InputError:  # the way out of a damaged file
            names = [folder.name for folder in _versions(root).glob("[0-9]*")]
            numbers = tuple(sorted(int(name) for name in names if name.isdecimal()))
            ids = [id for number in numbers for id in _added_ids(root, number)]
            state = State(BUILT, numbers, max(numbers, default=0) + 1, max(ids, default=-1) + 1)
        _move(root, state, BUILT)


def history(root: Path | str) -> list[dict[str, Any]]:
    """Return the ``version.json`` of every kept version, oldest first, with its ``bytes``."""
    root = Path(root)
    found = []
    for version in read_state(root).versions:
        folder = _versions(root) / f"{version:04d}"
        size = sum(file.stat().st_size for file in folder.glob("*"))
        found.append({**_about(root, version), "bytes": size})
    return found


def _about(root: Path, version: int) -> dict[str, Any]:
    """Return ``version.json``; what is damaged says so."""
    try:
        return dict(read_json(_versions(root) / f"{version:04d}" / "version.json"))
    except (InputError, TypeError, ValueError):
        return {"version": version, "parent": BUILT, "did": "damaged"}


def _added_ids(root: Path, version: int) -> list[int]:
    """Return the ids of the pictures that were added up to a version; none where it is damaged."""
    try:
        found: list[int] = open_version(root, version).items["image_id"].to_pylist()
    except InputError:
        return []
    return found


def _versions(root: Path) -> Path:
    return root / FOLDER / "versions"


def _move(root: Path, state: State, version: int) -> tuple[int, int]:
    moved = State(version, state.versions, state.next_version, state.next_image_id)
    _write_state(root, moved)
    return state.current, version


def _write_state(root: Path, state: State) -> None:
    write_json(root / FOLDER / "state.json", {**vars(state), "versions": list(state.versions)})
    _sync(root / FOLDER)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold the lock. ``flock`` and not ``lockf``: it keeps threads of one process apart, too."""
    if not (root / "index").is_dir():  # or a folder would be left wherever the command was run
        raise InputError(
            f"{root / 'index'}: no such folder; run it from the repository's root, after dvc repro"
        )
    try:
        (root / FOLDER).mkdir(exist_ok=True)
        with (root / FOLDER / "lock").open("w", encoding="utf-8") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                logger.warning("another process is changing %s; waiting for it", root / FOLDER)
                fcntl.flock(stream, fcntl.LOCK_EX)
            yield
    except OSError as error:  # a full disk, for one, does not say which
        where = error.filename or root / FOLDER
        raise InputError(f"{where}: cannot be changed: {error.strerror or error}") from None


def _clean(root: Path) -> None:
    """Delete the versions that are not listed and the pictures that no listed one names."""
    state = read_state(root)
    listed = {f"{version:04d}" for version in state.versions}
    if _versions(root).is_dir():
        for folder in _versions(root).iterdir():
            if folder.name not in listed:
                shutil.rmtree(folder)
    pictures = root / FOLDER / "pictures"
    if pictures.is_dir():
        named: set[str] = set()
        try:
            for version in state.versions:
                named.update(open_version(root, version).items["sha256"].to_pylist())
        except InputError:  # nobody knows what a damaged version names
            return
        for file in pictures.iterdir():
            if file.suffix != ".jpg" or file.stem not in named:
                file.unlink()


def _sync(folder: Path) -> None:
    """Make sure that the names in ``folder`` are on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
