"""Neighbour sheets: a few test images, the tags they were given, and the neighbours that voted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmhash.heads import HEADS
from mmhash.plots import cells
from mmhash.plots.cells import Cell, Distance, Face
from mmhash.plots.figures import BLACK, GREEN, GREY, VERMILLION

QUERIES, NEIGHBOURS = 5, 6  # a line, and in it
CELL, TAGS, HEIGHT, LOW_HEIGHT = 1.65, 1.7, 2.2, 1.2  # inches; TAGS: the column of the tags


@dataclass(frozen=True)
class Tag:
    """A class that an image was given or has; ``right``: it is among the labels."""

    category: str
    score: float
    threshold: float
    right: bool

    @property
    def named(self) -> bool:
        """Whether the score reaches the threshold."""
        return self.score >= self.threshold


@dataclass(frozen=True)
class Query:
    """An image with its tags and its nearest neighbours as (image, distance, share of the vote)."""

    image: int
    tags: list[Tag]
    near: list[tuple[int, float, float]]
    k: int


def queries(
    found: pa.Table,
    scores: np.ndarray,
    labels: np.ndarray,
    threshold: float | np.ndarray,
    names: Sequence[str],
) -> list[Query]:
    """Return :data:`QUERIES` of the images that have a label, evenly spaced from first to last.

    ``found`` is the table of neighbours of :class:`mmhash.retriever.Retriever` with ``image_id``,
    ``scores`` and ``labels`` are (n, C) of the same images, ``threshold`` one number or (C,). The
    tags are the classes named and the labels missed, best first, of equals the lower class; the
    rule does not look at whether they are right.
    """
    cuts = np.broadcast_to(np.asarray(threshold, dtype=np.float64), len(names))
    labelled = np.flatnonzero(labels.any(axis=1))
    places = np.linspace(0, len(labelled) - 1, min(QUERIES, len(labelled)))
    asked = []
    for row in labelled[places.round().astype(np.int64)].tolist():
        entry = found.slice(row, 1).to_pylist()[0]
        near = [entry[name] for name in ("neighbour_ids", "distances", "weights")]
        values = scores[row].astype(np.float64)
        tags = [
            Tag(names[c], float(values[c]), float(cuts[c]), bool(labels[row, c]))
            for c in np.argsort(-values, kind="stable")
            if values[c] >= cuts[c] or labels[row, c]
        ]
        shown = list(zip(*near, strict=True))[:NEIGHBOURS]
        asked.append(Query(entry["image_id"], tags, shown, len(near[0])))
    return asked


def image_ids(asked: Iterable[Query]) -> set[int]:
    """Return the images of the queries and of the neighbours that are shown."""
    return {
        image for query in asked for image in (query.image, *(entry[0] for entry in query.near))
    }


def neighbour_figure(
    asked: Sequence[Query],
    about: Mapping[int, Mapping[str, Any]],
    shown: Mapping[int, np.ndarray],
    head: str,
    distance: Distance,
    subject: str,
) -> Figure:
    """Draw a line a query: the image, its tags by ``head``, then who voted.

    ``about`` and ``shown`` are :func:`mmhash.plots.cells.described` and
    :func:`mmhash.plots.cells.thumbnails` of the images.
    """
    height = HEIGHT if shown else LOW_HEIGHT
    width = max(len(query.near) for query in asked)
    figure, axis = cells.canvas(
        CELL * (width + 1) + TAGS,
        height * len(asked),
        "Nearest neighbours of test images and their shares of the vote",
        "Queries evenly spaced among the test images with labels. ✓ and a thick frame: shares a "
        f"label; in italics the labels. Tags of the {HEADS[head]} head: score and threshold (val).",
        subject,
    )
    for line, query in enumerate(asked):
        y, labels = height * line, set(about[query.image]["category_ids"])
        asking = _cell(f"query {line + 1}", (), query.image, about, shown)
        cells.draw_cell(axis, 0, y, CELL, height, asking)
        _tags(axis, CELL, y, height, query)
        for place, (image, far, weight) in enumerate(query.near):
            good = bool(labels & set(about[image]["category_ids"]))
            title = f"{place + 1} {'✓' if good else '✗'} {distance.text(far)}"
            notes = (f"{100 * weight:.1f} % of the vote",)
            cell = _cell(title, notes, image, about, shown, GREEN if good else GREY)
            x = CELL + TAGS + CELL * place
            cells.draw_cell(axis, x, y, CELL, height, cell)
            cells.frame(axis, x, y, CELL, height, good)
    return figure


def _cell(
    head: str,
    notes: tuple[str, ...],
    image: int,
    about: Mapping[int, Mapping[str, Any]],
    shown: Mapping[int, np.ndarray],
    colour: str = BLACK,
) -> Cell:
    facts = about[image]
    return Cell(
        head,
        notes=(*notes, f"image {image}"),
        picture=shown.get(image),
        text=facts["caption"],
        lines=3,
        classes=facts["classes"] or "no label",
        colour=colour,
    )


def _tags(axis: Axes, x: float, y: float, height: float, query: Query) -> None:
    """Write the tags named and the labels missed, and what the neighbours shown weigh."""
    groups = {
        "tags named": [tag for tag in query.tags if tag.named],
        "labels missed": [tag for tag in query.tags if not tag.named],
    }
    left = x + cells.PADDING
    lines: list[tuple[str, Face, str]] = []
    for title, tags in groups.items():
        if not tags and title == "labels missed":
            continue
        lines.append((title, "bold", BLACK))
        for tag in tags:
            mark, colour = ("✓", GREEN) if tag.right else ("✗", VERMILLION)
            if not tag.named:
                mark, colour = "–", GREY
            sign = "≥" if tag.named else "<"
            numbers = f" {tag.score:.3f} {sign} {tag.threshold:.3f}"
            name = cells.wrapped(tag.category, 0.8, 1)
            lines.append((f"{mark} {name}{numbers}", "plain", colour))
        if not tags:
            lines.append(("no score reaches its threshold", "plain", GREY))
    room = int((height - 0.35) / cells.LINE)
    if len(lines) > room:
        lines[room - 1 :] = [(f"… {len(lines) - room + 1} more", "plain", GREY)]
    for place, (text, face, colour) in enumerate(lines):
        cells.write(axis, left, y + cells.PADDING + cells.LINE * place, text, face, colour=colour)
    share = 100 * sum(weight for *_, weight in query.near)
    text = f"these {len(query.near)} of {query.k}: {share:.0f} % of the vote"
    cells.write(axis, left, y + height - cells.PADDING - cells.LINE, text)
