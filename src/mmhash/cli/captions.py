"""Which pictures to tag, and a file of captions for them."""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmhash.errors import InputError

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True)
class Found:
    """A picture file; ``names`` are what a captions file may call it."""

    path: Path
    names: tuple[str, ...]


def find_pictures(places: Sequence[str]) -> list[Found]:
    """Return the named files, and the pictures below the named folders sorted by path.

    In a folder the ending decides (``ENDINGS``, in either case), and hidden files and folders are
    passed over. Raises :class:`InputError` for a folder without a picture, for an empty name, for a
    pipe or a device, which might never end, and where nothing of what is named exists.
    """
    from mmhash.additions import refuse_endless  # loads pyarrow

    found: list[Found] = []
    for place in places:
        if not place:  # of a variable that is not set; it would mean the working directory
            raise InputError("an empty name is no picture; name a file or a folder (. is this one)")
        if not os.path.isdir(place):  # noqa: PTH112  False for names that no system takes
            refuse_endless(Path(place))
            found.append(Found(Path(place), (place, Path(place).name)))
            continue
        files = sorted(_below(Path(place)))
        if not files:
            raise InputError(
                f"{place}: no picture ({', '.join(ENDINGS)}) in this folder or below it"
            )
        for file in files:
            refuse_endless(file)
            found.append(Found(file, (str(file), file.relative_to(place).as_posix())))
    if not any(os.path.lexists(one.path) for one in found):
        raise InputError(f"{found[0].path}: no such file or folder")
    return found


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and name.lower().endswith(ENDINGS):
                yield Path(place) / name


def read_captions(path: Path) -> dict[str, str]:
    """Return caption by file name from ``path``.

    ``.json`` holds one object, {"cat.jpg": "a cat on a sofa"}; other files are tables with the
    header ``file,caption`` (in ``.tsv`` parted by tabs), UTF-8. Raises :class:`InputError` naming
    the line that is wrong: another header, no caption, an empty one, or a file named twice.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: byte {error.start} is no UTF-8; save the captions as UTF-8"
        ) from None
    return _from_json(path, text) if path.suffix.lower() == ".json" else _from_table(path, text)


def _from_json(path: Path, text: str) -> dict[str, str]:
    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise InputError(f"{path}: {twice!r} stands twice; keep one of them")
        return found

    try:
        values = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:  # ValueError: a number of 4,300 digits, too
        raise InputError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(values, dict):
        raise InputError(f'{path}: must be one object, {{"cat.jpg": "a cat on a sofa"}}')
    for name, caption in values.items():
        if not isinstance(caption, str) or not caption.strip():
            raise InputError(f"{path}: {name!r} has no caption; give one, or leave the file out")
    return values


def _from_table(path: Path, text: str) -> dict[str, str]:
    parted = "\t" if path.suffix.lower() == ".tsv" else ","
    from mmhash.additions import LONGEST_CELL  # loads pyarrow

    csv.field_size_limit(LONGEST_CELL)  # Python's own bound is 131,072
    # not splitlines: a caption may hold U+2028 and other letters that are line ends to it
    lines_of_text = io.StringIO(text, newline="")
    rows = csv.reader(lines_of_text, delimiter=parted, strict=True)
    found: dict[str, str] = {}
    lines: dict[str, int] = {}
    try:
        header = [name.strip().lower() for name in next(rows, [])]
        if header != ["file", "caption"]:
            raise InputError(f"{path}: line 1 must be the header file{parted}caption")
        for row in rows:
            if not row:
                continue
            where = f"{path}: line {rows.line_num}"
            if len(row) != 2:
                mend = "put a caption with commas into quotes" if parted == "," else "keep one tab"
                raise InputError(f"{where}: {len(row)} columns where two are needed; {mend}")
            name, caption = row
            if not caption.strip():
                raise InputError(f"{where}: {name!r} has no caption; give one, or leave it out")
            if name in found:
                raise InputError(
                    f"{where}: {name!r} has a caption already (line {lines[name]}); keep one"
                )
            found[name], lines[name] = caption, rows.line_num
    except csv.Error as error:
        raise InputError(f"{path}: line {rows.line_num}: {error}") from None
    return found


def captions_for(
    pictures: Sequence[Found], captions: Mapping[str, str]
) -> tuple[list[str | None], list[str]]:
    """Return the caption of each picture, or None, and the names that are none of the pictures.

    Raises :class:`InputError` where a name means several pictures, or a picture has two captions
    under different names.
    """
    owners: dict[str, list[int]] = {}
    for number, picture in enumerate(pictures):
        for name in set(picture.names):
            owners.setdefault(name, []).append(number)
    given: list[str | None] = [None] * len(pictures)
    unknown: list[str] = []
    for name, caption in captions.items():
        places = owners.get(name, [])
        if len({pictures[at].path for at in places}) > 1:
            raise InputError(
                f"captions: {name!r} means {len(places)} of the pictures, such as "
                f"{pictures[places[0]].path} and {pictures[places[1]].path}; write the path"
            )
        for at in places:
            if given[at] is not None:
                raise InputError(f"captions: {pictures[at].path} has two; keep one")
            given[at] = caption
        if not places:
            unknown.append(name)
    return given, unknown
