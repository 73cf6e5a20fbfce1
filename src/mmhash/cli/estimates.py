"""How long and how large a run will be: measured on a slice of the same work, then scaled."""

import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from mmhash.losses.total import LossWeights
from mmhash.models.cross_modal import CrossModalConfig
from mmhash.models.hashers import HASHERS
from mmhash.models.tagger import Tagger
from mmhash.training.batches import Features
from mmhash.training.checkpoint import KEPT, Progress, save_state
from mmhash.training.cross_modal import VAL_ITEMS, VAL_QUERIES, CrossModalRun
from mmhash.training.epoch import ROWS_TOGETHER
from mmhash.training.loop import AnyConfig, start
from mmhash.training.settings import TrainingData, TrainSettings, training_precision

SLICE_STEPS = 60  # optimiser steps that are timed
SLICE_STEPS_WIDE = 6  # of a cross-modal method, whose networks are 4,096 wide
REPEATS = 3  # of which the median counts
LONG_S = 3.0  # work that takes longer is timed once


def synthetic_data(rows: int, val_rows: int, model: AnyConfig) -> TrainingData:
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


@contextmanager
def _without_its_log() -> Iterator[None]:
    """Keep quiet about rates and losses of a training on random numbers; warnings stay."""
    logger = logging.getLogger("mmhash.training")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


