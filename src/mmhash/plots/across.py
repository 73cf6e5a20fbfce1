"""Retrieval across modalities as pictures; functions as in :mod:`mmhash.plots.figures`."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from mmhash.metrics.tasks import TASKS
from mmhash.plots.figures import BLACK, BLUE, GREEN, GREY, PURPLE, VERMILLION
from mmhash.plots.tables import Table

# By title, in the order of the tasks; without colour, marker and dash tell them apart.
LOOKS: dict[str, tuple[str, str, Any]] = dict(
    zip(
        (task.title for task in TASKS.values()),
        (
            (BLUE, "o", "-"),
            (VERMILLION, "s", "--"),
            (PURPLE, "D", (0, (9, 2))),
            (BLACK, "v", (0, (5, 1.5, 1, 1.5, 1, 1.5))),
            (GREEN, "^", "-."),
        ),
        strict=True,
    )
)
RADIUS = 2  # the usual Hamming radius of a look-up by hash table


def distance_figure(table: Table, subject: str) -> Figure:
    """Draw precision against recall within each Hamming distance by task, with the chance level."""
    figure, axis = _single()
    for task in dict.fromkeys(table["task"]):
        colour, marker, dash = LOOKS[task]
        points = [row[1:] for row in _rows(table, "task", "recall", "precision") if row[0] == task]
        x, y = zip(*points, strict=True)
        axis.plot(x, y, linestyle=dash, color=colour, marker=marker, markersize=4, label=task)
        ring: Any = {"markersize": 9, "markerfacecolor": "none", "markeredgecolor": "black"}
        axis.plot(x[RADIUS], y[RADIUS], marker, **ring)
    axis.plot([], [], "o", markerfacecolor="none", markeredgecolor="black", label="within 2 bits")
    _chance(axis, table)
    axis.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall")
    axis.set_ylabel("precision, 0 for queries with nothing inside")
    _legend(axis)
    axis.set_title(f"Retrieval across modalities, a point a Hamming distance\n{subject}")
    return figure


def top_n_figure(table: Table, subject: str) -> Figure:
    """Draw the precision of the first n items by task, with the chance level."""
    figure, axis = _single()
    for task in dict.fromkeys(table["task"]):
        colour, marker, dash = LOOKS[task]
        points = [row[1:] for row in _rows(table, "task", "n", "precision") if row[0] == task]
        x, y = zip(*points, strict=True)
        axis.plot(x, y, linestyle=dash, color=colour, marker=marker, markersize=5, label=task)
    _chance(axis, table)
    axis.set_xscale("log")
    axis.set_xticks(sorted(set(table["n"])))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set(ylim=(0, 1.02), xlabel="first n items (log scale)", ylabel="precision")
    _legend(axis)
    axis.set_title(f"Precision of the first n across modalities, ties in expectation\n{subject}")
    return figure


def _chance(axis: Axes, table: Table) -> None:
    level = table["chance"][0]  # labels alone decide it, so all tasks have the same
    axis.axhline(level, color=GREY, linestyle=":", linewidth=1.5, label=f"chance, {level:.3f}")


def _legend(axis: Axes) -> None:
    """Put the legend beside the curves, which cross all of the axes, with a whole dash a line."""
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), handlelength=5)


def _single() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 4.8))
    return figure, figure.subplots()


def _rows(table: Table, *names: str) -> Any:
    return zip(*(table[name] for name in names), strict=True)
