"""From scores, labels and records of a run to the small tables that the plots show.

A table is a dict of equally long columns; None stands for an undefined value. Each becomes one CSV
file of ``plots/`` whose columns the templates in ``.dvc/plots/`` name.
"""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve

from mmhash.codes import binarise, pack
from mmhash.errors import InputError
from mmhash.files import write_text
from mmhash.metrics.calibration import calibrated, reliability_table
from mmhash.metrics.codes import bit_correlation
from mmhash.metrics.multilabel import per_class_table
from mmhash.metrics.tasks import TASKS

Table = dict[str, list[Any]]

FIGURES = ("AP", "precision", "recall", "F1")
# Column of the training history → panel of the chart and which images it was measured on.
PANELS = {
    "loss": ("total loss", "train"),
    "val_loss": ("total loss", "val"),
    "loss_classification": ("classification loss", "train"),
    "loss_cosine": ("alignment loss, 1 − cos", "train"),
    "loss_hash": ("hash loss", "train"),
    "loss_quantisation": ("quantisation loss", "train"),
    "loss_balance": ("bit balance loss", "train"),
    "loss_decorrelation": ("bit decorrelation loss", "train"),
    "loss_pairwise": ("pairwise loss", "train"),
    "loss_l1": ("L1, codes against S'", "train"),  # of AGCH, as the two after it
    "loss_l2": ("L2, graph against S' and codes", "train"),
    "loss_l3": ("L3, codes against B_h", "train"),
    "loss_alignment": ("alignment loss, |B_v − B_t|²", "train"),
    "loss_fusion": ("contrastive loss, fused features", "train"),  # of UCMFH
    "loss_codes": ("contrastive loss, codes", "train"),
    "val_mAP": ("mAP, classifier head", "val"),
    "lr": ("learning rate", "train"),
    "hash_scale": ("hash scale β", "train"),
    "gradient_norm_mean": ("gradient norm, mean", "train"),
}
# The same for the health of the codes of val.
CODE_PANELS = {
    "val_bit_imbalance": ("bit imbalance, mean |mean of ±1|", "val"),
    "val_bit_correlation": ("bit correlation, mean |r| over pairs", "val"),
    "val_unique_share": ("unique codes, share of images", "val"),
    "val_quantisation_error": ("quantisation error, mean (|h| − 1)²", "val"),
}
# val_mAP of a method without a classifier: that of mmhash.training.cross_modal.mean_across.
ACROSS_PANEL = ("mAP, mean of image to text and back", "val")
# The figures of mmhash.models.health.agch_diagnostics, the same way.
DIAGNOSTIC_PANELS = {
    "unique_image": ("different codes, share of items", "image"),
    "unique_text": ("different codes, share of items", "text"),
    "unique_fused": ("different codes, share of items", "fused"),
    "s_label_correlation": ("correlation of S with the labels", "all pairs"),
    "s_positive": ("mean S of pairs, and the gap", "a common label"),
    "s_negative": ("mean S of pairs, and the gap", "no common label"),
    "s_gap": ("mean S of pairs, and the gap", "gap"),
    "graph_weight_std": ("graph weights, std", "all layers"),
    "graph_output_std_image": ("graph output, std over items", "image"),
    "graph_output_std_text": ("graph output, std over items", "text"),
    "sign_agreement_image": ("equal signs of B_h and B_g, chance 0.5", "image"),
    "sign_agreement_text": ("equal signs of B_h and B_g, chance 0.5", "text"),
    "it_distance": ("distance of an image to texts", "own text"),
    "it_distance_others": ("distance of an image to texts", "other texts"),
    "text_output_mean": ("mean output of the text encoder", "text"),
}
MOST_CONFUSED = 20  # classes of the confusion chart: more cells cannot be told apart
# Entry of data/statistics.json → what its histogram counts and in which unit.
HISTOGRAMS = {
    "labels_per_image": "labels an image",
    "captions_per_image": "captions an image",
    "caption_words": "words a caption",
}


def class_table(
    scores: np.ndarray,
    labels: np.ndarray,
    threshold: float | np.ndarray,
    class_names: list[str],
    frequency: Mapping[str, int],
) -> Table:
    """Return AP, precision, recall, F1 of each class, best AP first.

    ``scores`` and ``labels`` are (n, C), ``threshold`` one number or (C,). ``images`` is how many
    images of the whole dataset have the class, ``support`` how many of these n. A class without a
    positive has no AP and no recall: its figures are None and it stands last.
    """
    found = per_class_table(scores, labels, threshold, class_names)
    ap = [-math.inf if value is None else value for value in found["AP"]]
    order = sorted(range(len(ap)), key=lambda c: (ap[c], found["support"][c]), reverse=True)
    table: Table = {
        "class": [class_names[c] for c in order],
        "images": [int(frequency.get(class_names[c], 0)) for c in order],
        "support": [found["support"][c] for c in order],
    }
    for figure in FIGURES:
        table[figure] = [found[figure][c] if found["support"][c] else None for c in order]
    return table


