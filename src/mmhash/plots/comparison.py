"""Figures of a study: rows with their intervals, code health by length, soft codes, search cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from mmhash.comparison.report import column_name
from mmhash.comparison.summary import Line
from mmhash.comparison.summary import label as figure_label
from mmhash.metrics.tasks import CROSSING, TASKS
from mmhash.plots.figures import BLUE, GREEN, GREY, VERMILLION
from mmhash.plots.tables import Table

SERIES = ((BLUE, "o"), (VERMILLION, "s"), (GREEN, "^"))
PANELS = 7  # histograms side by side: in D1 the constant scale and six others


def comparison_figure(lines: Sequence[Line], title: str, subject: str) -> Figure:
    """Draw test mAP of each row (mean ± std over seeds) and its difference with the interval."""
    heads = list(lines[0].cells)
    figure = Figure(figsize=(11, max(3.0, (0.24 + 0.1 * len(heads)) * len(lines) + 1.7)))
    figures, differences = figure.subplots(1, 2, sharey=True, width_ratios=[1.15, 1])
    places = np.arange(len(lines))
    step = 0.5 / max(len(heads), 2)
    for number, head in enumerate(heads):
        colour, marker = SERIES[number % len(SERIES)]
        offset = (number - (len(heads) - 1) / 2) * step
        look: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": "none"}
        for place, line in zip(places, lines, strict=True):
            cell = line.cells[head]
            if cell is None:
                continue
            y = place + offset
            _draw_runs(figures, cell.values, y, look)
            if cell.difference is not None:
                mean, low, high = cell.difference
                reach = [[mean - low], [high - mean]]
                differences.errorbar(mean, y, xerr=reach, capsize=3, **look)
        figures.plot([], [], **look, label=column_name(head))
    differences.axvline(0, color=GREY, linestyle="--", linewidth=1)
    figures.set_yticks(places, [line.name for line in lines])
    figures.set_ylim(len(lines) - 0.5, -0.5)
    figures.set_xlabel("test mAP: mean ± std over seeds, a small dot a run")
    differences.set_xlabel("difference to the baseline, 95 % interval over images")
    for axis in (figures, differences):
        axis.grid(axis="y", visible=False)
        axis.margins(x=0.08)
    if len(heads) > 1:
        figure.legend(*figures.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(f"{title}\n{subject}")
    return figure


def across_figure(lines: Sequence[Line], title: str, subject: str) -> Figure:
    """Draw mAP@50 of image to text and back of each row: mean ± std over seeds, and each run."""
    figure = Figure(figsize=(11, max(3.0, 0.34 * len(lines) + 1.7)))
    axes = figure.subplots(1, 2, sharey=True)
    for axis, task, colour in zip(axes, CROSSING, (BLUE, VERMILLION), strict=True):
        column = figure_label(f"across.test.{task}.mAP@50")
        for place, line in enumerate(lines):
            if values := line.also.get(column):
                _draw_runs(axis, values, place, {"color": colour, "marker": "o"})
        axis.set_title(TASKS[task].title)
        axis.grid(axis="y", visible=False)
        axis.margins(x=0.08)
    axes[0].set_yticks(range(len(lines)), [line.name for line in lines])
    axes[0].set_ylim(len(lines) - 0.5, -0.5)
    figure.supxlabel("test mAP@50: mean ± std over seeds, a small dot a run", fontsize=10)
    figure.suptitle(f"{title}\n{subject}")
    return figure


def _draw_runs(axis: Axes, values: Sequence[float], y: float, look: Mapping[str, Any]) -> None:
    """Draw a row: mean ± std of the runs, and each as a small dot."""
    axis.errorbar(np.mean(values), y, xerr=_spread(values), capsize=3, **look)
    run: dict[str, Any] = {"markersize": 3, "color": "white", "markeredgecolor": look["color"]}
    axis.plot(values, [y] * len(values), "o", **run)


def _spread(values: Sequence[float]) -> float:
    """Return the standard deviation over runs, 0 for a single one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def code_figure(lines: Sequence[Line], title: str, subject: str) -> Figure:
    """Draw what the codes look like against their length, a panel a figure."""
    coded = [line for line in lines if all(line.also.values())]
    names = list(coded[0].also) if coded else []
    figure = Figure(figsize=(3.1 * max(len(names), 1) + 0.6, 3.4))
    for axis, name in zip(
        figure.subplots(1, max(len(names), 1), squeeze=False)[0], names, strict=False
    ):
        top = 1e-9
        for place, line in enumerate(coded):
            values = line.also[name]
            spread = _spread(values)
            top = max(top, float(np.mean(values)) + spread)
            axis.errorbar(place, np.mean(values), yerr=spread, color=BLUE, marker="o", capsize=3)
        axis.set_xticks(range(len(coded)), [line.name.split()[0] for line in coded])
        axis.set(xlabel="bits", ylabel=name.replace("_", " "))
        axis.set_ylim(0, 1.08 * top)
    figure.suptitle(f"{title}: codes of the test images\n{subject}")
    return figure


def soft_code_panels(histograms: Mapping[str, Table], title: str, subject: str) -> Figure:
    """Draw the distribution of soft code values h at the last epoch of each row, side by side.

    ``histograms`` are tables of ``model/h_histogram.csv`` by the row's name.
    """
    rows = -(-len(histograms) // PANELS)
    columns = min(PANELS, len(histograms))
    figure = Figure(figsize=(max(6.0, 1.9 * columns), 1.6 * rows + 1.0))
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axis, (name, table) in zip(axes, histograms.items(), strict=False):
        last = max(table["epoch"])
        bins = [
            (left, right, share)
            for epoch, left, right, share in zip(
                *(table[key] for key in ("epoch", "bin_left", "bin_right", "fraction")), strict=True
            )
            if epoch == last
        ]
        left, right, share = (np.array(values) for values in zip(*bins, strict=True))
        axis.bar(left, share, width=right - left, align="edge", color=BLUE)
        axis.set_title(name, fontsize=8)
        axis.set(xlim=(-1, 1), xticks=[-1, 0, 1])
        axis.tick_params(labelsize=8)
    for axis in axes[len(histograms) :]:
        axis.set_visible(False)
    figure.supxlabel("soft code value h, last epoch, val", fontsize=10)
    figure.supylabel("share of values", fontsize=10)
    figure.suptitle(f"{title}\n{subject}")
    return figure


def cost_figure(table: Sequence[Mapping[str, Any]], title: str, subject: str) -> Figure:
    """Draw latency, throughput and size by code length for both distances."""
    figure = Figure(figsize=(11, 3.8))
    axes = figure.subplots(1, 3)
    panels = (
        ("query_ms_p50", "ms a single query, median"),
        ("queries_per_second_batched", "queries a second, batched"),
        ("bytes_per_item", "bytes an item"),
    )
    for axis, (key, label) in zip(axes, panels, strict=True):
        for (colour, marker), distance in zip(SERIES, ("hamming", "cosine"), strict=False):
            points = [(e["bits"], e[key]) for e in table if e["distance"] == distance]
            x, y = zip(*sorted(points), strict=True)
            axis.plot(x, y, color=colour, marker=marker, label=distance)
        axis.set_xscale("log", base=2)
        if key == "bytes_per_item":
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0)
        axis.set_xticks(sorted({entry["bits"] for entry in table}))
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.set(xlabel="bits", ylabel=label)
    axes[0].legend()
    figure.suptitle(f"{title}: readings of one machine\n{subject}")
    return figure
