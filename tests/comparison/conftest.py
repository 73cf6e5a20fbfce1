"""Experiments that have run, in miniature: what tables read of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmhash.files import write_npy
from mmhash.metrics.ranking import average_precision

IMAGES, CLASSES = 60, 5
LABELS = (np.random.default_rng(0).random((IMAGES, CLASSES)) < 0.3).astype(np.uint8)


class Run:
    """Stands for :class:`mmhash.experiments.records.Record`: its files and its metrics."""

    def __init__(self, folder: Path, name: str, heads: dict[str, np.ndarray], **more: Any) -> None:
        self.name, self.heads = name, heads
        self.folder = folder / name
        write_npy(self.folder / "test/image_id.npy", more.pop("image_id", np.arange(IMAGES)))
        write_npy(self.folder / "test/labels.npy", LABELS)
        for head, scores in heads.items():
            write_npy(self.folder / f"test/{head}.npy", scores)
        self._metrics = {
            "test": {
                head: {"mAP": float(np.nanmean(average_precision(scores, LABELS)))}
                for head, scores in heads.items()
            },
            **more,
        }

    def metrics(self, path: str) -> Any:
        assert path == "metrics/eval.json"
        return self._metrics

    def files(self, stage: str, out: str) -> dict[str, Path]:
        assert (stage, out) == ("evaluate", "predictions")
        paths = (path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in paths}


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Make a run with noisy scores for ``heads``; less ``noise`` is a better run."""

    def make(
        name: str, seed: int, noise: float, heads: tuple[str, ...] = ("knn",), **more: Any
    ) -> Run:
        rng = np.random.default_rng(seed)
        scores = {
            head: (LABELS + noise * rng.normal(size=LABELS.shape)).round(1).astype(np.float32)
            for head in heads
        }
        return Run(tmp_path, name, scores, **more)

    return make


@pytest.fixture
def labels() -> np.ndarray:
    """The labels of every run."""
    return LABELS
