"""State that survives a kill at any moment, and the files that a finished training leaves.

The resume state of a run lies in one folder::

    weights-003.safetensors    weights of an epoch among the best
    state-007.safetensors      weights, optimiser moments and, as metadata, everything else

A state file appears whole or not at all, after the weights it speaks of; what it makes superfluous
is deleted afterwards. So at any moment the newest state file is complete.
"""

import csv
import io
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmhash.errors import InputError
from mmhash.files import code_digest, digest, write_bytes, write_json, write_text
from mmhash.losses.total import TERMS, LossWeights
from mmhash.models.config import ModelConfig
from mmhash.models.cross_modal import CrossModalConfig
from mmhash.models.weights import load_tensors, save_tensors
from mmhash.training.selection import HISTOGRAM_BINS
from mmhash.training.settings import TrainSettings

logger = logging.getLogger(__name__)

KEPT = 3
HISTORY_COLUMNS = (
    "epoch",
    "lr",
    "hash_scale",
    *(name if name == "loss" else f"loss_{name}" for name in TERMS),
    "val_loss",
    "val_mAP",
)


@dataclass
class Progress:
    """The finished epochs: a row each, a histogram of h each, and the best ones, best first."""

    history: list[dict[str, float]] = field(default_factory=list)
    histograms: list[list[float]] = field(default_factory=list)
    top: list[int] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """How many epochs are finished."""
        return len(self.history)

    @property
    def best_epoch(self) -> int:
        """The epoch with the highest val mAP, the earliest of equals."""
        return self.top[0]

    def add(self, row: dict[str, float], histogram: list[float]) -> None:
        """Append a finished epoch and rank it among the best."""
        self.history.append(row)
        self.histograms.append(histogram)
        ranked = sorted(range(self.epochs), key=lambda epoch: -self.history[epoch]["val_mAP"])
        self.top = ranked[:KEPT]


def weights_metadata(row: Mapping[str, float]) -> dict[str, str]:
    """Return what a weights file says of itself; floats in their shortest exact form."""
    return {
        "epoch": str(int(row["epoch"])),
        "hash_scale": repr(row["hash_scale"]),
        "val_mAP": repr(row["val_mAP"]),
    }


def _weights_path(folder: Path, epoch: int) -> Path:
    return folder / f"weights-{epoch:03d}.safetensors"


def save_state(
    folder: Path,
    progress: Progress,
    weights: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    scaler: Mapping[str, Any],
) -> None:
    """Save the state after the last epoch of ``progress``, then delete what it supersedes."""
    folder.mkdir(parents=True, exist_ok=True)
    epoch = progress.epochs - 1
    if epoch in progress.top:
        metadata = weights_metadata(progress.history[epoch])
        save_tensors(_weights_path(folder, epoch), weights, metadata)
    tensors = {f"model.{name}": tensor for name, tensor in weights.items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in moments.items()}
    state = json.dumps({"progress": asdict(progress), "scaler": dict(scaler)})
    path = folder / f"state-{epoch:03d}.safetensors"
    save_tensors(path, tensors, {"state": state})
    kept = {path, *(_weights_path(folder, best) for best in progress.top)}
    for superseded in set(folder.iterdir()) - kept:
        superseded.unlink(missing_ok=True)