@_without_its_log()
def training_seconds(
    rows: int,
    val_rows: int,
    model: AnyConfig,
    weights: LossWeights,
    settings: TrainSettings,
    device: torch.device,
) -> float:
    """Estimate the seconds of all ``settings.num_epochs`` on ``rows`` training rows.

    The real work runs on synthetic features of the same widths. Of the main method two slices, the
    second of twice the rows and with the real number of val rows, tell the cost of a step from that
    of an epoch; its early stopping may end a run sooner. Of AGCH and UCMFH see
    :func:`_cross_modal_seconds`.
    """
    precision = training_precision(settings, device)
    if isinstance(model, CrossModalConfig):
        # The run looks at no more rows than these to choose the epoch by.
        data = synthetic_data(min(rows, VAL_ITEMS), min(val_rows, VAL_QUERIES), model)
        with torch.random.fork_rng(devices=[]):
            run = start(data, model, weights, settings, precision, device)
            assert isinstance(run, CrossModalRun)
            return _cross_modal_seconds(run, rows // settings.batch_size)
    window = settings.batch_size * settings.gradient_accumulation_steps
    steps = math.ceil(rows / window)

    def seconds(slice_steps: int) -> float:
        data = synthetic_data(slice_steps * window, val_rows, model)
        with torch.random.fork_rng(devices=[]):
            run = start(data, model, weights, settings, precision, device)
            run.epoch(0)
            return median_seconds(lambda: run.epoch(0), device)

    short = min(steps, SLICE_STEPS)
    if steps <= 2 * SLICE_STEPS:
        return settings.num_epochs * seconds(steps)
    once, twice = seconds(short), seconds(2 * short)
    per_step = max(twice - once, 0.0) / short
    return settings.num_epochs * (once + (steps - short) * per_step)


def _cross_modal_seconds(run: CrossModalRun, steps: int) -> float:
    """Estimate the seconds of all epochs of ``steps`` steps each.

    ``run`` holds the rows that a real one validates with (at most VAL_ITEMS and VAL_QUERIES of
    them). Two things are measured. A step: SLICE_STEPS_WIDE of them, the median of a few readings
    after one to warm up; the others are taken to be alike. The end of an epoch: one step with a
    validation and the saving of the resume state (AGCH at full width writes about 1 GB; here to the
    system's temporary folder), less that step; read once where it takes long. The files that the
    whole training leaves are not.
    """
    run.steps_per_epoch = min(steps, SLICE_STEPS_WIDE)
    run.steps(0, 1.0)
    step = median_seconds(lambda: run.steps(0, 1.0), run.device) / run.steps_per_epoch
    run.steps_per_epoch = 1
    with tempfile.TemporaryDirectory(prefix="mmhash-doctor-") as folder:

        def finish() -> None:
            progress = Progress()
            progress.add(*run.epoch(0))
            save_state(Path(folder), progress, run.state, run.optimizer, {})

        end = _seconds(finish, run.device)
        if end < LONG_S:  # the first one also warmed up
            end = median_seconds(finish, run.device)
    return run.settings.num_epochs * (steps * step + max(end - step, 0.0))


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def median_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the median time of a few runs of ``work``, waiting for the device."""
    return sorted(_seconds(work, device) for _ in range(REPEATS))[REPEATS // 2]


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
    model: AnyConfig,
    settings: TrainSettings,
    rows: int,
    captions: int,
    train_rows: int,
) -> dict[str, float]:
    """Return the memory of a training by component, in bytes.

    Weights, gradients and the moments of the optimiser are float32; activations are what the
    backward pass keeps of the rows that are computed together; features, of all ``rows`` with
    ``captions`` each, are stored as float16 and may stay on the device. What a shallow method
    needs instead depends on ``train_rows`` alone (:func:`_fitting_memory`).
    """
    if model.name == "shallow":
        assert isinstance(model, CrossModalConfig)
        return _fitting_memory(model, train_rows)
    network = _network(model)
    if isinstance(model, CrossModalConfig):
        layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)]
        kept = settings.batch_size * 3 * sum(layer.out_features for layer in layers)
    else:
        window = settings.batch_size * settings.gradient_accumulation_steps
        together = max(settings.batch_size, min(window, ROWS_TOGETHER))
        fused = 3 * max(model.image_dim, model.text_dim) + 2
        layers_out = 3 * sum(model.fusion.mlp_dims) + 4 * model.hash.bits + model.num_classes
        kept = together * (2 * fused + layers_out)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {
        "weights": 4.0 * parameters,
        "gradients": 4.0 * parameters,
        "optimiser moments": 4.0 * _moments(model) * parameters,
        "activations": 4.0 * kept,
        "features": 2.0 * rows * (model.image_dim + captions * model.text_dim),
    }


def _network(model: AnyConfig) -> torch.nn.Module:
    """Return the network without memory for its weights, to count them."""
    with torch.device("meta"):
        return HASHERS[model.name](model) if isinstance(model, CrossModalConfig) else Tagger(model)


def _moments(model: AnyConfig) -> int:
    """Return how many values the optimiser keeps a weight: Adam two, SGD with momentum one."""
    if isinstance(model, CrossModalConfig) and model.settings.get("optimizer") == "sgd":
        return int(model.settings["momentum"] > 0)
    return 2


def _fitting_memory(model: CrossModalConfig, train_rows: int) -> dict[str, float]:
    """Return the peak memory of :func:`mmhash.models.shallow.fit_shallow` by component, in bytes.

    The training rows are held as float32 and, centred, as float64; cmfh joins both modalities in a
    second float64 copy, scm whitens them in one. Beside them are the square matrices of covariances
    and their eigensolvers, or, with canonical correlations later, the projections of all rows.
    There are neither gradients nor moments, and the stored features stay in their file.
    """
    method, values = model.settings["method"], train_rows * (model.image_dim + model.text_dim)
    a, b = (choose(model.image_dim, model.text_dim) for choose in (max, min))
    codes = train_rows * model.bits
    if method == "cmfh":  # the Gram matrix, its two blocks and their factors; the first V
        copies, matrices = 2, 3 * a * a + 2 * a * b + 2 * b * b + codes
    elif method == "scm":  # both inverse roots, what is left to explain and its update
        copies, matrices = 2, a * a + 2 * a * b + 2 * b * b
    else:  # the eigenproblem of the wider modality
        projections = (6 if method == "cca_itq" else 2) * codes
        copies, matrices = 1, max(4 * a * a + a * b, projections)
    return {
        "float32 copies": 4.0 * values,
        "float64 copies": 8.0 * copies * values,
        "other matrices": 8.0 * matrices,
    }


def training_disk(model: AnyConfig, learning_in_towers: int = 0) -> dict[str, float]:
    """Return what a training writes, by component, in bytes, where it is at its largest.

    ``model/`` holds the weights five times: best, last and the three best. While they are written
    the resume state is there too: the three best and, with the optimiser's moments, the last. (When
    that has gone, DVC's copy of ``model/`` may take its place.) A shallow method leaves its maps
    once, zero-shot nothing. ``learning_in_towers``: how many weights of towers are saved too.
    """
    if model.name == "zeroshot":
        return {"model": 0.0, "resume state": 0.0}
    saved = sum(tensor.numel() for tensor in _network(model).state_dict().values())
    weights = 4.0 * (saved + learning_in_towers)
    if model.name == "shallow":
        return {"model": 2 * weights, "resume state": 0.0}  # with DVC's copy
    copy, state = (KEPT + 2) * weights, (KEPT + 1 + _moments(model)) * weights
    return {"model": copy, "resume state": max(copy, state)}
