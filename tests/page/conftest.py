"""A run in miniature: what the stages leave behind, as the page reads it; and the page of it."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mmhash.codes import binarise, hamming, pack
from mmhash.files import write_json, write_npy, write_table
from mmhash.metrics.codes import code_metrics
from mmhash.metrics.multilabel import multilabel_metrics
from mmhash.metrics.tasks import CROSSING, TASKS
from mmhash.page.source import Run, open_run

from ..conftest import change_params

NAMES = ("person", "dog", "car", "boat", "teddy bear", "toaster")
HOSTILE = '<script>document.title = "hacked"</script><img src=x onerror="document.title=1">'
QUERIES, ITEMS, NEAREST = 30, 60, 25
NOISE = {"knn": 0.9, "classifier": 0.7, "hybrid": 0.6, "zeroshot": 2.0}


class Outputs:
    """A checkout ``root`` with the outputs of a run; test images have ids from 1, items from 501.

    The first image's first caption is :data:`HOSTILE` where there are captions.
    """

    def __init__(
        self,
        root: Path,
        params: Path,
        *,
        names: tuple[str, ...] = NAMES,
        heads: tuple[str, ...] = tuple(NOISE),
        bits: int = 16,
        pictures: bool = True,
        captions: bool = True,
        across: bool = False,
        epochs: int = 3,
        seed: int = 0,
    ) -> None:
        self.root, self.names, self.heads = root, names, heads
        self.rng = np.random.default_rng(seed)
        self.bits, self.pictures = bits, pictures
        root.mkdir(parents=True, exist_ok=True)
        self._params(params)
        self.labels = self._draw_labels(QUERIES)
        self.item_labels = self._draw_labels(ITEMS)
        self.ids = np.arange(1, QUERIES + 1)
        self.item_ids = np.arange(501, 501 + ITEMS)
        self._data(captions)
        self._predictions()
        self._figures(across)
        self._training(epochs)

    def json(self, name: str, value: Any) -> None:
        write_json(self.root / name, value)

    def run(self) -> Run:
        return open_run(self.root)

    def _draw_labels(self, count: int) -> np.ndarray:
        rate = 0.6 / np.arange(1, len(self.names) + 1) ** 0.7
        found = (self.rng.random((count, len(self.names))) < rate).astype(np.uint8)
        found[:, -1] = 0  # a class without a positive
        return found

    def _params(self, params: Path) -> None:
        shutil.copy2(params, self.root)
        changes: dict[str, Any] = {
            "run": {"dataset": "coco2014" if self.pictures else "features"},
            "datasets": {"coco2014": {"root": "raw"}},
            "evaluate": {"bootstrap_samples": 100},
        }
        if not self.bits:
            changes["model"] = {"name": "mlp"}
        change_params(self.root, changes)

    def _data(self, captions: bool) -> None:
        self.json("data/manifest.json", {"dataset": "coco2014" if self.pictures else "features"})
        entries = [{"id": 10 + place, "name": name} for place, name in enumerate(self.names)]
        self.json("data/categories.json", entries)
        labels = np.concatenate([self.labels, self.item_labels])
        ids = [*self.ids.tolist(), *self.item_ids.tolist()]
        texts = [[f"a picture of {image}", "another words"] for image in ids]
        texts[0][0] = HOSTILE
        table = {
            "image_id": pa.array(ids, pa.int64()),
            "folder": ["val2014" if self.pictures else ""] * len(ids),
            "file_name": [f"{image}.jpg" if self.pictures else "" for image in ids],
            "captions": pa.array(texts if captions else [[] for _ in ids], pa.list_(pa.string())),
            "category_ids": [[10 + int(c) for c in np.flatnonzero(row)] for row in labels],
        }
        write_table(self.root / "data/images.parquet", pa.table(table))
        if self.pictures:
            for kind in ("instances", "captions"):
                self.json(f"raw/annotations/{kind}_val2014.json", {})
            folder = self.root / "raw/images/val2014"
            folder.mkdir(parents=True)
            for image in ids:
                colour = tuple(int(v) for v in self.rng.integers(0, 255, 3))
                Image.new("RGB", (40, 30), colour).save(folder / f"{image}.jpg")
        frequency = labels.sum(axis=0, dtype=int).tolist()
        facts = {
            "images": len(ids),
            "classes": len(self.names),
            "class_frequency": dict(zip(self.names, frequency, strict=True)),
            "labels_per_image": {"histogram": {"0": 4, "1": 50, "2": 36}},
        }
        self.json("data/statistics.json", facts)
        self.json("metrics/split.json", {"protocol": "karpathy", "images": {"test": QUERIES}})

    def _predictions(self) -> None:
        folder = self.root / "predictions/test"
        write_npy(folder / "image_id.npy", self.ids)
        write_npy(folder / "labels.npy", self.labels)
        self.scores: dict[str, np.ndarray] = {}
        cuts: dict[str, Any] = {}
        for head in self.heads:
            logits = 2.5 * self.labels - 1.5
            logits = logits + NOISE[head] * self.rng.normal(size=self.labels.shape)
            self.scores[head] = (1 / (1 + np.exp(-logits))).astype(np.float32)
            write_npy(folder / f"{head}.npy", self.scores[head])
            cuts[head] = {"global": 0.5, "per_class": [0.45] * len(self.names)}
            cuts[head]["calibration"] = {"slope": 0.9, "intercept": -0.1}
        if "hybrid" in cuts:
            cuts["hybrid"]["knn_weight"] = 0.5
        self.json("predictions/thresholds.json", cuts)
        width = self.bits or 8
        plane = self.rng.normal(size=(len(self.names), width))
        self.soft, items = (
            np.tanh(labels @ plane + 0.5 * self.rng.normal(size=(len(labels), width)))
            for labels in (self.labels, self.item_labels)
        )
        self.soft = self.soft.astype(np.float16)
        distances = hamming(pack(binarise(self.soft)), pack(binarise(items)))
        near = np.argsort(distances, axis=1, kind="stable")[:, :NEAREST]
        weights = np.linspace(2, 1, NEAREST) / 1.6 / NEAREST
        columns = {
            "neighbour_ids": self.item_ids[near],
            "distances": np.take_along_axis(distances, near, 1).astype(np.float32),
            "weights": np.broadcast_to(weights.astype(np.float32), near.shape),
        }
        lists = {
            name: pa.FixedSizeListArray.from_arrays(np.ascontiguousarray(v).ravel(), NEAREST)
            for name, v in columns.items()
        }
        write_table(folder / "neighbours.parquet", pa.table({"image_id": self.ids, **lists}))
        self.json("index/meta.json", {"bits": self.bits, "metric": "hamming"})
        if self.bits:
            write_npy(folder / "soft.npy", self.soft)
            share = np.linspace(0, 1, self.bits + 1)
            curve = {"distance": range(self.bits + 1), "precision": 1 - 0.7 * share}
            curve |= {"recall": share, "retrieved": 40 * share}
            write_table(folder / "precision_recall_by_distance.parquet", pa.table(curve))

    def _figures(self, across: bool) -> None:
        tagging = {
            head: {
                **multilabel_metrics(scores, self.labels, 0.5),
                "mAP_low": 0.3,
                "mAP_high": 0.7,
            }
            for head, scores in self.scores.items()
        }
        retrieval = {"mAP@50": 0.7, "mAP@50_worst": 0.6, "mAP@50_best": 0.8, "mAP@50_chance": 0.3}
        retrieval |= {"P@1": 0.7, "P_worst@1": 0.65, "P_best@1": 0.75, "P_chance": 0.3}
        retrieval |= {"queries": QUERIES, "database": ITEMS}
        figures: dict[str, Any] = {
            "val": tagging,
            "test": tagging,
            "codes": code_metrics(pack(binarise(self.soft)), self.soft) if self.bits else {},
            "data": {"database": ITEMS, "val": 12, "test": QUERIES, "classes": len(self.names)},
            "retrieval": {"index_recall": 1.0, "val": retrieval, "test": retrieval},
            "across": {},
        }
        figures["data"] |= {"test_classes_left_out": [self.names[-1]], "rare_classes": ["boat"]}
        figures["data"]["test_images_without_label"] = int((~self.labels.any(axis=1)).sum())
        if across:
            found = {
                task: {"mAP@50": 0.6, "P@1": 0.7, "P@10": 0.5, "P_chance": 0.3} for task in TASKS
            }
            figures["across"] = {"val": found, "test": found}
            self._across()
        self.json("metrics/eval.json", figures)
        self.json("metrics/cost/train.json", {"seconds": 12.5, "peak_ram_mb": 300.0})
        self.json("metrics/index.json", {"kind": "flat", "items": ITEMS, "bytes": 120})

    def _across(self) -> None:
        folder = self.root / "predictions/test"
        share = np.linspace(0, 1, self.bits + 1)
        parts = []
        for task in TASKS:
            curve = {"distance": range(self.bits + 1), "precision": 0.9 - 0.5 * share}
            curve |= {"recall": share, "retrieved": 40 * share}
            parts.append(pa.table({"task": [task] * (self.bits + 1), **curve}))
        write_table(folder / "across_by_distance.parquet", pa.concat_tables(parts))
        rows = [
            (task, query, query, rank, 500 + 3 * query + rank, 2.0 * rank, rank % 2)
            for task in CROSSING
            for query in (1, 2)
            for rank in (1, 2, 3)
        ]
        names = ("task", "query", "query_id", "rank", "item_id", "distance", "shared")
        columns = dict(zip(names, zip(*rows, strict=True), strict=True))
        write_table(folder / "across_sheet.parquet", pa.table(columns))

    def _training(self, epochs: int) -> None:
        rows = [[e, 1e-4, 1.0, 0.5 - 0.1 * e, 0.5, 0.2 + 0.1 * e] for e in range(epochs)]
        names = ["epoch", "lr", "hash_scale", "loss", "val_loss", "val_mAP"]
        self._csv("model/history.csv", names, rows)
        edges = np.linspace(-1, 1, 11)
        bins = [[e, edges[i], edges[i + 1], 0.1] for e in range(epochs) for i in range(10)]
        names = ["epoch", "bin_left", "bin_right", "fraction"]
        self._csv("model/h_histogram.csv", names, bins if self.bits else [])
        self.json("metrics/train.json", {"best_epoch": 2, "epochs_run": 3, "best_val_mAP": 0.4})

    def _csv(self, name: str, header: list[str], rows: list[list[Any]]) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as stream:
            csv.writer(stream).writerows([header, *rows])


@pytest.fixture(scope="session")
def make_outputs(
    tmp_path_factory: pytest.TempPathFactory, repository: Path
) -> Callable[..., Outputs]:
    """Make the outputs of a run in a new folder; see :class:`Outputs` for what can be chosen."""

    def make(**options: Any) -> Outputs:
        root = tmp_path_factory.mktemp("run")
        return Outputs(root, repository / "params.yaml", **options)

    return make


@pytest.fixture(scope="session")
def outputs(make_outputs: Callable[..., Outputs]) -> Outputs:
    """One run that tests look at and leave as it is."""
    return make_outputs()
