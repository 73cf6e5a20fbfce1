"""The outputs of a run as the sections of the page read them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmhash.comparison.report import DATASETS
from mmhash.errors import InputError
from mmhash.files import read_json, read_npy, read_table
from mmhash.heads import HEADS
from mmhash.measured import evaluated_votes, read_thresholds
from mmhash.params import Params, load_params

Section = dict[str, Any]  # plain values, ready for JSON
SPLIT = "test"  # what the page looks into; the headline has val too


@dataclass(frozen=True)
class Run:
    """A checkout in which a run has ended. Everything is read when it is first asked for.

    A file that is missing or does not fit raises :class:`InputError` where it is read, so that one
    section can say so and the others still be shown.
    """

    root: Path
    params: Params

    @cached_property
    def figures(self) -> dict[str, Any]:
        """``metrics/eval.json``."""
        return _object(self.root / "metrics/eval.json")

    @cached_property
    def dataset(self) -> str:
        """The name of the dataset the run was on; ``params.yaml`` may have moved on since."""
        manifest = self.root / "data/manifest.json"
        return read_json(manifest)["dataset"] if manifest.is_file() else self.params.run.dataset

    @cached_property
    def method(self) -> str:
        """The model's name, from the model where there is one, for the same reason."""
        config = self.root / "model/config.json"
        found = _object(config) if config.is_file() else {}
        return str(found.get("model", {}).get("name", self.params.model.name))

    @property
    def dataset_line(self) -> str:
        """The dataset in words that leave no doubt about what the figures are of."""
        return DATASETS.get(self.dataset, self.dataset)

    @cached_property
    def pictures(self) -> Path:
        """The root of the dataset's raw data."""
        return self.root / getattr(self.params.datasets, self.dataset).root

    @cached_property
    def categories(self) -> list[dict[str, Any]]:
        """``data/categories.json``: id and name of each class in the order of the columns."""
        found = read_json(self.root / "data/categories.json")
        if not isinstance(found, list):
            raise InputError(f"{self.root / 'data/categories.json'}: holds no list; run dvc repro")
        return found

    @property
    def names(self) -> list[str]:
        """The category names in the order of the label columns."""
        return [str(entry["name"]) for entry in self.categories]

    @cached_property
    def thresholds(self) -> dict[str, Any]:
        """``predictions/thresholds.json``, the decision thresholds of each head from val."""
        return read_thresholds(self.root)

    @cached_property
    def votes(self) -> dict[str, Any]:
        """The settings of the votes that the figures are of, as in the block ``knn``."""
        return {**self.params.knn.model_dump(), **evaluated_votes(self.root)}

    @cached_property
    def image_id(self) -> np.ndarray:
        """The test images, (n,) int64."""
        return read_npy(self._predicted("image_id.npy"))

    @cached_property
    def labels(self) -> np.ndarray:
        """Labels of the test images, (n, C) uint8."""
        return self._by_class("labels")

    @cached_property
    def scores(self) -> dict[str, np.ndarray]:
        """Scores (n, C) float32 of each head that the model has, in the order of :data:`HEADS`."""
        return {head: self._by_class(head) for head in HEADS if head in self.thresholds}

    @cached_property
    def cuts(self) -> dict[str, np.ndarray]:
        """The threshold in use of each class by head, (C,) float64."""
        kind, count = self.params.evaluate.thresholds, len(self.categories)
        return {
            head: np.broadcast_to(np.asarray(self.thresholds[head][kind], np.float64), (count,))
            for head in self.scores
        }

    @cached_property
    def neighbours(self) -> pa.Table:
        """Neighbours of the test images: image_id, neighbour_ids, distances, weights."""
        return read_table(self._predicted("neighbours.parquet"))

    @cached_property
    def index(self) -> dict[str, Any]:
        """``index/meta.json``."""
        return _object(self.root / "index/meta.json")

    @property
    def bits(self) -> int:
        """The code length; 0 for a method without codes."""
        return int(self.index.get("bits") or 0)

    @cached_property
    def soft(self) -> np.ndarray:
        """Soft codes h of the test images, (n, B) float16."""
        found = read_npy(self._predicted("soft.npy"))
        if found.shape != (len(self.image_id), self.bits):
            raise InputError(
                f"{self._predicted('soft.npy')} has shape {found.shape}, must be "
                f"({len(self.image_id)}, {self.bits}); run evaluate again"
            )
        return found

    def described(self, ids: set[int]) -> dict[int, dict[str, Any]]:
        """Return folder, file_name, captions and category_ids of each image in ``ids``, by id."""
        table = read_table(self.root / "data/images.parquet")
        wanted = pa.array(sorted(ids), pa.int64())
        rows = table.filter(pc.is_in(table["image_id"], value_set=wanted)).to_pylist()
        return {row["image_id"]: row for row in rows}

    def _predicted(self, name: str) -> Path:
        return self.root / "predictions" / SPLIT / name

    def _by_class(self, name: str) -> np.ndarray:
        path = self._predicted(f"{name}.npy")
        found, expected = read_npy(path), (len(self.image_id), len(self.categories))
        if found.shape != expected:
            raise InputError(f"{path} has shape {found.shape}, must be {expected}; run evaluate")
        return found


def open_run(root: Path) -> Run:
    """Return the run of the checkout ``root``; raises :class:`InputError` where there is none."""
    params = load_params(root / "params.yaml")
    figures = root / "metrics/eval.json"
    if not figures.is_file():
        raise InputError(f"{figures}: no such file: no run has ended here; run dvc repro first")
    return Run(root, params)


def _object(path: Path) -> dict[str, Any]:
    """Read a JSON object; InputError where the file holds something else."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise InputError(f"{path}: holds no JSON object; damaged: run dvc repro")
    return found


def rounded(values: Any, digits: int) -> Any:
    """Return an array, or numbers nested in lists and dicts, as plain values with ``digits``.

    NaN and infinity, which JSON lacks, become None.
    """
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, float):
        return round(values, digits) if np.isfinite(values) else None
    if isinstance(values, list | tuple):
        return [rounded(value, digits) for value in values]
    if isinstance(values, dict):
        return {key: rounded(value, digits) for key, value in values.items()}
    return values