def load_state(
    folder: Path, weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
) -> tuple[Progress, dict[str, Any]]:
    """Copy the newest state into ``weights``, the model's own tensors, and ``optimizer``.

    Returned are the progress and the gradient scaler's state; an empty progress where there is no
    state, or one that is damaged, which is logged.
    """
    states = sorted(folder.glob("state-*.safetensors"))
    if not states:
        return Progress(), {}
    try:
        tensors, metadata = load_tensors(states[-1])
        state = json.loads(metadata["state"])
        progress = Progress(**state["progress"])
        for epoch in progress.top:
            load_tensors(_weights_path(folder, epoch))
    except (InputError, KeyError, TypeError, json.JSONDecodeError) as error:
        logger.warning("resume state is damaged, starting from the first epoch: %s", error)
        return Progress(), {}
    with torch.no_grad():
        for name, tensor in weights.items():
            tensor.copy_(tensors[f"model.{name}"])
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, number, name = key.split(".")
            moments.setdefault(int(number), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    return progress, state["scaler"]


def remove_state(cache: Path) -> None:
    """Delete a cache folder, state files first: a deletion cut short must not be resumed."""
    for state in cache.glob("*/state-*.safetensors"):
        state.unlink(missing_ok=True)
    shutil.rmtree(cache, ignore_errors=True)


def _table(columns: tuple[str, ...], rows: list[list[float]]) -> str:
    """Return CSV text; floats in their shortest form that reads back exactly."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[repr(value) for value in row] for row in rows])
    return stream.getvalue()


def write_outputs(
    out: Path,
    folder: Path,
    progress: Progress,
    last: Mapping[str, Tensor],
    model: ModelConfig | CrossModalConfig,
    categories: tuple[str, ...],
    towers: Mapping[str, Any] | None = None,
) -> None:
    """Write best, last and top weights, config.json, history.csv and h_histogram.csv to ``out``.

    ``folder`` holds the weights of the best epochs (:func:`save_state`); ``towers`` says of which
    checkpoint the towers are that learnt too.
    """
    for stale in out.glob("top/epoch*.safetensors"):
        stale.unlink()
    for epoch in progress.top:
        data = _weights_path(folder, epoch).read_bytes()
        name = f"epoch{epoch:03d}-mAP{progress.history[epoch]['val_mAP']:.4f}.safetensors"
        write_bytes(out / "top" / name, data)
        if epoch == progress.best_epoch:
            write_bytes(out / "best.safetensors", data)
    metadata = weights_metadata(progress.history[-1])
    save_tensors(out / "last.safetensors", last, metadata)
    best = progress.history[progress.best_epoch]
    write_json(
        out / "config.json",
        {
            "model": model.to_dict(),
            "categories": list(categories),
            "best_epoch": progress.best_epoch,
            "best_val_mAP": best["val_mAP"],
            "hash_scale": best["hash_scale"],
            **({"towers": dict(towers)} if towers is not None else {}),
        },
    )
    columns = tuple(progress.history[0])
    rows = [[row[column] for column in columns] for row in progress.history]
    write_text(out / "history.csv", _table(columns, rows))
    edges = [-1.0 + 2.0 * edge / HISTOGRAM_BINS for edge in range(HISTOGRAM_BINS + 1)]
    bins = [
        [epoch, edges[at], edges[at + 1], fraction]
        for epoch, histogram in enumerate(progress.histograms)
        for at, fraction in enumerate(histogram)
    ]
    text = _table(("epoch", "bin_left", "bin_right", "fraction"), bins)
    write_text(out / "h_histogram.csv", text)


def write_untrained(
    out: Path, model: ModelConfig | CrossModalConfig, categories: tuple[str, ...]
) -> None:
    """Write what a training leaves, without weights and epochs, for a model that learns nothing."""
    write_json(out / "config.json", {"model": model.to_dict(), "categories": list(categories)})
    write_text(out / "history.csv", _table(HISTORY_COLUMNS, []))
    write_text(out / "h_histogram.csv", _table(("epoch", "bin_left", "bin_right", "fraction"), []))


def training_key(
    model: ModelConfig | CrossModalConfig,
    weights: LossWeights,
    settings: TrainSettings,
    inputs: Mapping[str, str],
    device: torch.device | str,
    compiled: bool = False,
) -> str:
    """Return the name of the result of a training, for :func:`mmhash.files.cache_dir`.

    It is a digest over everything that determines the result to the last bit: all settings, the
    checksums of the input files (``inputs``: name → SHA-256), the kind of device (a CPU trains on
    one thread, whatever it has), PyTorch's version, whether the step is ``compiled`` and this
    library's code.
    """
    device = torch.device(device)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return digest(
        model.to_dict(),
        asdict(weights),
        asdict(settings),
        dict(inputs),
        [device.type, machine, str(torch.__version__), compiled],
        code_digest(),
    )
