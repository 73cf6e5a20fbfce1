"""The training loop, from features (or pictures) to the weights of the best epoch.

AdamW, warm-up and cosine, gradient accumulation, mixed precision, selection by val mAP of the
classifier head with early stopping. Killed at any moment it continues from the last finished
epoch, and ends with the bytes that an undisturbed run would have written.
"""

import gc
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils import deterministic

from mmhash.encoders.device import describe_device
from mmhash.errors import InputError
from mmhash.losses.total import LossWeights
from mmhash.models.config import ModelConfig
from mmhash.models.cross_modal import CrossModalConfig
from mmhash.progress import track
from mmhash.ranks import ALONE, Ranks
from mmhash.training.checkpoint import (
    Progress,
    load_state,
    remove_state,
    save_state,
    write_outputs,
)
from mmhash.training.cross_modal import CrossModalRun
from mmhash.training.end_to_end import EndToEnd
from mmhash.training.epoch import Run
from mmhash.training.settings import Precision, TrainingData, TrainSettings, training_precision

logger = logging.getLogger(__name__)

AnyConfig = ModelConfig | CrossModalConfig
SHOWN = ("loss", "val_loss", "val_mAP")  # of a history row, in the log


@dataclass(frozen=True)
class TrainingSummary:
    """What a training came to; equal for a resumed and an undisturbed run.

    ``batch_size`` and ``gradient_accumulation_steps`` are those used in the end, after
    ``out_of_memory_halvings``. ``notes`` are sentences for the user, also logged.
    """

    best_epoch: int
    best_val_mAP: float  # noqa: N815 - the name of the metric everywhere else
    last_val_mAP: float  # noqa: N815
    epochs_run: int
    stopped_early: bool
    optimizer_steps: int
    train_rows: int
    val_rows: int
    val_classes_without_positives: list[str]
    parameters: int
    device: str
    precision: str
    batch_size: int
    gradient_accumulation_steps: int
    out_of_memory_halvings: int
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can write."""
        return asdict(self)


def train(
    data: TrainingData,
    model: AnyConfig,
    weights: LossWeights,
    settings: TrainSettings,
    *,
    device: torch.device | str,
    cache: Path,
    out: Path,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    towers: EndToEnd | None = None,
    compiled: bool = False,
) -> TrainingSummary:
    """Train ``model`` on ``data`` and write its files to ``out``.

    With ``towers`` the vectors of ``data`` are not read: the towers compute them, and learn too.
    Their weights are saved beside the tagger's, and ``towers.encode(out)`` has returned before the
    resume state goes. All ``towers.ranks`` call this; the first one writes. ``compiled`` is
    :func:`mmhash.training.step.compiled_step`; cross-modal methods leave it out.

    ``out`` receives best, last and the three best weights, ``config.json``, ``history.csv`` and
    ``h_histogram.csv`` at the end. ``cache`` holds the resume state and belongs to this result
    alone (:func:`mmhash.training.checkpoint.training_key`); it is removed on success.
    ``on_epoch`` is called with the history row of each finished epoch, on resume first with those
    of the earlier process, in order. After a halving (``on_oom: halve``) the rows start over at
    epoch 0.

    Raises :class:`InputError` in one line for data that cannot train, a loss that is not finite
    (the last good epoch stays in ``cache``), and memory that runs out with ``on_oom: stop``.
    """
    device, ranks = torch.device(device), towers.ranks if towers else ALONE
    data.check(model)
    if settings.batch_size < _smallest_batch(model) == 2:
        raise InputError("train.batch_size = 1: BatchNorm needs at least 2 rows a micro batch")
    precision = training_precision(settings, device)
    notes = [
        *([precision.note] if precision.note else []),
        *_alignment_notes(model, weights, towers),
    ]
    logger.info("training on %s in %s", describe_device(device), precision.name)
    for note in notes:
        logger.info("%s", note)
    if ranks.world > settings.gradient_accumulation_steps:
        logger.warning(
            "%d processes share the %d micro batches of a step, so some of them only wait; raise "
            "train.gradient_accumulation_steps or lower the hardware profile's processes",
            *(ranks.world, settings.gradient_accumulation_steps),
        )

    current, halvings = _settings_in_use(cache, settings)
    with _forked_random_state(device), _deterministic(settings.deterministic):
        while True:
            # The except clause holds the failed run's tensors until it is left, so it only notes.
            ran_out = False
            folder = _state_folder(cache, current.batch_size)
            try:
                run, progress = _fit(
                    data,
                    model,
                    weights,
                    current,
                    precision,
                    device,
                    folder,
                    on_epoch,
                    towers,
                    compiled,
                )
            except torch.OutOfMemoryError:
                ran_out = True
            if not ran_out:
                break
            current = _after_out_of_memory(current, model, ranks)
            halvings += 1
            _state_folder(cache, current.batch_size).mkdir(parents=True, exist_ok=True)
            _let_go(device)

    if halvings:
        notes.append(
            f"memory ran out: trained with train.batch_size={current.batch_size} "
            f"train.gradient_accumulation_steps={current.gradient_accumulation_steps}"
        )
    best = progress.history[progress.best_epoch]
    complaints = run.complaints(best)
    for complaint in complaints:
        logger.warning("%s", complaint)
    notes += [*run.notes, *complaints]
    steps_per_epoch = run.steps_per_epoch
    parameters = sum(parameter.numel() for parameter in run.parameters)
    described = towers.described() if towers else None
    if ranks.first:
        write_outputs(out, folder, progress, run.state, model, data.categories, described)
    if towers:
        del run  # its weights and moments would stand beside the towers that encode
        _let_go(device)
        ranks.wait()
        towers.encode(out)
    if ranks.first:
        remove_state(cache)
    has_positive = data.features.labels[data.val_rows].any(axis=0)
    return TrainingSummary(
        best_epoch=progress.best_epoch,
        best_val_mAP=best["val_mAP"],
        last_val_mAP=progress.history[-1]["val_mAP"],
        epochs_run=progress.epochs,
        stopped_early=progress.epochs < settings.num_epochs,
        optimizer_steps=progress.epochs * steps_per_epoch,
        train_rows=len(data.train_rows),
        val_rows=len(data.val_rows),
        val_classes_without_positives=[
            name for name, seen in zip(data.categories, has_positive, strict=True) if not seen
        ],
        parameters=parameters,
        device=describe_device(device),
        precision=precision.name,
        batch_size=current.batch_size,
        gradient_accumulation_steps=current.gradient_accumulation_steps,
        out_of_memory_halvings=halvings,
        notes=notes,
    )


def _fit(
    data: TrainingData,
    model: AnyConfig,
    weights: LossWeights,
    settings: TrainSettings,
    precision: Precision,
    device: torch.device,
    folder: Path,
    on_epoch: Callable[[dict[str, float]], None] | None,
    towers: EndToEnd | None,
    compiled: bool,
) -> tuple[Run | CrossModalRun, Progress]:
    """Train all epochs that are not yet in the state of ``folder``."""
    run = start(data, model, weights, settings, precision, device, towers, compiled)
    progress, scaler = load_state(folder, run.state, run.optimizer)
    if run.ranks.agree(lambda: progress.epochs) != progress.epochs:
        raise InputError(
            f"{folder}: the processes see different resume states; all need the same file system"
        )
    if progress.epochs:
        run.scaler.load_state_dict(scaler)
        logger.info("continuing after epoch %d from %s", progress.epochs - 1, folder)
    if on_epoch:
        for finished in progress.history:
            on_epoch(dict(finished))
    remaining = range(progress.epochs, settings.num_epochs)
    for epoch in track(remaining, len(remaining), "training", "epoch"):
        if epoch and epoch - 1 - progress.best_epoch >= settings.early_stopping_patience:
            logger.info("stopped early: val mAP has not risen since epoch %d", progress.best_epoch)
            break
        row, histogram = run.epoch(epoch)
        progress.add(row, histogram)
        if run.ranks.first:
            save_state(folder, progress, run.state, run.optimizer, run.scaler.state_dict())
        loss = ", ".join(f"{key.replace('_', ' ')} {row[key]:.4f}" for key in SHOWN if key in row)
        logger.info("epoch %d: %s", epoch, loss)
        if on_epoch:
            on_epoch(dict(row))
    return run, progress


def start(
    data: TrainingData,
    model: AnyConfig,
    weights: LossWeights,
    settings: TrainSettings,
    precision: Precision,
    device: torch.device,
    towers: EndToEnd | None = None,
    compiled: bool = False,
) -> Run | CrossModalRun:
    """Return what trains ``model``, epoch by epoch."""
    if isinstance(model, ModelConfig):
        return Run(data, model, weights, settings, precision, device, towers, compiled)
    return CrossModalRun(data, model, weights, settings, device)


def _smallest_batch(model: AnyConfig) -> int:
    """Return the fewest rows that a micro batch can have: BatchNorm and pairs need two."""
    if isinstance(model, CrossModalConfig):
        return 2
    return 2 if model.hash.enabled and model.hash.batch_norm else 1


def _alignment_notes(model: AnyConfig, weights: LossWeights, towers: EndToEnd | None) -> list[str]:
    """Say where L_cos cannot teach anything, and what would change that."""
    if not isinstance(model, ModelConfig):
        return []
    if not model.two_directions or model.align.projection or weights.cosine_weight == 0:
        return []
    if not model.aligned:
        return [
            f"loss_cosine is left out: image vectors have {model.image_dim} values, text vectors "
            f"{model.text_dim}; align.projection=true brings both to one width"
        ]
    if towers:
        return []
    return [
        "loss_cosine is a constant without gradient: the towers are frozen and no layer stands "
        "before it; align.projection=true adds one that can learn"
    ]


def _state_folder(cache: Path, batch_size: int) -> Path:
    """Return where the state for one batch size lies; its presence records a halving."""
    return cache / f"batch_size-{batch_size}"


def _halved(settings: TrainSettings) -> TrainSettings:
    """Return the settings with half the batch and twice the accumulation."""
    return replace(
        settings,
        batch_size=settings.batch_size // 2,
        gradient_accumulation_steps=settings.gradient_accumulation_steps * 2,
    )


def _settings_in_use(cache: Path, settings: TrainSettings) -> tuple[TrainSettings, int]:
    """Return the settings and the number of halvings that an earlier process arrived at."""
    current, in_use, halvings, found = settings, settings, 0, 0
    while current.batch_size > 1:
        current, halvings = _halved(current), halvings + 1
        if _state_folder(cache, current.batch_size).is_dir():
            in_use, found = current, halvings
    return in_use, found


def _after_out_of_memory(settings: TrainSettings, model: AnyConfig, ranks: Ranks) -> TrainSettings:
    """Return the settings to start over with; InputError with ``on_oom: stop`` or nothing left.

    With several ranks, too: the others are waiting for the one that has no room.
    """
    if isinstance(model, CrossModalConfig):
        raise InputError(
            f"memory ran out at {model.name}.batch_size={settings.batch_size}; its loss depends on "
            f"the batch, so it is not halved by itself: set {model.name}.batch_size lower"
        )
    smallest = _smallest_batch(model)
    smaller = _halved(settings)
    if smaller.batch_size < smallest:
        raise InputError(
            f"memory ran out at train.batch_size={settings.batch_size}, which cannot be halved; "
            "free memory on the device or take smaller fusion.mlp_dims"
        )
    overrides = (
        f"-S train.batch_size={smaller.batch_size} "
        f"-S train.gradient_accumulation_steps={smaller.gradient_accumulation_steps}"
    )
    if settings.on_oom == "stop" or ranks.world > 1:
        raise InputError(
            f"memory ran out at train.batch_size={settings.batch_size}; try: {overrides} "
            "(or train.on_oom=halve, with which one process does so by itself)"
        )
    logger.warning("memory ran out; starting over with %s", overrides)
    return smaller


def _let_go(device: torch.device) -> None:
    """Free what a run that is over held in memory; no name may stand for it any more.

    PyTorch imports its compiler under the first optimiser of a process. That leaves cycles which
    hold the frames they were made under, the run with them, until the collector comes by.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


@contextmanager
def _forked_random_state(device: torch.device) -> Iterator[None]:
    """Leave the caller's random state as it was: dropout inside towers draws from it."""
    devices = []
    if device.type == "cuda":
        devices = [torch.cuda.current_device() if device.index is None else device.index]
    with torch.random.fork_rng(devices=devices):
        yield


@contextmanager
def _deterministic(enabled: bool) -> Iterator[None]:
    """Ask PyTorch for algorithms whose result does not depend on the order of threads."""
    debugged: Any = deterministic  # a module with properties, which its type does not have
    before = torch.get_deterministic_debug_mode(), debugged.fill_uninitialized_memory
    if enabled:
        # cuBLAS is reproducible only with a workspace of fixed size, read at its first use.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # use_deterministic_algorithms also imports the compiler, for seconds, to tell it the same.
    torch.set_deterministic_debug_mode("error" if enabled else "default")
    # A search for faults that comes with it, and writes most tensors twice.
    debugged.fill_uninitialized_memory = False
    try:
        yield
    finally:
        mode, debugged.fill_uninitialized_memory = before
        torch.set_deterministic_debug_mode(mode)