def precision_recall_table(
    scores: Mapping[str, np.ndarray],
    labels: np.ndarray,
    thresholds: Mapping[str, float],
    points: int = 201,
) -> Table:
    """Return the micro precision-recall curve of each head, thinned to at most ``points`` points.

    All (image, class) pairs are ranked together. Every point is one that a threshold really
    reaches: for each of ``points`` equidistant recalls the first at or above it. Rows with
    ``operating`` 1 are the points of the decision thresholds ``thresholds`` (chosen on val).
    """
    truth = labels.ravel()
    rows: list[tuple[str, float, float, float, int]] = []
    for head, values in scores.items():
        flat = values.ravel().astype(np.float64)
        precision, recall, cuts = precision_recall_curve(truth, flat)
        # By rising recall, without the point (recall 0, precision 1) that no threshold gives.
        precision, recall, cuts = precision[-2::-1], recall[-2::-1], cuts[::-1]
        goals = np.linspace(0, 1, points)[1:]
        kept = np.unique(np.concatenate([[0], np.searchsorted(recall, goals - 1e-12)]))
        rows += [
            (head, float(cuts[i]), float(recall[i]), float(precision[i]), 0)
            for i in kept[kept < len(recall)]
        ]
        if head in thresholds:
            chosen = flat >= thresholds[head]
            hits = int(truth[chosen].sum())
            if chosen.any():
                place = (hits / int(truth.sum()), hits / int(chosen.sum()))
                rows.append((head, float(thresholds[head]), *place, 1))
    return _columns(("head", "threshold", "recall", "precision", "operating"), rows)


def frequency_table(classes: Mapping[str, Table]) -> Table:
    """Join the class tables of several heads to columns head, class, images, support, AP."""
    rows = [
        (head, *row)
        for head, table in classes.items()
        for row in zip(*(table[name] for name in ("class", "images", "support", "AP")), strict=True)
    ]
    return _columns(("head", "class", "images", "support", "AP"), rows)


def training_table(history: Table) -> Table:
    """Return the training history with one row a point: epoch, panel, series, value.

    ``series`` is ``train`` or ``val``. A term that is absent or zero at every epoch was not part
    of the loss and is left out. Without a classification loss ``val_mAP`` is that across
    modalities, and a hash scale that stays 1 is none of the method's.
    """
    panels = {name: panel for name, panel in PANELS.items() if any(history.get(name, []))}
    if "loss_classification" not in history:
        if "val_mAP" in panels:
            panels["val_mAP"] = ACROSS_PANEL
        if set(history.get("hash_scale", [])) == {1.0}:
            del panels["hash_scale"]
    return _panels(history, panels)


def code_health_table(history: Table) -> Table:
    """Return the health of val's codes in the same columns; no row for a model without codes."""
    return _panels(history, CODE_PANELS)


def diagnostics_table(history: Table) -> Table:
    """Return AGCH's diagnostics on val in the same columns; no row for other methods.

    ``series`` says of which codes, pairs or layers.
    """
    return _panels(history, DIAGNOSTIC_PANELS)


def _panels(history: Table, panels: Mapping[str, tuple[str, str]]) -> Table:
    rows = [
        (int(float(epoch)), panel, series, value)
        for column, (panel, series) in panels.items()
        if column in history
        for epoch, value in zip(history["epoch"], history[column], strict=True)
        if value is not None
    ]
    return _columns(("epoch", "panel", "series", "value"), rows)


def class_frequency_table(frequency: Mapping[str, int]) -> Table:
    """Return columns class and images, commonest class first."""
    rows = sorted(frequency.items(), key=lambda entry: -entry[1])
    return _columns(("class", "images"), rows)


def histogram_table(statistics: Mapping[str, Any]) -> Table:
    """Return the histograms of ``data/statistics.json``: quantity, value, count, share.

    A quantity that the dataset does not have (no captions came with it) is left out.
    """
    rows = []
    for entry, quantity in HISTOGRAMS.items():
        counts = {int(v): c for v, c in statistics.get(entry, {}).get("histogram", {}).items()}
        if any(counts):  # more than zeros
            total = sum(counts.values())
            rows += [(quantity, v, counts[v], counts[v] / total) for v in sorted(counts)]
    return _columns(("quantity", "value", "count", "share"), rows)


def bit_table(soft: np.ndarray) -> Table:
    """Return the share of ones of each bit, (n, B) soft codes, with its rank by rising share.

    Soft codes of width 0, those of a model without a hash layer, have no bit and give no row; the
    same holds for :func:`bit_correlation_table`.
    """
    if not soft.size:
        return _columns(("rank", "bit", "ones"), [])
    ones = binarise(soft).mean(axis=0, dtype=np.float64)
    order = np.argsort(ones, kind="stable")
    rows = [(rank, int(bit), float(ones[bit])) for rank, bit in enumerate(order, start=1)]
    return _columns(("rank", "bit", "ones"), rows)


