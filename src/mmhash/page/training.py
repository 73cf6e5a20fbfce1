"""How the training went: curves by epoch, health of the codes, the histogram of h; the data."""

from typing import Any

import numpy as np

from mmhash.files import read_json
from mmhash.page.source import Run, Section, rounded
from mmhash.plots import tables


def training(run: Run) -> Section:
    """Return the curves by epoch and the distribution of the soft codes over training."""
    history = tables.read_csv(run.root / "model/history.csv")
    if not history.get("epoch"):
        return {
            "absent": f"model.name={run.method} is not trained by epochs.",
            "mend": "Methods that are trained have curves: model.name=full, for instance.",
        }
    summary = run.root / "metrics/train.json"
    return {
        "curves": _curves(tables.training_table(history)),
        "health": _curves(tables.code_health_table(history)),
        "diagnostics": _curves(tables.diagnostics_table(history)),
        "histogram": _histogram(tables.read_csv(run.root / "model/h_histogram.csv")),
        "summary": rounded(read_json(summary), 6) if summary.is_file() else {},
    }


def data(run: Run) -> Section:
    """Return what the dataset holds: counts, histograms, class frequency."""
    facts = read_json(run.root / "data/statistics.json")
    split = run.root / "metrics/split.json"
    frequency = tables.class_frequency_table(facts["class_frequency"])
    names = ("images", "classes", "images_without_label", "captions", "positives")
    return {
        "counts": {name: facts[name] for name in names if name in facts},
        "missing_pictures": facts.get("missing_pictures", {}).get("count", 0),
        "split": read_json(split) if split.is_file() else {},
        "histograms": rounded(tables.histogram_table(facts), 5),
        "frequency": frequency,
    }


def _curves(table: tables.Table) -> list[dict[str, Any]]:
    """Group rows epoch, panel, series, value into panels with their series."""
    panels: dict[str, dict[str, list[list[float]]]] = {}
    columns = (table[name] for name in ("epoch", "panel", "series", "value"))
    for epoch, panel, series, value in zip(*columns, strict=True):
        points = panels.setdefault(panel, {}).setdefault(series, [])
        points.append([epoch, float(f"{value:.5g}")])
    return [{"panel": panel, "series": series} for panel, series in panels.items()]


def _histogram(table: tables.Table) -> Section:
    """Return the histogram as epochs, edges of the bins and a row of shares an epoch."""
    if not table["epoch"]:
        return {}
    epochs = list(dict.fromkeys(int(epoch) for epoch in table["epoch"]))
    share = np.reshape(table["fraction"], (len(epochs), -1))
    width = share.shape[1]
    edges = [*table["bin_left"][:width], table["bin_right"][width - 1]]
    return {"epochs": epochs, "edges": rounded(edges, 4), "share": rounded(share, 5)}
