"""The plots of one run: tables for ``dvc plots`` and the same as PNG."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from mmhash.errors import InputError
from mmhash.files import read_json, read_npy, read_table
from mmhash.heads import HEADS, scores_of
from mmhash.metrics.tasks import CROSSING
from mmhash.plots import across, cells, figures, heat_maps, neighbours, sheet, tables, worst
from mmhash.plots.tables import Table
from mmhash.progress import track

CLASS_CHARTS = ("knn", "classifier", "hybrid")  # heads that have a chart of their own by class


def write_plots(
    *,
    predictions: Path,
    statistics: Path,
    categories: Path,
    history: Path,
    h_histogram: Path,
    images: Path,
    evaluation: Path,
    pictures: Path,
    out: Path,
    dataset: str,
    bits: int | None,
    thresholds: Literal["global", "per_class"],
    head: str,
    distance: str,
    dpi: int,
    split: str = "test",
) -> None:
    """Write ``out/*.csv`` and ``out/png/*.png``.

    ``predictions`` holds ``thresholds.json``, which names the heads that the model has, and a
    folder ``split`` with ``labels.npy``, the scores of each head, ``neighbours.parquet``,
    ``across_by_distance.parquet``, ``across_sheet.parquet`` and, for codes, ``soft.npy`` and
    ``precision_recall_by_distance.parquet``. ``statistics``, ``categories`` and ``images`` are the
    JSON files and the table of images of the dataset, ``pictures`` the root of its raw data,
    ``history`` and ``h_histogram`` the CSV files of the training, ``evaluation`` the JSON file with
    the figures of evaluate. ``bits`` is the code length, None for a model without a hash layer.
    ``thresholds`` says which decision thresholds precision, recall, F1, the confusion and the tags
    use, ``head`` which head names the tags, ``distance`` (``knn.distance``) how far neighbours are.

    Every table is written; one of something that the model does not have (codes, a classifier,
    epochs) is a header without rows, and has no picture. The sheets ``neighbours`` and ``worst``
    are pictures alone; without a mistake there is no ``worst``.
    Raises :class:`InputError` where a file is missing or does not fit the others.
    """
    entries = read_json(categories)
    names = [entry["name"] for entry in entries]
    facts = read_json(statistics)
    cuts = read_json(predictions / "thresholds.json")
    labels, scores = _predictions(predictions / split, cuts, len(names))
    code = f"{bits} bits" if bits else "no hash"
    where = f"{dataset}, {split}, {code}"
    chosen = {head: _cut(cuts, head, thresholds) for head in scores}

    frequency = facts["class_frequency"]
    classes = {
        head: tables.class_table(values, labels, chosen[head], names, frequency)
        for head, values in scores.items()
    }
    drawn: dict[str, tuple[Table, Any, tuple[Any, ...]]] = {}
    for name in CLASS_CHARTS:
        rows = classes.get(name) or tables.emptied(classes["knn"])
        drawn[f"classes_{name}"] = (rows, figures.class_figure, (name, where))
    overall = {head: float(cuts[head]["global"]) for head in scores}
    by_threshold = tables.precision_recall_table(scores, labels, overall)
    drawn["precision_recall"] = (by_threshold, figures.precision_recall_figure, (where,))
    reliability = tables.reliability_rows(scores, labels, cuts)
    drawn["reliability"] = (reliability, figures.reliability_figure, (where,))
    confusion = tables.confusion_table(scores, labels, chosen, names)
    drawn["confusion"] = (confusion, heat_maps.confusion_figure, (where,))
    by_frequency = tables.frequency_table(classes)
    drawn["frequency"] = (by_frequency, figures.frequency_figure, (where,))
    records = tables.read_csv(history)
    training = tables.training_table(records)
    title, epochs = "Training, mean over an epoch", f"{dataset}, train and val, {code}"
    drawn["training"] = (training, figures.training_figure, (title, epochs))
    health = tables.code_health_table(records)
    title, epochs = "Health of the codes by epoch", f"{dataset}, val, {code}"
    drawn["codes_by_epoch"] = (health, figures.training_figure, (title, epochs))
    diagnostics = tables.diagnostics_table(records)
    title = "Diagnostics of AGCH by epoch"
    drawn["agch_diagnostics"] = (diagnostics, figures.training_figure, (title, epochs))
    common = tables.class_frequency_table(frequency)
    everything = f"{dataset}, all images"
    drawn["class_frequency"] = (common, figures.class_frequency_figure, (everything,))
    histograms = tables.histogram_table(facts)
    drawn["data_histograms"] = (histograms, figures.histogram_figure, (everything,))
    over_epochs = tables.read_csv(h_histogram)
    drawn["h_histogram"] = (over_epochs, figures.soft_code_figure, (f"{dataset}, val, {code}",))
    soft, curve = np.empty((0, 0)), None
    if bits:
        soft = read_npy(predictions / split / "soft.npy")
        curve = read_table(predictions / split / "precision_recall_by_distance.parquet").to_pydict()
    drawn["bit_balance"] = (tables.bit_table(soft), figures.bit_figure, (where,))
    pairs = tables.bit_correlation_table(soft)
    drawn["bit_correlation"] = (pairs, heat_maps.bit_correlation_figure, (where,))
    distances = tables.distance_table(curve)
    drawn["retrieval_by_distance"] = (distances, figures.distance_figure, (where,))
    curves = read_table(predictions / split / "across_by_distance.parquet").to_pydict()
    within = tables.across_distance_table(curves)
    drawn["across_by_distance"] = (within, across.distance_figure, (where,))
    first = tables.top_n_table(read_json(evaluation)["across"].get(split, {}))
    drawn["across_top_n"] = (first, across.top_n_figure, (where,))
    voted = _neighbours(predictions / split, len(labels))
    decided = scores_of(head, scores), labels, chosen[head], names
    asked = neighbours.queries(voted, *decided)
    mistakes = worst.worst_of_classes(*decided, voted["image_id"].to_numpy())
    found = read_table(predictions / split / "across_sheet.parquet")
    ids = sheet.sheet_ids(found) | neighbours.image_ids(asked) | {one.image for one in mistakes}
    about = cells.described(ids, images, entries)
    shown = cells.thumbnails(about, dataset, pictures)
    for task in CROSSING:
        rows = sheet.sheet_table(found, about, task)
        drawn[f"sheet_{task}"] = (rows, sheet.sheet_figure, (shown, task, bits, where))

    def save(name: str, draw: Any, *arguments: Any) -> None:
        with figures.style():
            figures.save_png(out / "png" / f"{name}.png", draw(*arguments), dpi)

    for name, (table, draw, arguments) in track(drawn.items(), len(drawn), "plot", "chart"):
        tables.write_csv(out / f"{name}.csv", table)
        if any(table.values()):
            save(name, draw, table, *arguments)
    far = cells.Distance(distance, bits)
    save("neighbours", neighbours.neighbour_figure, asked, about, shown, head, far, where)
    if mistakes:
        save("worst", worst.worst_figure, mistakes, about, shown, head, where)


def _neighbours(folder: Path, count: int) -> pa.Table:
    found = read_table(folder / "neighbours.parquet")
    if len(found) != count:
        raise InputError(
            f"{folder / 'neighbours.parquet'} has {len(found)} rows, must be {count} for these "
            "labels; run evaluate again"
        )
    return found


def _predictions(
    folder: Path, cuts: dict[str, Any], count: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    labels = read_npy(folder / "labels.npy")
    scores = {head: read_npy(folder / f"{head}.npy") for head in HEADS if head in cuts}
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
