"""From tables to matplotlib figures.

Every function takes a table of :mod:`mmhash.plots.tables` and the line that says what is shown
(dataset, split, code length), and returns a figure. Colours are those of Okabe and Ito, which stay
apart for colour-blind eyes; series differ in marker or dash as well.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mmhash.files import atomic_path
from mmhash.heads import HEADS
from mmhash.plots.tables import FIGURES, Table

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
BLACK, GREY = "#000000", "#57606a"
LOOKS = {
    "knn": (BLUE, "o", "-"),
    "classifier": (VERMILLION, "s", "--"),
    "hybrid": (PURPLE, "D", "-."),
    "zeroshot": (GREEN, "^", ":"),
}
# Series of the panels by epoch; those of one panel differ in colour and dash.
SERIES = {
    **dict.fromkeys(("train", "image", "all pairs", "all layers"), (BLUE, "-")),
    **dict.fromkeys(("a common label", "own text"), (BLUE, "-")),
    **dict.fromkeys(("val", "text", "no common label", "other texts"), (VERMILLION, "--")),
    **dict.fromkeys(("fused", "gap"), (GREEN, ":")),
}
MOST_CLASSES = 120  # a taller picture cannot be read; best and worst are shown
TITLE_WIDTH = 6.4  # inches that a title over all panels takes, also where there is a single panel
STYLE: Any = {  # matplotlib types the keys as literals
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture on every machine
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def class_figure(table: Table, head: str, subject: str) -> Figure:
    """Draw AP, precision, recall and F1 of each class as four columns of bars, best AP on top."""
    rows = _best_and_worst(len(table["class"]))
    left_out = len(table["class"]) - len(rows)
    figure = Figure(figsize=(11, max(2.6, 0.165 * len(rows) + 1.3)))
    axes = figure.subplots(1, len(FIGURES), squeeze=False)[0]
    places = np.arange(len(rows))
    for axis, name in zip(axes, FIGURES, strict=True):
        values = [table[name][row] for row in rows]
        axis.barh(places, [value or 0.0 for value in values], color=BLUE, height=0.8)
        for place, value in zip(places, values, strict=True):
            if value is None:
                axis.text(0.02, place, "no positive image", va="center", color=GREY, fontsize=7)
        axis.set(xlim=(0, 1), xlabel=name if name != "AP" else "average precision (AP)")
        axis.set(ylim=(len(rows) - 0.4, -0.6), yticks=[])
    axes[0].set_yticks(places, [table["class"][row] for row in rows], fontsize=8)
    axes[0].grid(axis="y", visible=False)
    note = f"; the {left_out} in the middle not shown" if left_out else ""
    figure.suptitle(f"Figures by class, {HEADS[head]} head, sorted by AP{note}\n{subject}")
    return figure


def precision_recall_figure(table: Table, subject: str) -> Figure:
    """Draw the micro precision-recall curve of each head with its decision threshold as a dot."""
    figure, axis = _single(6.4, 5.2)
    for head in dict.fromkeys(table["head"]):
        colour, marker, dash = LOOKS[head]
        for operating in (0, 1):
            points = [
                (recall, precision)
                for name, recall, precision, kind in _rows(
                    table, "head", "recall", "precision", "operating"
                )
                if name == head and kind == operating
            ]
            if not points:
                continue
            x, y = zip(*points, strict=True)
            if operating:
                axis.plot(x, y, marker, color=colour, markersize=8, markeredgecolor="black")
            else:
                axis.step(x, y, where="pre", color=colour, linestyle=dash, label=HEADS[head])
    axis.plot([], [], "o", color="none", markeredgecolor="black", label="threshold from val")
    axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axis.legend(title="head")
    axis.set_title(f"Precision and recall over all image-class pairs\n{subject}")
    return figure


def training_figure(table: Table, title: str, subject: str) -> Figure:
    """Draw each panel of a table by epoch; train is solid and val dashed (:data:`SERIES`)."""
    panels = list(dict.fromkeys(table["panel"]))
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(3.7 * columns, 2.5 * lines + 0.6))
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for axis, panel in zip(axes, panels, strict=False):
        for series, (colour, dash) in SERIES.items():
            points = [
                (epoch, value)
                for name, kind, epoch, value in _rows(table, "panel", "series", "epoch", "value")
                if name == panel and kind == series
            ]
            if points:
                x, y = zip(*points, strict=True)
                axis.plot(x, y, dash, color=colour, marker="o", markersize=3, label=series)
        axis.set(title=panel, xlabel="epoch")
        axis.ticklabel_format(axis="y", useOffset=False)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.legend(fontsize=8)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle(f"{title}\n{subject}")
    return figure


def reliability_figure(table: Table, subject: str) -> Figure:
    """Draw observed frequency against score of each head, with the number of pairs below."""
    heads = list(dict.fromkeys(table["head"]))
    figure = Figure(figsize=(max(3.3 * len(heads) + 0.8, TITLE_WIDTH), 5.4))
    axes = figure.subplots(
        2, len(heads), squeeze=False, sharex=True, sharey="row", height_ratios=[3, 1]
    )
    for (above, below), head in zip(axes.T, heads, strict=True):
        colour, marker, _ = LOOKS[head]
        above.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
        for kind, dash, face in (("raw", "-", colour), ("calibrated", "--", "white")):
            points = [
                row[2:]
                for row in _rows(table, "head", "kind", "score", "frequency", "count")
                if row[:2] == (head, kind)
            ]
            x, y, count = zip(*points, strict=True)
            gaps = np.abs(np.subtract(x, y))
            label = f"{kind}, ECE {np.average(gaps, weights=count):.4f}"
            above.plot(x, y, dash, color=colour, marker=marker, markerfacecolor=face, label=label)
            below.plot(x, count, dash, color=colour, marker=marker, markerfacecolor=face)
        above.set(title=HEADS[head], xlim=(0, 1), ylim=(0, 1.02))
        above.legend(fontsize=8, loc="best")
        below.set(xlabel="mean score of the bin", yscale="log")
    axes[0, 0].set_ylabel("share of pairs with the label")
    axes[1, 0].set_ylabel("pairs (log scale)")
    figure.suptitle(f"Reliability over all image-class pairs, calibration from val\n{subject}")
    return figure


def distance_figure(table: Table, subject: str) -> Figure:
    """Draw precision against recall of all items within each Hamming distance."""
    figure, axis = _single(6.0, 4.6)
    axis.plot(table["recall"], table["precision"], color=BLUE, marker="o", markersize=4)
    labelled = -1.0
    for distance, recall, precision in _rows(table, "distance", "recall", "precision"):
        if recall > labelled + 0.06:  # closer numbers would overlap
            labelled = recall
            axis.annotate(
                f"{distance}", (recall, precision), (4, 5), textcoords="offset points", fontsize=8
            )
    axis.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axis.set_title(f"Retrieval within a Hamming distance (numbers: bits)\n{subject}")
    return figure


def frequency_figure(table: Table, subject: str) -> Figure:
    """Draw AP against the number of images of each class, one panel a head."""
    heads = list(dict.fromkeys(table["head"]))
    figure = Figure(figsize=(max(3.9 * len(heads) + 0.6, TITLE_WIDTH), 4.2))
    axes = figure.subplots(1, len(heads), sharey=True, squeeze=False)[0]
    for axis, head in zip(axes, heads, strict=True):
        colour, marker, _ = LOOKS[head]
        points = [
            (images, ap)
            for name, images, ap in _rows(table, "head", "images", "AP")
            if name == head and images > 0 and ap is not None
        ]
        if points:
            x, y = zip(*points, strict=True)
            axis.scatter(x, y, s=26, marker=marker, facecolor="none", edgecolor=colour)
        _log_counts(axis, [images for images, _ in points])
        axis.set(title=HEADS[head], ylim=(0, 1.02), xlabel="images with the class (log scale)")
    axes[0].set_ylabel("average precision (AP)")
    figure.suptitle(f"Average precision against class frequency, a point a class\n{subject}")
    return figure


def class_frequency_figure(table: Table, subject: str) -> Figure:
    """Draw how many images have each class, commonest first."""
    rows = _best_and_worst(len(table["class"]))
    figure, axis = _single(6.4, max(2.6, 0.165 * len(rows) + 1.3))
    axis.barh(range(len(rows)), [table["images"][row] for row in rows], color=BLUE, height=0.8)
    axis.set_yticks(range(len(rows)), [table["class"][row] for row in rows], fontsize=8)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    axis.set(xlabel="images with the class")
    axis.set_title(f"Class frequency\n{subject}")
    return figure


def histogram_figure(table: Table, subject: str) -> Figure:
    """Draw the distributions of labels, captions and caption lengths, a panel each."""
    quantities = list(dict.fromkeys(table["quantity"]))
    figure = Figure(figsize=(3.7 * len(quantities) + 0.6, 3.4))
    for axis, quantity in zip(
        figure.subplots(1, len(quantities), squeeze=False)[0], quantities, strict=True
    ):
        points = [
            (value, share)
            for name, value, share in _rows(table, "quantity", "value", "share")
            if name == quantity
        ]
        x, y = zip(*points, strict=True)
        axis.bar(x, y, color=BLUE, width=0.85)
        axis.set(xlabel=quantity, ylabel=f"share of {quantity.split()[-1]}s")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(axis="x", visible=False)
    figure.suptitle(f"Labels and captions of the dataset\n{subject}")
    return figure


def soft_code_figure(table: Table, subject: str) -> Figure:
    """Draw the distribution of soft code values h by epoch, and that of the last epoch beside."""
    epochs = sorted(set(table["epoch"]))
    lefts, rights = sorted(set(table["bin_left"])), sorted(set(table["bin_right"]))
    share = np.zeros((len(lefts), len(epochs)))
    for epoch, left, fraction in _rows(table, "epoch", "bin_left", "fraction"):
        share[lefts.index(left), epochs.index(epoch)] = fraction
    figure = Figure(figsize=(9, 4.4))
    over_time, last = figure.subplots(1, 2, sharey=True, width_ratios=[2, 1])
    edges = [*lefts, rights[-1]]
    columns = np.arange(len(epochs) + 1) - 0.5 + epochs[0]
    mesh = over_time.pcolormesh(columns, edges, share, cmap="viridis", norm=PowerNorm(0.5))
    over_time.grid(visible=False)
    over_time.set(xlabel="epoch", ylabel="soft code value h", title="over epochs")
    over_time.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    figure.colorbar(mesh, ax=over_time, label="share of values")
    last.barh(lefts, share[:, -1], height=np.diff(edges), align="edge", color=BLUE)
    last.set(xlabel="share of values", title=f"epoch {epochs[-1]:.0f}", ylim=(-1, 1))
    figure.suptitle(f"Soft codes: binary where the mass lies at ±1\n{subject}")
    return figure


def bit_figure(table: Table, subject: str) -> Figure:
    """Draw the share of ones of each bit, sorted; 0.5 is balanced, 0 and 1 are constant bits."""
    figure, axis = _single(7.2, 4.0)
    axis.axhline(0.5, color=GREY, linestyle="--", linewidth=1)
    axis.bar(table["rank"], np.array(table["ones"]) - 0.5, bottom=0.5, color=BLUE, width=0.8)
    axis.set(ylim=(0, 1), xlabel="bit, sorted by its share of ones", ylabel="share of items with 1")
    axis.grid(axis="x", visible=False)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.set_title(f"Bit balance: bars start at 0.5, the balanced share\n{subject}")
    return figure


def save_png(path: Path, figure: Figure, dpi: int) -> None:
    """Write a figure as PNG atomically; equal figures give equal bytes (no version, no date)."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi, metadata={"Software": None})


@contextmanager
def style() -> Iterator[None]:
    """Draw and save figures inside this context: a user's matplotlibrc has no say in it."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def _single(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots()


def _rows(table: Mapping[str, list[Any]], *names: str) -> Any:
    return zip(*(table[name] for name in names), strict=True)


def _best_and_worst(count: int) -> list[int]:
    if count <= MOST_CLASSES:
        return list(range(count))
    half = MOST_CLASSES // 2
    return [*range(half), *range(count - half, count)]


def _log_counts(axis: Axes, counts: list[int]) -> None:
    """Put whole numbers on a log axis; without two of them the default has hardly a label."""
    axis.set_xscale("log")
    if not counts:
        return
    low, high = min(counts), max(counts)
    steps = [m * 10**e for e in range(9) for m in (1, 2, 5) if low / 2 <= m * 10**e <= high * 2]
    wide = high / low > 300  # 1, 2, 5 would overlap
    axis.set_xticks([step for step in steps if not wide or str(step)[0] == "1"])
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.set_xticks([], minor=True)
