"""What a user wants to add: pictures with labels and captions, checked before anything is made.

A list of many pictures is a CSV file with the columns ``file`` (relative to the CSV's folder),
``labels`` (names of categories separated by ``;``) and, if wanted, ``caption``.
"""

import csv
import difflib
import stat
import unicodedata
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from mmhash.data.coco import image_path
from mmhash.data.picture import UnreadableError, read_picture
from mmhash.errors import InputError
from mmhash.files import atomic_path, read_table, sha256_file
from mmhash.progress import track

COLUMNS = ("file", "labels", "caption")
LONGEST_NAME = 100  # characters of a category's name
LONGEST_CELL = 10_000_000  # letters of a CSV cell
SMALL = 320  # pixels of the longer side of the small copy
# letters that turn the direction of what follows, beyond the name itself
DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@dataclass(frozen=True)
class Addition:
    """A picture to add; ``labels`` are names as the user wrote them. ``where``: for messages."""

    path: Path
    labels: tuple[str, ...]
    caption: str | None
    where: str


def read_list(file: Path) -> list[Addition]:
    """Read a CSV list of pictures; raises :class:`InputError` naming the row that is wrong."""
    bound = csv.field_size_limit(LONGEST_CELL)  # Python's own is 131,072
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            header = [(name or "").strip() for name in reader.fieldnames or []]
            if not {"file", "labels"} <= set(header) <= set(COLUMNS) or len(header) > 3:
                raise InputError(
                    f"{file}: its first line names the columns {', '.join(header)[:200]}; it must "
                    "name file, labels and, if wanted, caption"
                )
            reader.fieldnames = header
            return [_of_row(row, file, reader.line_num) for row in reader]
    except FileNotFoundError:
        raise InputError(f"{file}: no such file") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not a CSV file in UTF-8 ({error})") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    finally:
        csv.field_size_limit(bound)  # one for the whole process


def _of_row(row: dict[Any, Any], file: Path, line: int) -> Addition:
    where = f"{file} line {line}"
    if None in row or None in (row["file"], row["labels"]):
        raise InputError(f"{where}: more or fewer cells than columns; quote cells with commas")
    if not row["file"].strip():
        raise InputError(f"{where}: no file is named")
    path = file.parent / row["file"].strip()
    return addition(path, row["labels"], row.get("caption"), where)


def addition(path: Path, labels: str, caption: str | None, where: str) -> Addition:
    """Return one picture to add; ``labels`` are separated by ``;``.

    White space is trimmed, a caption of nothing else is none. Raises :class:`InputError` where
    there is no label, and for a path, name or caption that holds control characters.
    """
    try:
        plain = _is_plain(str(path.resolve()))
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a zero byte
        raise InputError(f"{where}: {str(path)!r} is no name of a file ({error})") from None
    if not plain:
        raise InputError(
            f"{str(path)!r}: the file's name or a folder's holds control characters, or letters "
            "that are no UTF-8; rename it"
        )
    refuse_endless(path)
    names = tuple(dict.fromkeys(filter(None, (_tidy(name) for name in labels.split(";")))))
    if not names:
        raise InputError(f"{where}: no label; name at least one category, several with ; between")
    for name in names:
        if not _is_plain(name) or len(name) > LONGEST_NAME:
            raise InputError(
                f"{where}: {name[:LONGEST_NAME]!r} is no name for a category: control characters, "
                f"or more than {LONGEST_NAME} letters"
            )
    text = _tidy(caption) if caption is not None else ""
    if not _is_plain(text):
        raise InputError(f"{where}: the caption holds control characters; write text alone")
    return Addition(path, names, text or None, where)


def refuse_endless(file: Path) -> None:
    """Raise InputError for a pipe, a socket or a device: reading it might wait for ever."""
    try:
        kind = file.stat().st_mode
    except OSError:
        return  # whoever reads it says why it cannot be
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise InputError(f"{file}: is a pipe or a device; name a file")


def _tidy(text: str) -> str:
    """Return ``text`` with composed letters, trimmed, any white space one blank."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _is_plain(text: str) -> bool:
    """Return whether ``text`` could be written to a terminal, a file and a page as it is."""
    # Cc: control, Cs: half a letter, from an argument that is not UTF-8; Zl, Zp: line ends
    if text.isascii():
        return text.isprintable()
    bad = ("Cc", "Cs", "Zl", "Zp")
    return not any(unicodedata.category(c) in bad or c in DIRECTIONS for c in text)


def _same(name: str) -> str:
    """Return what two spellings of a category's name have in common."""
    return unicodedata.normalize("NFKC", name).casefold()


