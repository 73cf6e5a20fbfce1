"""The folder of an export: it appears whole, and replaces nothing but another export.

``manifest.json`` names every file with its size and SHA-256. Neither time nor place is written:
equal databases give equal bytes.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmhash.errors import InputError
from mmhash.files import read_json, sha256_file, write_json

FORMAT = "mmhash export 1"
MANIFEST = "manifest.json"


def write_manifest(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Write ``facts`` and the files that lie in ``folder`` to its manifest; return that."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    described = {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": sha256_file(path),
        }
        for path in files
    }
    manifest = {**facts, "files": described}
    write_json(folder / MANIFEST, manifest)
    return manifest


def check_export(folder: Path, engine: str) -> Path:
    """Compare an export's files with its manifest; return what it holds for ``engine``.

    Raises InputError where ``folder`` is no export for that engine, or is damaged.
    """
    manifest = read_json(folder / MANIFEST)
    if not _ours(manifest) or manifest.get("engine") != engine:
        raise InputError(f"{folder}: no export for {engine}; run mmhash export --for {engine}")
    for name, said in manifest["files"].items():
        file = folder / name
        if not file.is_file() or sha256_file(file) != said["sha256"]:
            raise InputError(f"{file}: missing or changed since the export; run it again")
    return folder / engine


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Yield a new folder that takes the place of ``folder`` on success, and goes on failure.

    Raises InputError where ``folder`` is there and neither empty nor an export and nothing else,
    and where it cannot be written.
    """
    named = folder
    try:
        str(folder).encode()
        folder = folder.resolve()
    except UnicodeEncodeError:  # Arrow's writer takes no such path
        raise InputError(f"{str(named)!r}: a name in it is no UTF-8; name another folder") from None
    except RuntimeError:
        raise InputError(f"{named}: cannot be written: links in a circle; name another") from None
    try:
        _refuse_strange(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as work:
            new, old = Path(work) / "new", Path(work) / "old"
            new.mkdir()
            yield new
            try:
                if folder.exists():
                    folder.rename(old)
                new.rename(folder)
            except BaseException:
                if old.exists():
                    old.rename(folder)
                raise
    except OSError as error:
        if error.errno is None:  # says nothing about the system
            raise
        raise InputError(
            f"{named}: cannot be written: {error.strerror}; make room, or name another folder"
        ) from None


def _ours(manifest: Any) -> bool:
    return isinstance(manifest, dict) and manifest.get("format") == FORMAT


def _refuse_strange(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder to export to")
    inside = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    present = {path.relative_to(folder).as_posix() for path in inside}
    known: set[str] = set()
    if MANIFEST in present:
        manifest = read_json(folder / MANIFEST)
        known = {MANIFEST, *manifest["files"]} if _ours(manifest) else set()
    strange = sorted(present - known)
    if strange:
        raise InputError(
            f"{folder}: holds {strange[0]}, which no export wrote; name another folder"
        )
