"""The plots of one run: tables for ``dvc plots`` and the same as PNG."""

from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmhash.errors import InputError
from mmhash.files import read_json, read_npy
from mmhash.plots import figures, tables
from mmhash.plots.tables import Table

HEADS = ("knn", "classifier", "zeroshot")
OPTIONAL_HEADS = {"zeroshot"}  # features that a user brings have no class prototypes


def write_plots(
    *,
    predictions: Path,
    statistics: Path,
    categories: Path,
    history: Path,
    h_histogram: Path,
    out: Path,
    dataset: str,
    bits: int | None,
    thresholds: Literal["global", "per_class"],
    dpi: int,
    split: str = "test",
) -> None:
    """Write ``out/*.csv`` and ``out/png/*.png``.

    ``predictions`` holds ``thresholds.json`` and a folder ``split`` with ``labels.npy``, the scores
    of each head and, for codes, ``soft.npy``. ``statistics`` and ``categories`` are the JSON files
    of the dataset, ``history`` and ``h_histogram`` the CSV files of the training. ``bits`` is the
    code length, None for a model without a hash layer: the histogram of h and the bit balance are
    then left out. ``thresholds`` says which decision thresholds precision, recall and F1 use.
    Raises :class:`InputError` where a file is missing or does not fit the others.
    """
    names = [entry["name"] for entry in read_json(categories)]
    facts = read_json(statistics)
    cuts = read_json(predictions / "thresholds.json")
    labels, scores = _predictions(predictions / split, len(names))
    code = f"{bits} bits" if bits else "no hash"
    where = f"{dataset}, {split}, {code}"

    frequency = facts["class_frequency"]
    classes = {
        head: tables.class_table(values, labels, _cut(cuts, head, thresholds), names, frequency)
        for head, values in scores.items()
    }
    drawn: dict[str, tuple[Table, Any, tuple[str, ...]]] = {}
    for head in HEADS[:2]:
        drawn[f"classes_{head}"] = (classes[head], figures.class_figure, (head, where))
    overall = {head: float(cuts[head]["global"]) for head in scores}
    curves = tables.precision_recall_table(scores, labels, overall)
    drawn["precision_recall"] = (curves, figures.precision_recall_figure, (where,))
    by_frequency = tables.frequency_table(classes)
    drawn["frequency"] = (by_frequency, figures.frequency_figure, (where,))
    training = tables.training_table(tables.read_csv(history))
    drawn["training"] = (training, figures.training_figure, (f"{dataset}, train and val, {code}",))
    common = tables.class_frequency_table(frequency)
    everything = f"{dataset}, all images"
    drawn["class_frequency"] = (common, figures.class_frequency_figure, (everything,))
    histograms = tables.histogram_table(facts)
    drawn["data_histograms"] = (histograms, figures.histogram_figure, (everything,))
    if bits:
        soft = tables.read_csv(h_histogram)
        drawn["h_histogram"] = (soft, figures.soft_code_figure, (f"{dataset}, val, {code}",))
        balance = tables.bit_table(read_npy(predictions / split / "soft.npy"))
        drawn["bit_balance"] = (balance, figures.bit_figure, (where,))

    for name, (table, draw, arguments) in drawn.items():
        tables.write_csv(out / f"{name}.csv", table)
        if any(table.values()):
            with figures.style():
                figures.save_png(out / "png" / f"{name}.png", draw(table, *arguments), dpi)


def _predictions(folder: Path, count: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    labels = read_npy(folder / "labels.npy")
    scores = {}
    for head in HEADS:
        path = folder / f"{head}.npy"
        if head in OPTIONAL_HEADS and not path.exists():
            continue
        scores[head] = read_npy(path)
    for name, array in [("labels", labels), *scores.items()]:
        if array.shape != (len(labels), count):
            raise InputError(
                f"{folder / name}.npy has shape {array.shape}, must be ({len(labels)}, {count}) "
                "for these labels and categories; run evaluate again"
            )
    return labels, scores


def _cut(cuts: dict[str, Any], head: str, kind: str) -> float | np.ndarray:
    chosen = cuts[head][kind]
    return np.asarray(chosen, dtype=np.float64) if kind == "per_class" else float(chosen)
