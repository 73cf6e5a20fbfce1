"""Files that are whole or not there: atomic writes, checksums, and readers that execute nothing."""

import fcntl
import hashlib
import json
import logging
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmhash.errors import InputError

logger = logging.getLogger("mmhash")

_held_locks: dict[Path, IO[str]] = {}  # closing a file would give its lock back


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success fsync it and rename it to ``path``.

    On any exception, Ctrl-C included, the temporary file is removed and ``path`` stays as it was.
    The yielded path has the suffix of ``path``, since some writers choose a format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)  # mkstemp makes files private; outs are shared
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def require_space(folder: Path, needed: int, what: str) -> None:
    """Make ``folder``; raise :class:`InputError` where its disk has fewer than ``needed`` bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{what}: needs {needed:,} bytes in {folder}, which has {free:,} free; make room"
        )


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` as UTF-8 with ``\\n`` line ends to ``path`` atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path | str, value: Any) -> None:
    """Write ``value`` as JSON atomically; ValueError for NaN and infinity, which JSON lacks."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read JSON; raises :class:`InputError` naming the file where it is missing or malformed."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); is the file truncated?") from None


def write_npy(path: Path | str, array: np.ndarray) -> None:
    """Write ``array`` in NumPy's format atomically (object arrays are refused).

    Raises :class:`InputError` where the disk has no room for all of it.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        try:
            np.save(stream, array, allow_pickle=False)
        except OSError as error:
            if error.errno is not None:
                raise
            raise InputError(f"{path}: not written whole ({error}); make room") from None


def read_npy(path: Path | str, mmap: bool = False) -> np.ndarray:
    """Read a NumPy array, memory-mapped and read-only if ``mmap``.

    Raises :class:`InputError` naming the file where it is missing, truncated or no plain array.
    """
    try:
        array = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (ValueError, OSError, EOFError) as error:
        if any(words in str(error) for words in ("Object arrays", "Python objects")):
            why = "holds Python objects, must hold numbers; save it with array.astype(...)"
            raise InputError(f"{path}: {why}") from None
        raise InputError(f"{path}: not a readable .npy array ({error})") from None
    if not isinstance(array, np.ndarray):  # np.load opens archives too, whatever they are called
        array.close()
        raise InputError(f"{path}: an archive (.npz), must be one array; save it with numpy.save")
    return array


def forget_pages(array: np.ndarray) -> None:
    """Let go of what was read through the memory map that ``array`` looks at; it stays readable.

    Pages of a file that were read count as this process's memory, although the system may take them
    back: after a walk through a file larger than memory that figure says nothing.
    """
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)


def write_table(path: Path | str, table: pa.Table) -> None:
    """Write a table as Parquet atomically; equal tables give equal bytes."""
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_table(path: Path | str) -> pa.Table:
    """Read a Parquet table; raises :class:`InputError` where it is missing or damaged."""
    try:
        # pq.read_table would import pandas, and read columns from folder names such as "seed=1"
        with pq.ParquetFile(path) as file:
            return file.read()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet table ({error})") from None


def sha256_file(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(*parts: Any) -> str:
    """Return a SHA-256 over ``parts`` (bytes, or anything JSON can write), in order."""
    total = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()


def code_digest() -> str:
    """Return a digest of this library's source, so that resume state never outlives its code."""
    package = Path(__file__).parent
    return digest(
        *(
            part
            for source in sorted(package.rglob("*.py"))
            for part in (source.relative_to(package).as_posix(), source.read_bytes())
        )
    )


def dvc_root() -> Path:
    """Return the main checkout: ``$DVC_ROOT`` inside a DVC run, else the working directory.

    In ``dvc exp run --temp`` the working directory is a copy without the raw data and the resume
    state; both are found through this path.
    """
    return Path(os.environ.get("DVC_ROOT") or Path.cwd())


def cache_dir(stage: str, key: str) -> Path:
    """Return (and make) the folder of a stage's resume state for the result that ``key`` names.

    It belongs to this process until the process ends: a second run with the same inputs (two
    experiments started side by side) waits here, where it would otherwise find its state deleted
    under it by the first one to finish.
    """
    folder = dvc_root() / ".cache" / stage / key[:32]
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder not in _held_locks:
        lock = folder.with_suffix(".lock").open("w", encoding="utf-8")
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            logger.warning("%s: another run is at work on the same result; waiting for it", stage)
            fcntl.lockf(lock, fcntl.LOCK_EX)
        _held_locks[folder] = lock
    folder.mkdir(exist_ok=True)
    return folder
