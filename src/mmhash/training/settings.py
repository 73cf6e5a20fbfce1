"""What the loop is told: data, settings, and the arithmetic that a device offers."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from mmhash.errors import InputError
from mmhash.models.config import ModelConfig
from mmhash.models.cross_modal import CrossModalConfig
from mmhash.training.batches import Features
from mmhash.training.schedule import LrSchedule


@dataclass(frozen=True)
class TrainSettings:
    """The optimiser and its schedule; the names are those of the ``train`` block."""

    batch_size: int = 32
    gradient_accumulation_steps: int = 2
    amp: bool = True
    amp_dtype: Literal["float16", "bfloat16"] = "float16"
    num_epochs: int = 30
    lr: float = 2e-4
    lr_towers: float = 1e-5
    lr_schedule: LrSchedule = "cosine"
    weight_decay: float = 0.01
    warmup_ratio: float = 0.1
    min_lr: float = 1e-6
    gradient_clip_norm: float = 1.0
    early_stopping_patience: int = 5
    seed: int = 42
    deterministic: bool = True
    on_oom: Literal["stop", "halve"] = "stop"
    log_every: int = 50
    log_gradient_norms: bool = False


@dataclass(frozen=True)
class TrainingData:
    """Features with the rows to learn from and the rows to choose the epoch by.

    ``train_rows`` and ``val_rows`` are row numbers of ``features``; ``categories`` names the
    columns of its labels.
    """

    features: Features
    train_rows: np.ndarray
    val_rows: np.ndarray
    categories: tuple[str, ...]

    def check(self, model: ModelConfig | CrossModalConfig) -> None:
        """Raise InputError where these data cannot train and select ``model``."""
        features = self.features
        for name, rows in (("training", self.train_rows), ("val", self.val_rows)):
            if len(rows) and (rows.min() < 0 or rows.max() >= len(features.labels)):
                raise InputError(
                    f"{name} rows reach {rows.max()} where the features have "
                    f"{len(features.labels)} rows; extract the features again"
                )
            captions = features.captions_per_row(rows)
            if len(rows) and captions.min() < 1:
                row = int(rows[int(captions.argmin())])
                raise InputError(f"{name} row {row} has no caption; leave it out or give it one")
        if len(self.train_rows) < 2:
            raise InputError(f"{len(self.train_rows)} training rows: training needs at least 2")
        if not len(self.val_rows):
            raise InputError("no val rows: the best epoch is chosen on val, so it needs some")
        if not features.labels[self.val_rows].any():
            raise InputError(
                f"none of the {len(self.val_rows)} val rows has a label, so val mAP is undefined; "
                "check the split and the annotations"
            )
        for name, given, told in (
            ("image width", features.image.shape[1], model.image_dim),
            ("text width", features.text.shape[1], model.text_dim),
            ("number of classes", features.labels.shape[1], model.num_classes),
            ("number of category names", len(self.categories), model.num_classes),
        ):
            if given != told:
                raise InputError(f"{name} of the data is {given} where the model expects {told}")


@dataclass(frozen=True)
class Precision:
    """The arithmetic of the training step: ``autocast`` None is plain float32."""

    autocast: torch.dtype | None
    scale_gradients: bool
    note: str | None

    @property
    def name(self) -> str:
        """The name of the dtype, for logs and metrics."""
        return str(self.autocast or torch.float32).removeprefix("torch.")


def training_precision(settings: TrainSettings, device: torch.device) -> Precision:
    """Return what ``train.amp`` and ``train.amp_dtype`` mean on ``device``.

    float16 needs a GradScaler and CUDA; on a CPU it falls back to float32, with a note.
    """
    if not settings.amp:
        return Precision(None, False, None)
    if settings.amp_dtype == "bfloat16":
        return Precision(torch.bfloat16, False, None)
    if device.type == "cuda":
        return Precision(torch.float16, True, None)
    return Precision(
        None, False, "train.amp_dtype float16 needs CUDA: the CPU trains in float32 instead"
    )
