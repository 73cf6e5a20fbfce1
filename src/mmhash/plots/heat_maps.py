"""Matrices as heat maps; functions as in :mod:`mmhash.plots.figures`."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mmhash.heads import HEADS
from mmhash.plots.tables import Table


def confusion_figure(table: Table, subject: str) -> Figure:
    """Draw what really occurs together and what each head predicts, a panel each."""
    sources = list(dict.fromkeys(table["source"]))
    size = max(table["row"])
    classes: list[str] = [""] * size
    for name, place in zip(table["present"], table["row"], strict=True):
        classes[place - 1] = name
    columns = min(3, len(sources))
    lines = -(-len(sources) // columns)
    figure = Figure(figsize=(3.4 * columns + 2.0, 3.9 * lines + 0.8))
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    used = axes[: len(sources)]
    for axis, source in zip(used, sources, strict=True):
        share = np.zeros((size, size))
        for name, row, column, value in _rows(table, "source", "row", "column", "share"):
            if name == source:
                share[row - 1, column - 1] = value
        # The layout keeps panels of any shape apart, but not those that insist on being square.
        image = axis.imshow(share, vmin=0, vmax=1, cmap="viridis", aspect="auto")
        axis.grid(visible=False)
        axis.set_xticks(range(size), classes, rotation=90, fontsize=8)
        axis.set_yticks(range(size), classes, fontsize=8)
        truth = source == "labels"
        axis.set_title("labels: what occurs together" if truth else f"{HEADS[source]} head")
        axis.set_xlabel("class present too" if truth else "class predicted")
    for axis in axes[::columns]:
        axis.set_ylabel("class present")
    for axis in axes[len(sources) :]:
        axis.set_visible(False)
    figure.colorbar(image, ax=list(axes), label="share of the images with the class", aspect=40)
    figure.suptitle(
        f"Classes predicted where a class is present, the {size} classes of most images, "
        f"thresholds from val\n{subject}"
    )
    return figure


def bit_correlation_figure(table: Table, subject: str) -> Figure:
    """Draw the correlation of each pair of bits; independent bits are white off the diagonal."""
    size = max(table["bit"]) + 1
    matrix = np.eye(size)
    for bit, other, value in _rows(table, "bit", "other", "correlation"):
        matrix[bit, other] = matrix[other, bit] = value
    figure = Figure(figsize=(6.2, 5.4))
    axis = figure.subplots()
    image = axis.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r", interpolation="nearest")
    axis.grid(visible=False)
    axis.set(xlabel="bit", ylabel="bit")
    figure.colorbar(image, ax=axis, label="Pearson correlation r")
    mean = np.abs(np.array(table["correlation"])).mean()
    axis.set_title(f"Correlation of bits: mean |r| of different bits {mean:.3f}\n{subject}")
    return figure


def _rows(table: Table, *names: str) -> Any:
    return zip(*(table[name] for name in names), strict=True)
