"""Sheets of cells: pictures with captions and classes, placed in inches, text that stays inside.

An image is shown as its picture, where the dataset has pictures, else by its id and caption. Text
is measured, so that wide letters leave no cell; what the font cannot write is a □.
"""

import logging
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Rectangle

from mmhash.data.coco import image_path
from mmhash.data.picture import UnreadableError, read_picture
from mmhash.data.raw import ensure_raw
from mmhash.errors import InputError
from mmhash.files import read_table
from mmhash.plots.figures import BLACK, GREEN, GREY, STYLE

logger = logging.getLogger("mmhash")

PIXELS = 160  # the longer side of a thumbnail
SMALL, BOLD, NOTE, TITLE = 6.5, 8.5, 9.0, 12.0  # points
PITCH = 1.22 / 72  # inches a point from a line to the next
LINE = SMALL * PITCH
PADDING = 0.07  # inches around the content of a cell
MOST_CHARACTERS = 1000  # of a text that are looked at: no cell holds more
FACES: dict[str, dict[str, Any]] = {"plain": {}, "bold": {"weight": "bold"}}
FACES["italic"] = {"style": "italic"}
Face = Literal["plain", "bold", "italic"]


@dataclass(frozen=True)
class Cell:
    """What stands in a cell: a bold head, small lines, a picture, a text, classes at the foot.

    ``lines`` is how many lines the text takes at most, ``class_lines`` those of the classes.
    Without a picture the text begins where the picture would.
    """

    head: str
    notes: tuple[str, ...] = ()
    picture: np.ndarray | None = None
    text: str = ""
    lines: int = 3
    classes: str = ""
    class_lines: int = 2
    colour: str = BLACK


@dataclass(frozen=True)
class Distance:
    """A distance ``kind`` as in ``knn.distance``; without ``bits`` there are no codes: a cosine."""

    kind: str
    bits: int | None

    def text(self, value: float) -> str:
        """Return the distance ``value`` in words."""
        if not self.bits or self.kind in ("cosine", "hybrid"):
            return f"1 − cos {value:.3f}"
        if self.kind == "hamming":
            return f"{value:.0f} of {self.bits} bits"
        return f"1 − hᵀb / B {value:.3f}"


def described(
    ids: Iterable[int], images: Path, categories: list[dict[str, Any]]
) -> dict[int, dict[str, Any]]:
    """Return folder, file name, caption, classes and category ids of the images ``ids``, by id.

    ``images`` is ``data/images.parquet``, ``categories`` the entries of ``data/categories.json``;
    the caption is the first one, as in the retrieval. Raises :class:`InputError` for an image that
    is not in the table.
    """
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    names = {entry["id"]: entry["name"] for entry in categories}
    table = read_table(images)
    about = {}
    chosen = pa.array(wanted, pa.int64())
    for row in table.filter(pc.is_in(table["image_id"], value_set=chosen)).to_pylist():
        about[row["image_id"]] = {
            "folder": row["folder"],
            "file_name": row["file_name"],
            "caption": next(iter(row["captions"]), ""),
            "classes": ", ".join(names[number] for number in row["category_ids"]),
            "category_ids": row["category_ids"],
        }
    missing = [image for image in wanted if image not in about]
    if missing:
        raise InputError(
            f"{images}: holds no image {missing[0]}, which the predictions name; run evaluate again"
        )
    return about


def thumbnails(
    about: Mapping[int, Mapping[str, Any]], dataset: str, root: Path
) -> dict[int, np.ndarray]:
    """Return small pictures (height, width, 3) uint8 by image id, below the raw data ``root``.

    They stand upright, as the towers saw them. Features without pictures give none, and a picture
    that cannot be read is left out. Where the dataset's pictures are not there at all, a warning
    says so: who has the features may have put the pictures away, and ablations go on.
    """
    files = {
        image: image_path(root, entry["folder"], entry["file_name"])
        for image, entry in about.items()
        if entry["file_name"]
    }
    try:
        if files:
            ensure_raw(dataset, root)
    except InputError as error:
        logger.warning("sheets show ids in place of pictures: %s", error)
        return {}
    shown = {}
    for image, path in files.items():
        try:
            small = read_picture(path)
        except UnreadableError:
            continue
        small.thumbnail((PIXELS, PIXELS))
        shown[image] = np.asarray(small)
    return shown


def legible(text: str) -> str:
    """Return ``text`` in one line, with a □ for each run of characters that the font lacks.

    Characters without a shape (controls, marks of direction) are left out.
    """
    made: list[str] = []
    for letter in " ".join(text[:MOST_CHARACTERS].split()):
        if unicodedata.category(letter) in ("Cc", "Cf"):
            continue
        if ord(letter) in _drawable():
            made.append(letter)
        elif made[-1:] != ["□"]:
            made.append("□")
    return "".join(made)


def says_something(text: str) -> bool:
    """Return whether a letter or digit of ``text`` can be shown."""
    return any(letter.isalnum() for letter in legible(text))


