"""Zip archives that are not trusted: what was meant comes out, or one line says why not.

No path of an archive is ever used as a path on disk, and nothing but what was asked for is looked
at.
"""

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mmhash.errors import InputError
from mmhash.files import atomic_path, require_space
from mmhash.progress import track

BLOCK = 1 << 20


def extract_member(archive: Path, member: str, destination: Path, max_bytes: int) -> None:
    """Write the one file ``member`` of a zip ``archive`` to ``destination``, at most ``max_bytes``.

    Raises :class:`InputError` for a damaged archive (each member carries a CRC-32), and for a
    member that is absent, a folder, a link, encrypted, larger than allowed, or whose name points
    outside; ``destination`` is then left as it was.
    """
    if member.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", member):
        raise InputError(f"{archive}: member name {member!r} points outside the archive")
    with _opened(archive, destination) as opened:
        try:
            info = opened.getinfo(member)
        except KeyError:
            raise InputError(f"{archive}: holds no {member!r}; is it the right archive?") from None
        _require_plain(archive, info)
        _require_size(archive, f"member {member!r} claims", info.file_size, max_bytes)
        require_space(destination.parent, info.file_size, str(archive))
        _write(opened, info, destination)


def unpack(
    archive: Path,
    folder: str,
    destination: Path,
    max_bytes: int,
    only: Sequence[str] | None = None,
) -> None:
    """Unpack the files directly below ``folder`` of a zip into the folder ``destination``.

    ``only`` names those that are wanted, each of which must be there (None: all). Files that
    ``destination`` has already are kept as they are; where it is absent or empty it appears whole,
    when its last file is written. What was unpacked before an interruption stays in a hidden folder
    beside it and is used again by the next call where size and CRC-32 are those of the archive.

    Raises :class:`InputError` as :func:`extract_member` does, with ``max_bytes`` for all files
    together, and for an archive that names a file twice or lacks what was asked for; nothing is
    unpacked then.
    """
    work = destination.with_name(f".{destination.name}.unpacking")
    with _opened(archive, destination) as opened:
        wanted = _files_below(archive, opened, folder, only)
        total = sum(info.file_size for info in wanted.values())
        _require_size(archive, f"files of {folder!r} claim", total, max_bytes)
        missing = {
            name: info
            for name, info in track(wanted.items(), len(wanted), f"looking at {work.name}")
            if not _is_unpacked(work / name, info)
        }
        needed = sum(info.file_size for info in missing.values())
        require_space(work, needed, str(archive))
        for name, info in track(missing.items(), len(missing), f"unpacking {archive.name}"):
            _write(opened, info, work / name)
        _hand_over(work, destination, wanted)


def _hand_over(work: Path, destination: Path, wanted: Collection[str]) -> None:
    """Put the unpacked files where they are wanted, all at once where nothing is there yet."""
    for path in work.iterdir():
        if path.name not in wanted:  # the beginning of a file, left by a kill
            path.unlink()
    if not destination.exists() or not any(destination.iterdir()):
        work.replace(destination)
        return
    for name in wanted:
        if not (destination / name).exists():
            (work / name).replace(destination / name)
    shutil.rmtree(work)


def _files_below(
    archive: Path, opened: zipfile.ZipFile, folder: str, only: Sequence[str] | None
) -> dict[str, zipfile.ZipInfo]:
    """Return the wanted files directly below ``folder`` by their names, in the archive's order."""
    found: dict[str, zipfile.ZipInfo] = {}
    for info in opened.infolist():
        # The name has no separator left, so it cannot lead out of a folder.
        match = re.fullmatch(rf"{re.escape(folder)}/([^/\\]+)", info.filename)
        if match is None or match[1] in (".", "..") or (only is not None and match[1] not in only):
            continue
        if match[1] in found:
            raise InputError(f"{archive}: names {info.filename!r} twice; not the archive meant")
        _require_plain(archive, info)
        found[match[1]] = info
    lacking = [name for name in only or () if name not in found]
    if lacking or not found:
        raise InputError(
            f"{archive}: holds no {f'{folder}/{lacking[0]}' if lacking else f'files in {folder}'!r}"
            "; is it the right archive?"
        )
    return found


def _require_plain(archive: Path, info: zipfile.ZipInfo) -> None:
    if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16):
        raise InputError(f"{archive}: member {info.filename!r} is a folder or a link, not a file")
    if info.flag_bits & 1:
        raise InputError(f"{archive}: member {info.filename!r} is encrypted; unpack it yourself")


def _require_size(archive: Path, what: str, size: int, most: int) -> None:
    if size > most:
        raise InputError(
            f"{archive}: {what} {size:,} bytes, more than the {most:,} allowed; this is not the "
            "archive that was meant"
        )


def _is_unpacked(path: Path, info: zipfile.ZipInfo) -> bool:
    if not path.is_file() or path.stat().st_size != info.file_size:
        return False
    crc = 0
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            crc = zlib.crc32(block, crc)
    return crc == info.CRC


def _write(opened: zipfile.ZipFile, info: zipfile.ZipInfo, destination: Path) -> None:
    with (
        opened.open(info) as source,  # ends at file_size and then checks the CRC
        atomic_path(destination) as temporary,
        temporary.open("wb") as target,
    ):
        shutil.copyfileobj(source, target, BLOCK)


@contextmanager
def _opened(archive: Path, destination: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip; what goes wrong with it in the block becomes one line."""
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    except FileNotFoundError:
        raise InputError(f"{archive}: no such file") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"{archive}: damaged archive ({error}); delete it and run again to download it anew"
        ) from None
    except OSError as error:  # an offset that points nowhere, or a disk that cannot be written
        raise InputError(
            f"{archive}: cannot be unpacked to {destination} ({error.strerror}); delete the "
            "archive to download it anew, and check that the folder can be written"
        ) from None
