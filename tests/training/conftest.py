"""A small problem that can be learnt, and one thread: sums are then cut alike everywhere."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from mmhash.losses.total import LossWeights
from mmhash.models.config import (
    AlignConfig,
    ClassifierConfig,
    FusionConfig,
    HashConfig,
    ModelConfig,
)
from mmhash.training.batches import Features
from mmhash.training.loop import train
from mmhash.training.settings import TrainingData, TrainSettings


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_data(n=120, dim=12, classes=5, seed=0) -> TrainingData:
    """Vectors that are noisy sums of their labels' directions; the last third is val."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, classes)) < 0.3).astype(np.uint8)
    captions = rng.integers(1, 4, size=n)
    offset = np.concatenate([[0], np.cumsum(captions)]).astype(np.int64)
    image = labels @ rng.normal(size=(classes, dim)) + 0.3 * rng.normal(size=(n, dim))
    told = np.repeat(labels, captions, axis=0)
    text = told @ rng.normal(size=(classes, dim)) + 0.3 * rng.normal(size=(len(told), dim))
    features = Features(image.astype(np.float16), text.astype(np.float16), offset, labels)
    train = n - n // 3
    names = tuple(f"class {c}" for c in range(classes))
    return TrainingData(features, np.arange(train), np.arange(train, n), names)


def make_model(name="full", dim=12, classes=5, **blocks) -> ModelConfig:
    """A small tagger."""
    defaults = {
        "fusion": FusionConfig(mlp_dims=(16,), dropout=0.2),
        "hash": HashConfig(bits=16, scale_max=4.0),
        "classifier": ClassifierConfig(),
        "align": AlignConfig(),
    }
    return ModelConfig(name, dim, dim, classes, **(defaults | blocks))


def make_settings(**values) -> TrainSettings:
    """Few epochs of few steps."""
    defaults = {"batch_size": 8, "num_epochs": 5, "lr": 1e-2, "log_every": 3, "seed": 1}
    return TrainSettings(**(defaults | values))


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below ``folder``."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Bench:
    """One problem, trained into folders of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = make_data()
        self.model = make_model()
        self.weights = LossWeights()
        self.rows: list[dict[str, float]] = []

    def train(
        self,
        name="run",
        on_epoch=None,
        model=None,
        weights=None,
        data=None,
        device="cpu",
        **settings,
    ):
        """Train into ``<folder>/<name>``; return the summary."""
        self.rows = []
        return train(
            data or self.data,
            model or self.model,
            weights or self.weights,
            make_settings(**settings),
            device=device,
            cache=self.cache(name),
            out=self.folder / name,
            on_epoch=on_epoch or self.rows.append,
        )

    def cache(self, name="run") -> Path:
        return self.folder / f"{name}-cache"

    def files(self, name="run") -> dict[str, str]:
        return file_hashes(self.folder / name)


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)