def wrapped(text: str, inches: float, lines: int, size: float = SMALL, face: Face = "plain") -> str:
    """Return ``text`` broken into at most ``lines`` of ``inches``; … says that more follows."""
    room = 72 * inches / size * 0.97  # letters are drawn on whole pixels, some of them wider

    def fits(part: str) -> bool:
        return sum(_advance(letter, face) for letter in part) <= room

    made, line = [], ""
    for word in legible(text).split():
        if line and fits(word) and not fits(f"{line} {word}"):
            made.append(line)
            line = word
            continue
        line = f"{line} {word}" if line else word
        while not fits(line):  # a word longer than a line is broken where the line ends
            count = next(n for n in range(len(line), 0, -1) if n == 1 or fits(line[:n]))
            made.append(line[:count].rstrip())
            line = line[count:].lstrip()
    made += [line] if line else []
    if len(made) > lines or (len(text) > MOST_CHARACTERS and len(made) == lines):
        last = made[lines - 1]
        while last and not fits(f"{last} …"):
            words = last.rpartition(" ")[0]
            last = words if 2 * len(words) > len(last) else last[:-1].rstrip()
        made[lines - 1 :] = [f"{last} …".lstrip()]
    return "\n".join(made)


def canvas(width: float, height: float, title: str, note: str, subject: str) -> tuple[Figure, Axes]:
    """Return a figure with axes of ``width`` × ``height`` inches, y downwards, below the title.

    ``note`` explains the signs in smaller letters, ``subject`` says what is shown.
    """
    room = width - 2 * PADDING
    large = wrapped(f"{title} ({subject})", room, 3, TITLE, "bold")
    small = wrapped(note, room, 4, NOTE)
    first, second = (
        size * PITCH * (text.count("\n") + 1) for text, size in ((large, TITLE), (small, NOTE))
    )
    above = first + second + 2 * PADDING
    figure = Figure(figsize=(width + 0.1, above + height + 0.05))
    figure.set_layout_engine("none")
    across, down = figure.get_size_inches()
    place = (0.05 / across, 0.05 / down, width / across, (above + height) / down)
    axis = figure.add_axes(place, xlim=(0, width), ylim=(height, -above))
    axis.set_axis_off()
    write(axis, PADDING, PADDING - above, large, "bold", TITLE)
    write(axis, PADDING, PADDING - above + first, small, size=NOTE)
    return figure, axis


def write(
    axis: Axes,
    x: float,
    y: float,
    text: str,
    face: Face = "plain",
    size: float = SMALL,
    colour: str = BLACK,
) -> None:
    """Write ``text`` from its upper left corner at (x, y) in inches; a $ begins no formula.

    Each line by itself: those of a text would stand higher or lower with the letters in them.
    """
    for place, line in enumerate(text.split("\n")):
        base = y + size * (0.95 / 72 + PITCH * place)
        look: dict[str, Any] = {"fontsize": size, "color": colour, **FACES[face]}
        axis.text(x, base, line, va="baseline", parse_math=False, **look)


def draw_cell(axis: Axes, x: float, y: float, width: float, height: float, cell: Cell) -> None:
    """Draw a cell whose upper left corner is (x, y); everything in inches."""
    left, room, foot = x + PADDING, width - 2 * PADDING, y + height - PADDING
    top = y + PADDING
    head = wrapped(cell.head, room, 1, BOLD, "bold")
    write(axis, left, top, head, "bold", BOLD, cell.colour)
    top += BOLD * PITCH
    for note in cell.notes:
        write(axis, left, top, wrapped(note, room, 1), colour=GREY)
        top += LINE
    if cell.classes:
        classes = wrapped(cell.classes, room, cell.class_lines, face="italic")
        write(axis, left, foot - LINE * (classes.count("\n") + 1), classes, "italic", colour=GREY)
    top += 0.04
    if cell.picture is not None:
        lines = cell.lines if cell.text else 0
        low = foot - (cell.class_lines + lines) * LINE - 0.04
        _picture(axis, cell.picture, left, top, room, low - top)
        top = low + 0.02
    if cell.text:
        write(axis, left, top, wrapped(cell.text, room, cell.lines))


def frame(axis: Axes, x: float, y: float, width: float, height: float, good: bool) -> None:
    """Draw the frame of a cell: thick and green where it is relevant, else thin and dashed."""
    look: dict[str, Any] = {"edgecolor": GREEN, "linewidth": 2.5}
    if not good:
        look = {"edgecolor": GREY, "linewidth": 0.8, "linestyle": "--"}
    axis.add_patch(Rectangle((x + 0.03, y + 0.03), width - 0.06, height - 0.06, fill=False, **look))


def _picture(
    axis: Axes, picture: np.ndarray, x: float, y: float, width: float, height: float
) -> None:
    """Draw a picture as large as it fits the box, in the middle of its width."""
    high, wide, _ = picture.shape
    scale = min(width / wide, height / high)
    left = x + (width - scale * wide) / 2
    extent = (left, left + scale * wide, y + scale * high, y)
    limits = axis.get_xlim(), axis.get_ylim()
    axis.imshow(picture, extent=extent, aspect="auto", interpolation="bilinear")
    axis.set(xlim=limits[0], ylim=limits[1])


@cache
def _font(face: Face) -> FT2Font:
    """A font of its own: the one that matplotlib draws with is set to sizes of its own."""
    return FT2Font(findfont(FontProperties(family=STYLE["font.family"], **FACES[face])))


@cache
def _drawable() -> frozenset[int]:
    """The characters that every face has."""
    return frozenset.intersection(*(frozenset(_font(face).get_charmap()) for face in FACES))


@cache
def _advance(letter: str, face: Face) -> float:
    """Return the width of a letter as a share of the font size."""
    font = _font(face)
    font.set_size(100, 72)
    return font.load_char(ord(letter)).linearHoriAdvance / 65536 / 100
