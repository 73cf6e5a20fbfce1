"""Retrieval sheets: what a few queries find in the other modality, as a table and as a picture.

Queries and items are those of :func:`mmhash.across.sheet_rows`, a rule that does not look at the
results. An image is shown as its picture, where the dataset has pictures, a text as its caption;
without either, as its id. Below stand the classes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.figure import Figure

from mmhash.metrics.tasks import TASKS
from mmhash.plots import cells
from mmhash.plots.cells import Cell
from mmhash.plots.figures import BLACK, GREEN, GREY
from mmhash.plots.tables import Table

CELL, LOW_CELL = 1.5, 0.8  # inches: a cell, its height with ids alone
CAPTION_LINES = 7  # that fit a cell
COLUMNS = (
    *("query", "query_id", "query_classes", "query_caption", "rank", "distance"),
    *("shared", "relevant", "item_id", "item_classes", "item_caption"),
)


def sheet_ids(found: pa.Table) -> set[int]:
    """Return the images of the sheet ``found``: queries and items."""
    return {*found["query_id"].to_pylist(), *found["item_id"].to_pylist()}


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

    ``shown`` are :func:`mmhash.plots.cells.thumbnails`. Relevant items have a ✓ and a thick frame,
    others a ✗ and a thin dashed one.
    """
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    lines, width = max(table["query"]), max(table["rank"]) + 1
    sides = TASKS[task]
    height = CELL if shown or any(table["item_caption"]) else LOW_CELL
    figure, axis = cells.canvas(
        CELL * width,
        height * lines,
        f"{sides.title.capitalize()}: the nearest items of {lines} test queries",
        "Queries evenly spaced; ✓ and a thick frame: shares a label; equally near ones in the "
        "order of the database; in italics the labels.",
        subject,
    )
    for row in rows:
        x, y, size = CELL * row["rank"], height * (row["query"] - 1), (CELL, height)
        if row["rank"] == 1:
            query = _cell(row, "query", sides.ask, shown, f"query {row['query']}", BLACK)
            cells.draw_cell(axis, 0, y, *size, query)
        far = cells.Distance("hamming", bits).text(row["distance"])
        head = f"{row['rank']} {'✓' if row['shared'] else '✗'} {far}"
        colour = GREEN if row["shared"] else GREY
        cells.draw_cell(axis, x, y, *size, _cell(row, "item", sides.answer, shown, head, colour))
        cells.frame(axis, x, y, *size, good=bool(row["shared"]))
    return figure


def _cell(
    row: Mapping[str, Any],
    role: str,
    modality: str,
    shown: Mapping[int, np.ndarray],
    head: str,
    colour: str,
) -> Cell:
    """Return the cell of an image or a text."""
    image, classes = row[f"{role}_id"], row[f"{role}_classes"] or "no label"
    if modality == "image" and image in shown:
        return Cell(head, picture=shown[image], classes=classes, colour=colour)
    caption = row[f"{role}_caption"] if modality == "text" else ""
    text = caption if cells.says_something(caption) else f"{modality} of id {image}"
    return Cell(head, text=text, lines=CAPTION_LINES, classes=classes, colour=colour)
