"""Figures over seeds, and differences paired over the test images.

The baseline and a row are scored on the same images, so that much of the scatter is common to both
and cancels in their difference. Every resample of the images (bootstrap) is drawn once and used for
all rows and seeds: within a seed the difference is taken resample by resample, then averaged over
the seeds. The interval therefore speaks of the test images, the standard deviation of the seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmhash.ablations.study import Row, Study
from mmhash.errors import InputError
from mmhash.experiments.records import TARGET, Record
from mmhash.files import read_npy
from mmhash.heads import HEADS
from mmhash.metrics.bootstrap import centred_interval, resample_counts, resampled_map
from mmhash.metrics.ranking import average_precision
from mmhash.metrics.tasks import TASKS
from mmhash.seeding import numpy_stream

METRICS = "metrics/eval.json"


@dataclass(frozen=True)
class Cell:
    """Test mAP of each run, and the difference to the baseline: mean, and its 95 % interval."""

    values: tuple[float, ...]
    difference: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Line:
    """A row of the table: a cell for each head (None: the run has no such head).

    ``also`` holds the further figures of each run. ``experiments`` are the names of the runs.
    """

    name: str
    cells: dict[str, Cell | None]
    also: dict[str, tuple[float, ...]]
    overrides: dict[str, Any]
    experiments: tuple[str, ...]
    baseline: str


class Scores:
    """mAP of experiments and of the resamples of their test images, each computed once."""

    def __init__(self, samples: int, seed: int) -> None:
        self._samples, self._seed = samples, seed
        self._counts: np.ndarray | None = None
        self._image_id: np.ndarray | None = None
        self._labels: np.ndarray | None = None
        self._first = ""
        self._resampled: dict[Path, np.ndarray] = {}

    def of(self, record: Record, head: str) -> np.ndarray | None:
        """Return the test scores (n, C) of a head, or None where the run has no such head."""
        path = record.files(TARGET, "predictions").get(f"test/{head}.npy")
        return None if path is None else read_npy(path)

    def resampled(self, record: Record, head: str) -> np.ndarray | None:
        """Return the mAP of each resample, (samples,), or None where there is no such head."""
        path = record.files(TARGET, "predictions").get(f"test/{head}.npy")
        if path is None:
            return None
        if path not in self._resampled:  # heads that a row leaves alone are the same file
            self._resampled[path] = self.resample(read_npy(path), record)
        return self._resampled[path]

    def resample(self, scores: np.ndarray, record: Record) -> np.ndarray:
        """Return the mAP of ``scores`` (n, C) in each resample of the images of ``record``."""
        return resampled_map(scores, self.labels(record), self._images(record))

    def labels(self, record: Record) -> np.ndarray:
        """Return the test labels (n, C), after making sure that the images are the same."""
        files = record.files(TARGET, "predictions")
        image_id = read_npy(files["test/image_id.npy"])
        labels = read_npy(files["test/labels.npy"])
        if self._image_id is None or self._labels is None:
            self._image_id, self._labels, self._first = image_id, labels, record.name
        elif not (
            np.array_equal(image_id, self._image_id) and np.array_equal(labels, self._labels)
        ):
            raise InputError(
                f"experiments {self._first} and {record.name} were tested on different images"
            )
        return labels

    def _images(self, record: Record) -> np.ndarray:
        if self._counts is None:
            rng = numpy_stream(self._seed, "ablation")
            self._counts = resample_counts(len(self.labels(record)), self._samples, rng)
        return self._counts


def figure(metrics: Any, key: str) -> float | None:
    """Return the number under a dotted key of ``metrics/eval.json``, or None."""
    for part in key.split("."):
        if not isinstance(metrics, Mapping) or part not in metrics:
            return None
        metrics = metrics[part]
    return float(metrics) if isinstance(metrics, int | float) else None


def label(key: str) -> str:
    """Return how a table calls a key of ``metrics/eval.json``; test and the row's head go unsaid.

    >>> [label(key) for key in ("val.knn.mAP", "test.{head}.P@5", "codes.entropy")]
    ['val mAP, KNN', 'P@5', 'entropy']
    >>> label("across.test.image_to_text.mAP@50")
    'I→T mAP@50'
    """
    where, *head, name = key.split(".")
    if head and head[-1] in TASKS:
        return f"{TASKS[head[-1]].short} {name}"
    if where == "across":
        return name
    if not head or head == ["{head}"]:
        return name
    split = "" if where == "test" else f"{where} "
    return f"{split}{name}, {HEADS.get(head[0], head[0])}"


def paired_difference(
    values: Sequence[float],
    baseline: Sequence[float],
    resampled: Sequence[np.ndarray],
    resampled_baseline: Sequence[np.ndarray],
) -> tuple[float, float, float]:
    """Return the mean difference over seeds and its 95 % interval over images.

    ``values`` and ``baseline`` hold one figure a seed, the others the same figure in each resample
    of the images, the resamples being the same everywhere.
    """
    mean = float(np.mean(np.subtract(values, baseline)))
    scatter = np.mean(np.subtract(resampled, resampled_baseline), axis=0)
    return mean, *centred_interval(scatter, mean)


def summarise(
    study: Study,
    runs: Mapping[str, Sequence[Record]],
    overrides: Mapping[str, dict[str, Any]],
    scores: Scores,
) -> list[Line]:
    """Return the lines of a study from the runs of each row, one a seed, seeds in one order."""
    rows = {row.name: row for row in study.rows}
    metrics = {name: [r.metrics(METRICS) for r in records] for name, records in runs.items()}

    def values(row: Row, head: str) -> tuple[float, ...] | None:
        found = [figure(m, f"test.{head}.mAP") for m in metrics[row.name]]
        kept = tuple(value for value in found if value is not None)
        return kept if len(kept) == len(found) else None

    def resampled(row: Row, head: str) -> list[np.ndarray]:
        found = [scores.resampled(record, head) for record in runs[row.name]]
        return [values for values in found if values is not None]

    lines = []
    for row in study.rows:
        base = rows[row.baseline or study.baseline]
        cells: dict[str, Cell | None] = {}
        for column in study.heads or ("",):
            head, base_head = row.head or column, base.head or column
            own, theirs = values(row, head), values(base, base_head)
            if own is None:
                cells[column] = None
            elif theirs is None or row is base:
                cells[column] = Cell(own)
            else:
                pair = resampled(row, head), resampled(base, base_head)
                cells[column] = Cell(own, paired_difference(own, theirs, *pair))
        head = row.head or (study.heads or ("knn",))[0]
        also = {}
        for key in study.also:
            found = [figure(m, key.format(head=head)) for m in metrics[row.name]]
            also[label(key)] = tuple(value for value in found if value is not None)
        names = tuple(record.name for record in runs[row.name])
        lines.append(Line(row.name, cells, also, overrides[row.name], names, base.name))
    return lines


def fold_lines(
    study: Study, lines: Sequence[Line], runs: Mapping[str, Sequence[Record]], scores: Scores
) -> list[Line]:
    """Return two more lines for a study of folds: their mean, and the ensemble of the folds.

    The mean's values are those of every fold (and seed), so that its standard deviation is over
    folds. The ensemble averages the test scores of the folds of a seed. The lines that follow the
    baseline are the folds.
    """
    folds = [line for line in lines if line.name != study.baseline]
    names = [line.name for line in folds]
    pooled: dict[str, Cell | None] = {}
    together: dict[str, Cell | None] = {}
    for head in study.heads:
        cells = [line.cells[head] for line in folds]
        present = [cell for cell in cells if cell is not None]
        base = next(line.cells[head] for line in lines if line.name == study.baseline)
        if len(present) < len(cells) or base is None:
            pooled[head] = together[head] = None
            continue
        pooled[head] = Cell(tuple(value for cell in present for value in cell.values))
        own, draws, base_draws = [], [], []
        for index, record in enumerate(runs[study.baseline]):
            parts = [scores.of(runs[name][index], head) for name in names]
            mean = np.stack([part for part in parts if part is not None]).mean(axis=0, dtype=float)
            own.append(float(np.nanmean(average_precision(mean, scores.labels(record)))))
            draws.append(scores.resample(mean, record))
            base_draws.append(scores.resampled(record, head))
        difference = paired_difference(
            own, base.values, draws, [draw for draw in base_draws if draw is not None]
        )
        together[head] = Cell(tuple(own), difference)
    experiments = tuple(name for line in folds for name in line.experiments)
    common: dict[str, Any] = {"overrides": {}, "experiments": experiments}
    return [
        Line("mean over folds", pooled, {}, baseline=study.baseline, **common),
        Line("fold ensemble", together, {}, baseline=study.baseline, **common),
    ]
