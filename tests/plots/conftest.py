"""Outputs of the other stages in miniature, for the plots to read."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mmhash.files import read_table, write_npy, write_table
from mmhash.metrics.tasks import CROSSING, TASKS
from mmhash.plots import figures, tables

CLASSES = [
    *("person", "bicycle", "car", "traffic light", "dog", "teddy bear", "hair drier", "toaster"),
    *(f"thing {number}" for number in range(1, 17)),
]


class Stages:
    """A folder with outputs of the stages before ``plot``."""

    def __init__(self, root: Path, seed: int, epochs: int, classes: list[str], bits: int) -> None:
        self.root, self.classes = root, classes
        rng = np.random.default_rng(seed)
        n, c = 300, len(classes)
        rate = 0.5 / np.arange(1, c + 1) ** 0.7
        self.labels = (rng.random((n, c)) < rate).astype(np.uint8)
        self.labels[:, -1] = 0  # a class without a positive
        folder = root / "predictions/test"
        noise = {"knn": 0.9, "classifier": 0.8, "hybrid": 0.7, "zeroshot": 2.0}
        self.scores: dict[str, np.ndarray] = {}
        cuts: dict[str, Any] = {}
        for head, spread in noise.items():
            logits = 2.5 * self.labels - 2 + spread * rng.normal(size=(n, c))
            if head == "knn":
                logits = np.round(logits)  # few distinct values, as votes have
            self.scores[head] = (1 / (1 + np.exp(-logits))).astype(np.float32)
            write_npy(folder / f"{head}.npy", self.scores[head])
            cuts[head] = {"global": 0.5, "per_class": [0.45] * c}
            cuts[head]["calibration"] = {"slope": 0.8, "intercept": -0.1}
        write_npy(folder / "labels.npy", self.labels)
        self.soft = np.tanh(3 * rng.normal(size=(n, bits)) + rng.normal(size=bits))
        write_npy(folder / "soft.npy", self.soft.astype(np.float16))
        share = np.linspace(0, 1, bits + 1)
        curve = {"distance": range(bits + 1), "precision": 1 - 0.7 * share, "recall": share}
        curve |= {"retrieved": 40 * share}
        write_table(folder / "precision_recall_by_distance.parquet", pa.table(curve))
        self._across(bits, rng)
        self._neighbours(rng)
        self.cuts = cuts
        self.json("predictions/thresholds.json", cuts)
        self.json("data/categories.json", [{"id": i, "name": n} for i, n in enumerate(classes)])
        frequency = 10 * self.labels.sum(axis=0, dtype=int) + rng.integers(1, 9, c)
        self.statistics = {
            "class_frequency": dict(zip(classes, frequency.tolist(), strict=True)),
            "labels_per_image": {"histogram": {"0": 12, "1": 80, "2": 110, "3": 60, "4": 38}},
            "captions_per_image": {"histogram": {"5": 210, "6": 80, "7": 10}},
            "caption_words": {"histogram": {str(w): 400 - 3 * (w - 11) ** 2 for w in range(5, 21)}},
        }
        self.json("data/statistics.json", self.statistics)
        self._training(epochs, rng)

    def without(self, *heads: str) -> None:
        """Leave out heads, as for a model that does not have them."""
        for head in heads:
            (self.root / f"predictions/test/{head}.npy").unlink()
            del self.cuts[head]
        self.json("predictions/thresholds.json", self.cuts)

    def without_codes(self) -> None:
        """Leave out what a model without a hash layer does not have."""
        for name in ("soft.npy", "precision_recall_by_distance.parquet"):
            (self.root / "predictions/test" / name).unlink()
        self.csv("model/h_histogram.csv", ["epoch", "bin_left", "bin_right", "fraction"], [])
        header, *rows = csv.reader(io.StringIO((self.root / "model/history.csv").read_text()))
        kept = [i for i, name in enumerate(header) if name not in tables.CODE_PANELS]
        header, *rows = ([row[i] for i in kept] for row in (header, *rows))
        self.csv("model/history.csv", header, rows)

    def without_across(self) -> None:
        """Leave out what evaluate does not measure for a method that is not cross-modal."""
        for name in ("across_by_distance", "across_sheet"):
            path = self.root / f"predictions/test/{name}.parquet"
            write_table(path, read_table(path).slice(0, 0))
        self.json("metrics/eval.json", {"across": {}})
        header, *rows = csv.reader(io.StringIO((self.root / "model/history.csv").read_text()))
        kept = [i for i, name in enumerate(header) if name not in tables.DIAGNOSTIC_PANELS]
        header, *rows = ([row[i] for i in kept] for row in (header, *rows))
        self.csv("model/history.csv", header, rows)

    def json(self, name: str, value: Any) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))

    def _across(self, bits: int, rng: np.random.Generator) -> None:
        """Retrieval across modalities; the database is the images 1 to 20."""
        folder = self.root / "predictions/test"
        share = np.linspace(0, 1, bits + 1)
        parts, figures = [], {}
        for place, task in enumerate(TASKS):
            curve = {"distance": range(bits + 1), "precision": 0.9 - 0.05 * place - 0.5 * share}
            curve |= {"recall": share, "retrieved": 40 * share}
            parts.append(pa.table({"task": [task] * (bits + 1), **curve}))
            figures[task] = {f"P@{n}": 0.8 - 0.05 * place - n / 500 for n in (1, 5, 10)}
            figures[task] |= {"mAP@50": 0.7, "P_chance": 0.3}
        write_table(folder / "across_by_distance.parquet", pa.concat_tables(parts))
        self.json("metrics/eval.json", {"across": {"val": figures, "test": figures}})
        rows = [
            (task, query, 20 + query, rank, int(rng.integers(1, 21)), 2.0 * rank, rank % 2)
            for task in CROSSING
            for query in (1, 2, 3)
            for rank in (1, 2, 3, 4)
        ]
        names = ("task", "query", "query_id", "rank", "item_id", "distance", "shared")
        columns = dict(zip(names, zip(*rows, strict=True), strict=True))
        write_table(folder / "across_sheet.parquet", pa.table(columns))

    def _neighbours(self, rng: np.random.Generator) -> None:
        """The images, 1 to n in the order of the test rows, and who votes for them."""
        n, k = len(self.labels), 8
        ids = range(1, n + 1)
        images = {"image_id": ids, "folder": [""] * n, "file_name": [""] * n}
        images |= {"captions": [[f"caption of {i}", "another"] for i in ids]}
        images |= {"category_ids": [np.flatnonzero(row).tolist() for row in self.labels]}
        write_table(self.root / "data/images.parquet", pa.table(images))
        columns = {
            "neighbour_ids": rng.integers(1, 21, n * k),
            "distances": np.tile(np.arange(k, dtype=np.float32), n),
            "weights": np.full(n * k, 1 / 10, np.float32),  # others of a tie vote too
        }
        parts = {name: pa.FixedSizeListArray.from_arrays(v, k) for name, v in columns.items()}
        found = pa.table({"image_id": ids, **parts})
        write_table(self.root / "predictions/test/neighbours.parquet", found)

    def _training(self, epochs: int, rng: np.random.Generator) -> None:
        terms = ["classification", "cosine", "hash", "quantisation", "balance", "decorrelation"]
        names = ["epoch", "lr", "hash_scale", "loss", *(f"loss_{term}" for term in terms)]
        names += ["loss_pairwise", "val_loss", "val_mAP", *tables.CODE_PANELS]
        names += tables.DIAGNOSTIC_PANELS
        rows = []
        for epoch in range(epochs):
            fall = np.exp(-epoch / 4)
            losses = [fall + 0.02 * rng.random() for _ in terms]
            rows.append([epoch, 2e-4 * fall, 1 + epoch, sum(losses), *losses, 0.0])
            rows[-1] += [sum(losses) * 1.1, 0.7 * (1 - fall) + 0.05]
            rows[-1] += [0.1 + fall / 9, 0.3 - fall / 9, 1 - fall / 2, fall / 3]
            rows[-1] += rng.random(len(tables.DIAGNOSTIC_PANELS)).tolist()
        self.csv("model/history.csv", names, rows)
        edges = np.linspace(-1, 1, 41)
        bins = []
        for epoch in range(epochs):
            h = np.tanh((0.4 + 0.3 * epoch) * rng.normal(size=5000))
            share = np.histogram(h, edges)[0] / 5000
            bins += [[epoch, edges[i], edges[i + 1], share[i]] for i in range(40)]
        self.csv("model/h_histogram.csv", ["epoch", "bin_left", "bin_right", "fraction"], bins)

    def csv(self, name: str, header: list[str], rows: list[list[Any]]) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as stream:
            csv.writer(stream).writerows([header, *rows])

    def arguments(self, out: Path, **changed: Any) -> dict[str, Any]:
        return {
            "predictions": self.root / "predictions",
            "statistics": self.root / "data/statistics.json",
            "categories": self.root / "data/categories.json",
            "history": self.root / "model/history.csv",
            "h_histogram": self.root / "model/h_histogram.csv",
            "images": self.root / "data/images.parquet",
            "evaluation": self.root / "metrics/eval.json",
            "pictures": self.root / "data/sample/raw",
            "out": out,
            "dataset": "sample",
            "bits": self.soft.shape[1],
            "thresholds": "global",
            "head": "knn",
            "distance": "hamming",
            "dpi": 60,
        } | changed


@pytest.fixture(scope="session")
def make_stages(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Stages]:
    """Make outputs of the stages in a new folder; seed and sizes can be chosen."""

    def make(seed: int = 0, epochs: int = 8, classes: int = 24, bits: int = 32) -> Stages:
        root = tmp_path_factory.mktemp("stages")
        return Stages(root, seed, epochs, CLASSES[:classes], bits)

    return make


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the PNG out where a test looks at tables only: drawing takes most of the time."""
    monkeypatch.setattr(figures, "save_png", lambda *_: None)
