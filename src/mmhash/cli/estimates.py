"""How long and how large a run will be: measured on a slice of the same work, then scaled."""

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mmhash.losses.total import LossWeights
from mmhash.models.config import ModelConfig
from mmhash.models.cross_modal import CrossModalConfig
from mmhash.models.hashers import build_hasher
from mmhash.models.tagger import Tagger
from mmhash.training.batches import Features
from mmhash.training.epoch import ROWS_TOGETHER
from mmhash.training.loop import start
from mmhash.training.settings import TrainingData, TrainSettings, training_precision

SLICE_STEPS = 60  # optimiser steps that are timed
SLICE_STEPS_WIDE = 6  # of a cross-modal method, whose networks are 4,096 wide
REPEATS = 3  # of which the median counts


def synthetic_data(rows: int, val_rows: int, model: ModelConfig | CrossModalConfig) -> TrainingData:
    """Return random features of the model's widths: time does not depend on what they hold."""
    rng = np.random.default_rng(0)
    n = rows + val_rows
    labels = (rng.random((n, model.num_classes)) < 0.05).astype(np.uint8)
    labels[:, 0] = rng.random(n) < 0.5
    labels[-1, 0] = 1
    features = Features(
        rng.standard_normal((n, model.image_dim), dtype=np.float32).astype(np.float16),
        rng.standard_normal((n, model.text_dim), dtype=np.float32).astype(np.float16),
        np.arange(n + 1, dtype=np.int64),
        labels,
    )
    names = tuple(str(c) for c in range(model.num_classes))
    return TrainingData(features, np.arange(rows), np.arange(rows, n), names)


def training_seconds(
    rows: int,
    val_rows: int,
    model: ModelConfig | CrossModalConfig,
    weights: LossWeights,
    settings: TrainSettings,
    device: torch.device,
) -> float:
    """Estimate the seconds of all ``settings.num_epochs`` on ``rows`` training rows.

    The real loop runs on a slice of synthetic features of the same widths. Two slices, the second
    of twice the rows and with the real number of val rows, tell the cost of a step from that of
    an epoch. Early stopping may end a run sooner.
    """
    window = settings.batch_size * settings.gradient_accumulation_steps
    steps = math.ceil(rows / window)
    precision = training_precision(settings, device)

    def seconds(slice_steps: int) -> float:
        data = synthetic_data(slice_steps * window, val_rows, model)
        with torch.random.fork_rng(devices=[]):
            run = start(data, model, weights, settings, precision, device)
            run.epoch(0)
            return median_seconds(lambda: run.epoch(0), device)

    timed = SLICE_STEPS if isinstance(model, ModelConfig) else SLICE_STEPS_WIDE
    short = min(steps, timed)
    if steps <= 2 * timed:
        return settings.num_epochs * seconds(steps)
    once, twice = seconds(short), seconds(2 * short)
    per_step = max(twice - once, 0.0) / short
    return settings.num_epochs * (once + (steps - short) * per_step)


def median_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the median time of a few runs of ``work``, waiting for the device."""
    readings = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        readings.append(time.perf_counter() - began)
    return sorted(readings)[REPEATS // 2]


def extraction_seconds(
    images: int, available: int, extract_some: Callable[[int, Path], None], budget: float = 15.0
) -> float:
    """Estimate the seconds of an extraction of ``images`` pictures.

    ``extract_some(n, folder)`` runs the real extraction on the first n of ``available`` pictures,
    with its scratch files in ``folder``. Two sizes tell the start-up from the rate; the second is
    as large as fits into about ``budget`` seconds.
    """

    def seconds(count: int) -> float:
        with tempfile.TemporaryDirectory(prefix="mmhash-doctor-") as folder:
            began = time.perf_counter()
            extract_some(count, Path(folder))
            return time.perf_counter() - began

    small = min(16, available)
    seconds(small)  # warms the caches and the allocator
    first = seconds(small)
    large = min(available, max(2 * small, int(small * budget / max(first, 1e-3)) // 2))
    if large <= small:
        return first * images / small
    rate = max(seconds(large) - first, 1e-6) / (large - small)
    return first + (images - small) * rate


def training_memory(
    model: ModelConfig | CrossModalConfig, settings: TrainSettings, rows: int, captions: int
) -> dict[str, float]:
    """Return the memory of a training by component, in bytes.

    Weights, gradients and the two moments of the optimiser are float32; activations are what the
    backward pass keeps of the rows that are computed together; features are stored as float16 and
    may stay on the device.
    """
    if isinstance(model, CrossModalConfig):
        network: torch.nn.Module = build_hasher(model, 0)
        layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)]
        widths = 3 * sum(layer.out_features for layer in layers)
        return _memory_parts(network, settings.batch_size * widths, model, rows, captions)
    window = settings.batch_size * settings.gradient_accumulation_steps
    together = max(settings.batch_size, min(window, ROWS_TOGETHER))
    fused = 3 * max(model.image_dim, model.text_dim) + 2
    widths = 2 * fused + 3 * sum(model.fusion.mlp_dims) + 4 * model.hash.bits + model.num_classes
    return _memory_parts(Tagger(model), together * widths, model, rows, captions)


def _memory_parts(
    network: torch.nn.Module,
    kept: int,
    model: ModelConfig | CrossModalConfig,
    rows: int,
    captions: int,
) -> dict[str, float]:
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {
        "weights": 4.0 * parameters,
        "gradients": 4.0 * parameters,
        "optimiser moments": 8.0 * parameters,
        "activations": 4.0 * kept,
        "features": 2.0 * rows * (model.image_dim + captions * model.text_dim),
    }
