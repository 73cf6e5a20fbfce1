"""Retrieval sheets: what a few queries find in the other modality, as a table and as a picture.

Queries and items are those of :func:`mmhash.across.sheet_rows`, a rule that does not look at the
results. An image is shown as its picture, where the dataset has pictures, a text as its caption;
without either, as its id. Below stand the classes.
"""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from mmhash.data.coco import image_path
from mmhash.data.raw import ensure_raw
from mmhash.files import read_table
from mmhash.metrics.tasks import TASKS
from mmhash.plots.figures import GREEN, GREY
from mmhash.plots.tables import Table

PIXELS = 160  # the longer side of a thumbnail
CELL, LOW_CELL, HEAD = 1.5, 0.8, 0.26  # inches: a cell, its height with ids alone, its first line
CHARACTERS, CAPTION_LINES, CLASS_LINES = 25, 6, 2  # that fit a cell
COLUMNS = (
    *("query", "query_id", "query_classes", "query_caption", "rank", "distance"),
    *("shared", "relevant", "item_id", "item_classes", "item_caption"),
)


def described(
    found: pa.Table, images: Path, categories: list[dict[str, Any]]
) -> dict[int, dict[str, Any]]:
    """Return folder, file name, caption and classes of each image of the sheet ``found``.

    By image id. ``images`` is ``data/images.parquet``, ``categories`` the entries of
    ``data/categories.json``; the caption is the first one, as in the retrieval.
    """
    ids = pa.chunked_array([*found["query_id"].chunks, *found["item_id"].chunks], pa.int64())
    if not len(ids):
        return {}
    names = {entry["id"]: entry["name"] for entry in categories}
    table = read_table(images)
    about = {}
    for row in table.filter(pc.is_in(table["image_id"], value_set=ids.unique())).to_pylist():
        about[row["image_id"]] = {
            "folder": row["folder"],
            "file_name": row["file_name"],
            "caption": next(iter(row["captions"]), ""),
            "classes": ", ".join(names[number] for number in row["category_ids"]),
        }
    return about


def thumbnails(
    about: Mapping[int, Mapping[str, Any]], dataset: str, root: Path
) -> dict[int, np.ndarray]:
    """Return small pictures (height, width, 3) uint8 by image id, below the raw data ``root``.

    Features without pictures give none, and a picture that cannot be read is left out. Raises
    :class:`mmhash.errors.InputError` where the dataset's pictures are not there at all.
    """
    files = {
        image: image_path(root, entry["folder"], entry["file_name"])
        for image, entry in about.items()
        if entry["file_name"]
    }
    if files:
        ensure_raw(dataset, root)
    shown = {}
    for image, path in files.items():
        try:
            with Image.open(path) as picture:
                small = picture.convert("RGB")
        except OSError:
            continue
        small.thumbnail((PIXELS, PIXELS))
        shown[image] = np.asarray(small)
    return shown


def sheet_table(found: pa.Table, about: Mapping[int, Mapping[str, Any]], task: str) -> Table:
    """Return the rows of one task of the sheet, with classes and captions of query and item."""
    rows = []
    for row in found.filter(pc.equal(found["task"], task)).to_pylist():
        entry = {"relevant": "relevant" if row["shared"] else "not relevant", **row}
        for role in ("query", "item"):
            facts = about[row[f"{role}_id"]]
            entry |= {f"{role}_{name}": facts[name] for name in ("classes", "caption")}
        rows.append(entry)
    return {name: [row[name] for row in rows] for name in COLUMNS}


def sheet_figure(
    table: Table, shown: Mapping[int, np.ndarray], task: str, bits: int | None, subject: str
) -> Figure:
    """Draw a line a query: the query, then what it finds.

    ``shown`` are :func:`thumbnails`. Relevant items have a ✓ and a thick frame, others a ✗ and a
    thin dashed one.
    """
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    lines, width = max(table["query"]), max(table["rank"]) + 1
    sides = TASKS[task]
    tall = bool(shown) or any(table["item_caption"])
    height = CELL if tall else LOW_CELL
    figure = Figure(figsize=(CELL * width + 0.3, height * lines + 0.9))
    axis = figure.subplots()
    axis.set(xlim=(-0.02, width + 0.02), ylim=(lines + 0.02, -0.02))
    axis.set_axis_off()
    above = 0.07 / height
    bold: dict[str, Any] = {"va": "top", "weight": "bold", "fontsize": 8.5}
    for row in rows:
        place = (row["rank"], row["query"] - 1)
        if row["rank"] == 1:
            _cell(axis, (0, place[1]), height, row, "query", sides.ask, shown)
            axis.text(0.05, place[1] + above, f"query {row['query']}", **bold)
        _cell(axis, place, height, row, "item", sides.answer, shown)
        far = f"{row['distance']:.0f} of {bits} bits" if bits else f"1 − cos {row['distance']:.3f}"
        head = f"{row['rank']} {'✓' if row['shared'] else '✗'}  {far}"
        colour = GREEN if row["shared"] else GREY
        axis.text(place[0] + 0.05, place[1] + above, head, color=colour, **bold)
        look: dict[str, Any] = {"edgecolor": GREEN, "linewidth": 2.5}
        if not row["shared"]:
            look = {"edgecolor": GREY, "linewidth": 0.8, "linestyle": "--"}
        corner = (place[0] + 0.02, place[1] + 0.02)
        axis.add_patch(Rectangle(corner, 0.96, 0.96, facecolor="none", **look))
    figure.suptitle(
        f"{sides.title.capitalize()}: the nearest items of {lines} test queries, evenly "
        f"spaced; ✓ shares a label, equally near ones in the order of the database\n{subject}"
    )
    return figure


def _cell(
    axis: Axes,
    place: tuple[int, int],
    height: float,
    row: Mapping[str, Any],
    role: str,
    modality: str,
    shown: Mapping[int, np.ndarray],
) -> None:
    """Draw an image or a text at ``place`` (column, line), ``height`` inches, classes below."""
    (x, y), top = place, place[1] + HEAD / height
    image = row[f"{role}_id"]
    classes = _wrapped(row[f"{role}_classes"] or "no label", CLASS_LINES)
    small: dict[str, Any] = {"fontsize": 6.5}
    axis.text(x + 0.05, y + 0.96, classes, va="bottom", color=GREY, style="italic", **small)
    if modality == "image" and image in shown:
        high, wide, _ = shown[image].shape
        scale = min(0.9 / wide, 0.62 / high)
        left = x + 0.5 - scale * wide / 2
        extent = (left, left + scale * wide, top + scale * high, top)
        axis.imshow(shown[image], extent=extent, aspect="auto", interpolation="bilinear")
        return
    caption = row[f"{role}_caption"] if modality == "text" else ""
    text = _wrapped(caption, CAPTION_LINES) if caption else f"{modality} of\nid {image}"
    axis.text(x + 0.05, top, text, va="top", **small)


def _wrapped(text: str, lines: int) -> str:
    parts = textwrap.wrap(text, CHARACTERS, max_lines=lines, placeholder=" …")
    # a dollar sign would begin a formula
    return "\n".join(parts).replace("$", r"\$")