def reliability_rows(
    scores: Mapping[str, np.ndarray], labels: np.ndarray, cuts: Mapping[str, Any]
) -> Table:
    """Return the reliability table of each head before and after the calibration from val.

    Columns head, kind (raw or calibrated), bin, score, frequency, count as in
    :func:`mmhash.metrics.calibration.reliability_table`. ``cuts`` is ``thresholds.json``.
    """
    rows = []
    for head, values in scores.items():
        repaired = calibrated(values, **cuts[head]["calibration"])
        for kind, shown in (("raw", values), ("calibrated", repaired)):
            found = reliability_table(shown, labels)
            columns = (found[name].tolist() for name in ("bin", "score", "frequency", "count"))
            rows += [(head, kind, *row) for row in zip(*columns, strict=True)]
    return _columns(("head", "kind", "bin", "score", "frequency", "count"), rows)


def confusion_table(
    scores: Mapping[str, np.ndarray],
    labels: np.ndarray,
    thresholds: Mapping[str, float | np.ndarray],
    class_names: list[str],
) -> Table:
    """Return which classes are predicted where a class is present, for the classes of most support.

    ``source`` is a head, or ``labels`` for which classes really occur together; ``share`` is the
    share of the ``images`` with class ``present`` that have, or for which the head predicts, class
    ``predicted``: recall on the diagonal. ``row`` and ``column`` are their places by support,
    1 the commonest; of equals the lower class id. A class without an image is left out.
    """
    support = labels.sum(axis=0, dtype=np.int64)
    order = np.argsort(-support, kind="stable")[:MOST_CONFUSED]
    order = order[support[order] > 0]
    chosen = {"labels": labels.astype(bool)}
    chosen |= {
        head: values.astype(np.float64) >= thresholds[head] for head, values in scores.items()
    }
    rows = []
    for source, made in chosen.items():
        together = labels[:, order].T.astype(np.float64) @ made[:, order].astype(np.float64)
        for (i, j), count in np.ndenumerate(together):
            images = int(support[order[i]])
            names = (class_names[order[i]], class_names[order[j]])
            rows.append((source, *names, i + 1, j + 1, float(count / images), images))
    return _columns(("source", "present", "predicted", "row", "column", "share", "images"), rows)


def bit_correlation_table(soft: np.ndarray) -> Table:
    """Return the Pearson correlation of each pair of bits of (n, B) soft codes, once: bit > other.

    A bit that never changes has none; its pairs are 0.
    """
    if not soft.size:
        return _columns(("bit", "other", "correlation"), [])
    matrix = bit_correlation(pack(binarise(soft)))
    rows = [
        (bit, other, float(matrix[bit, other]))
        for bit in range(len(matrix))
        for other in range(bit)
    ]
    return _columns(("bit", "other", "correlation"), rows)


def distance_table(curve: Table | None) -> Table:
    """Return retrieval by Hamming distance: distance, precision, recall, retrieved.

    ``curve`` is that of :func:`mmhash.metrics.retrieval.precision_recall_by_distance`, None for a
    model without codes.
    """
    names = ("distance", "precision", "recall", "retrieved")
    return {name: curve[name] if curve else [] for name in names}


def across_distance_table(curves: Table) -> Table:
    """Return precision and recall across modalities by Hamming distance, with the chance level.

    ``curves`` has the columns task, distance, precision, recall and retrieved of
    :func:`mmhash.across.evaluate_across`, the distances of a task ascending. ``chance`` is the
    precision of all items, those at any distance: what a random order has at every recall.
    """
    chance = dict(zip(curves["task"], curves["precision"], strict=True))  # the last of each task
    return {
        "task": [TASKS[task].title for task in curves["task"]],
        **{name: curves[name] for name in ("distance", "precision", "recall", "retrieved")},
        "chance": [chance[task] for task in curves["task"]],
    }


def top_n_table(figures: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the precision of the first n items by task, from ``P@n`` and ``P_chance`` of each."""
    rows = [
        (TASKS[task].title, int(name[2:]), float(value), float(found["P_chance"]))
        for task, found in figures.items()
        for name, value in found.items()
        if name.startswith("P@")
    ]
    return _columns(("task", "n", "precision", "chance"), rows)


def emptied(table: Table) -> Table:
    """Return the header of a table without its rows."""
    return {name: [] for name in table}


def read_csv(path: Path) -> Table:
    """Read a CSV file of numbers; empty cells are None.

    Raises :class:`InputError` naming the file where it is missing, empty or holds other text.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    header, *lines = list(csv.reader(io.StringIO(text))) or [[]]
    try:
        rows = [[float(cell) if cell else None for cell in line] for line in lines]
        if not header:
            raise ValueError("it is empty")
        return _columns(header, rows)
    except ValueError as error:
        raise InputError(f"{path}: not a table of numbers ({error}); run its stage again") from None


def write_csv(path: Path, table: Table) -> None:
    """Write a table as CSV atomically: six significant digits, None as an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    for row in zip(*table.values(), strict=True):
        writer.writerow([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row])
    write_text(path, text.getvalue())


def _columns(names: Any, rows: Any) -> Table:
    columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)]
    if rows and len(columns) != len(names):
        raise ValueError(f"{len(columns)} columns under {len(names)} names")
    return dict(zip(names, columns or [[] for _ in names], strict=True))