def category_named(name: str, categories: Sequence[dict[str, Any]]) -> str | None:
    """Return the category that ``name`` spells, in capitals or not; None where there is none."""
    wanted = _same(_tidy(name))
    return next((c["name"] for c in categories if _same(c["name"]) == wanted), None)


def unknown_category(name: str, categories: Sequence[dict[str, Any]]) -> str:
    """Return the words for a name that is no category: the closest ones."""
    known = {_same(category["name"]): category["name"] for category in categories}
    close = [known[key] for key in difflib.get_close_matches(_same(name), list(known), 3, 0.6)]
    return f"{name!r}" + (f" (did you mean {' or '.join(close)}?)" if close else "")


def match_labels(
    additions: Sequence[Addition], categories: Sequence[dict[str, Any]], new: bool
) -> tuple[list[list[str]], list[str]]:
    """Return the categories of each addition, as they are spelled, and those that are new.

    Names are matched without regard to capitals. Raises :class:`InputError` naming those that are
    unknown and the closest that are known, unless ``new``: then each becomes a category, in the
    order of their appearance and the spelling of the first.
    """
    spelled = {_same(category["name"]): category["name"] for category in categories}
    fresh: dict[str, str] = {}
    unknown: dict[str, str] = {}
    found: list[list[str]] = []
    for item in additions:
        names: list[str] = []
        for name in item.labels:
            key = _same(name)
            if key not in spelled and key not in fresh:
                fresh[key] = name
                unknown[key] = f"{unknown_category(name, categories)} in {item.where}"
            names.append(spelled.get(key) or fresh[key])
        found.append(list(dict.fromkeys(names)))
    if unknown and not new:
        first = ", ".join(list(unknown.values())[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        what = "unknown category" if len(unknown) == 1 else "unknown categories"
        raise InputError(f"{what} {first}{more}; --new-categories adds what is new")
    return found, list(fresh.values())


def checked_pictures(
    additions: Sequence[Addition],
    known: dict[str, int],
    present: Set[int],
    images: Path,
    pictures: Path,
    small_copy: Callable[[str], Path],
) -> list[str]:
    """Return the SHA-256 of each picture's bytes, after each was read and a small copy written.

    ``known``: ids of what was added before, by SHA-256; ``present`` the ids of all images in the
    database; ``images`` the table of the data set's images, ``pictures`` the root of their files;
    ``small_copy`` says where the copy of a picture goes, so that it can be shown when the file is
    gone. Raises :class:`InputError` naming all pictures that cannot be read, and those that would
    stand twice in the database or the list. A picture of the data set is recognised by file name
    and content; a renamed copy is not.
    """
    names = {item.path.name for item in additions}
    named = _images_named(names, present, images, pictures)
    seen: dict[str, str] = {checksum: f"image {number}" for checksum, number in known.items()}
    bad: list[str] = []
    twice: list[str] = []
    checksums: list[str] = []
    for item in track(additions, len(additions), "read", "picture"):
        try:
            picture = read_picture(item.path)
            checksum = sha256_file(item.path)
        except (UnreadableError, OSError) as error:
            bad.append(f"{item.path} ({error})")
            continue
        same = seen.get(checksum)
        for number, file in named.get(item.path.name, []):
            if same is None and file.is_file() and sha256_file(file) == checksum:
                same = f"image {number} of the data set"
        if same is None:
            _write_small(picture, small_copy(checksum))
        else:
            twice.append(f"{item.path} is {same}")
        seen.setdefault(checksum, str(item.path))
        checksums.append(checksum)
    if bad:
        what = "picture" if len(bad) == 1 else "pictures"
        raise InputError(f"{len(bad)} {what} cannot be read: {', '.join(bad)}; nothing is added")
    if twice:
        what = "picture" if len(twice) == 1 else "pictures"
        raise InputError(
            f"{len(twice)} {what} would stand twice: {', '.join(twice)}; nothing is added"
        )
    return checksums


def _write_small(picture: Image.Image, target: Path) -> None:
    picture.thumbnail((SMALL, SMALL), Image.Resampling.LANCZOS)
    with atomic_path(target) as temporary:
        picture.save(temporary, "JPEG", quality=85)


def _images_named(
    names: set[str], present: Set[int], images: Path, pictures: Path
) -> dict[str, list[tuple[int, Path]]]:
    """Return (image id, file) of the images ``present`` that bear one of ``names``, by name."""
    table = read_table(images).select(["image_id", "folder", "file_name"])
    found: dict[str, list[tuple[int, Path]]] = {}
    rows = zip(*(table[column].to_pylist() for column in table.column_names), strict=True)
    for number, folder, name in rows:
        if name in names and number in present:
            found.setdefault(name, []).append((number, image_path(pictures, folder, name)))
    return found
