"""One epoch: the optimiser steps, their bookkeeping without waiting for the device, validation."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmhash.errors import InputError
from mmhash.losses.classification import effective_number_weights
from mmhash.losses.total import TERMS, LossWeights
from mmhash.models.config import ModelConfig
from mmhash.models.fusion import dropout_factors
from mmhash.models.hash_layer import hash_scale
from mmhash.models.tagger import build_tagger
from mmhash.models.weights import TOWERS
from mmhash.ranks import ALONE
from mmhash.seeding import stream_seed, torch_stream
from mmhash.training.batches import (
    EpochPlan,
    FeatureStore,
    Store,
    grouped,
    plan_epoch,
    windows,
)
from mmhash.training.dealing import dealt
from mmhash.training.end_to_end import EndToEnd, TowerStore
from mmhash.training.schedule import learning_rate
from mmhash.training.selection import Validation, validate
from mmhash.training.settings import Precision, TrainingData, TrainSettings
from mmhash.training.step import StepTerms, compiled_step, keep_gradients, step_terms

logger = logging.getLogger(__name__)

# Sums of other terms say nothing of their own about what broke.
BLAMED = [name for name in TERMS if name not in ("loss", "hash")]

# Micro batches go through the layers together up to so many rows: the weights are read once for
# all of them, and what a small matrix costs beside its product is paid once.
ROWS_TOGETHER = 256


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one CPU thread, with numbers too small to be normal taken as 0.

    The moments of a unit that no row reaches any more shrink by a factor at each step until a
    processor needs many times as long for them. The matrices of a window are small, so a second
    thread has little to do and loses time wherever it has to wait for a core. And sums then do not
    depend on the number of cores. What a step takes: ``benchmarks/train.py``.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


class _Group(NamedTuple):
    """Micro batches whose terms (k, len(TERMS)) have not been looked at yet."""

    step: int
    micros: list[tuple[int, int]]
    terms: Tensor


class Run:
    """A tagger in training, with ``towers`` if they learn: optimiser, gradient scaler and data."""

    def __init__(
        self,
        data: TrainingData,
        model: ModelConfig,
        weights: LossWeights,
        settings: TrainSettings,
        precision: Precision,
        device: torch.device,
        towers: EndToEnd | None = None,
        compiled: bool = False,
    ) -> None:
        self.data, self.weights, self.settings = data, weights, settings
        self.precision, self.device = precision, device
        self.ranks = towers.ranks if towers else ALONE
        self.store: Store
        learning: dict[str, torch.nn.Parameter] = {}
        if towers is None:
            self.store = FeatureStore(data.features, device)
        else:
            self.store = TowerStore(towers, data.features.labels, device, precision.autocast)
            learning = self.store.learning
        rows = data.train_rows
        positives = data.features.labels[rows].sum(axis=0, dtype=np.int64)
        self.tagger = build_tagger(model, settings.seed, positives, len(rows)).to(device)
        self.class_weights: Tensor | None = None
        if weights.classification == "class_balanced":
            self.class_weights = (
                torch.from_numpy(effective_number_weights(positives)).float().to(device)
            )
        groups = [list(self.tagger.parameters()), *([list(learning.values())] if learning else [])]
        self.parameters = [parameter for group in groups for parameter in group]
        # Of the tagger's rate, so that the towers' has the same shape down to its smallest value.
        self.shares = [1.0, settings.lr_towers / settings.lr]
        # What is saved: the tensors themselves, not copies.
        self.state = self.tagger.state_dict() | {
            TOWERS + name: parameter.data for name, parameter in learning.items()
        }
        self.optimizer = torch.optim.AdamW(
            [{"params": group} for group in groups],
            lr=settings.lr,
            betas=(0.9, 0.999),
            eps=1e-8,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision.scale_gradients)
        # A rank without a micro batch never scales a loss, and could not unscale its gradients.
        self.scaler.scale(torch.zeros((), device=device))
        self.windows = windows(len(rows), settings.batch_size, settings.gradient_accumulation_steps)
        # Towers fill the memory with one micro batch; stored vectors are small. Where a micro batch
        # may be halved, its size alone decides what is in memory at once.
        alone = towers is not None or settings.on_oom == "halve"
        self.rows_together = 0 if alone else ROWS_TOGETHER
        self.steps_per_epoch = len(self.windows)
        self.compiled = compiled
        self.step_terms: StepTerms = step_terms
        if compiled:
            self.step_terms = compiled_step(device, settings.deterministic)
        self.val_rows = self.store.index(data.val_rows)
        self.val_captions = self.store.index(data.features.caption_offset[data.val_rows])

    def epoch(self, epoch: int) -> tuple[dict[str, float], list[float]]:
        """Train epoch ``epoch`` (from 0) and validate; return its history row and histogram of h.

        Everything random in it follows from the seed and the epoch's number alone. Raises
        :class:`InputError` for a loss that is not finite.
        """
        with one_thread():
            return self._epoch(epoch)

    def _epoch(self, epoch: int) -> tuple[dict[str, float], list[float]]:
        config = self.tagger.config.hash
        scale = 1.0
        if config.enabled:
            scale = hash_scale(
                config.schedule, epoch, self.settings.num_epochs, config.scale_min, config.scale_max
            )
        row: dict[str, float] = {"epoch": epoch, "lr": self._rate(epoch, self.steps_per_epoch - 1)}
        row["hash_scale"] = scale
        row |= self._train(epoch, scale)
        result = self._validate(scale)
        if not (math.isfinite(result.loss) and math.isfinite(result.mean_ap)):
            raise InputError(f"epoch {epoch}: the val loss is not finite; {self._advice()}")
        norms = {name: row.pop(name) for name in list(row) if name.startswith("gradient_norm")}
        row |= {"val_loss": result.loss, "val_mAP": result.mean_ap} | result.codes | norms
        return row, result.histogram

    notes: tuple[str, ...] = ()  # of the model's protocol: the loop knows this method's

    def complaints(self, row: dict[str, float]) -> list[str]:  # noqa: ARG002
        """Return nothing: the health of this method's codes stands in its history."""
        return []

    def _validate(self, scale: float) -> Validation:
        return validate(
            self.tagger,
            self.store,
            self.val_rows,
            self.val_captions,
            self.weights,
            self.class_weights,
            scale,
            self.settings.batch_size,
            self.ranks,
        )

    def _rate(self, epoch: int, step: int) -> float:
        s = self.settings
        return learning_rate(
            epoch * self.steps_per_epoch + step,
            s.num_epochs * self.steps_per_epoch,
            s.lr,
            s.warmup_ratio,
            s.min_lr,
            s.lr_schedule,
        )

    def _train(self, epoch: int, scale: float) -> dict[str, float]:
        """Run the optimiser steps of an epoch; return the mean of each term over its rows."""
        settings = self.settings
        plan = plan_epoch(self.data.features, self.data.train_rows, settings.seed, epoch)
        rows, captions = self.store.index(plan.rows), self.store.index(plan.captions)
        self.tagger.train()
        sums = torch.zeros(len(TERMS), dtype=torch.float64, device=self.device)
        norms: list[Tensor] = []
        pending: list[_Group] = []
        for step in range(self.steps_per_epoch):
            rate = self._rate(epoch, step)
            for group, share in zip(self.optimizer.param_groups, self.shares, strict=False):
                group["lr"] = rate * share
            pending += self._gradients(epoch, step, rows, captions, scale)
            norm = self._update()
            if settings.log_gradient_norms:
                norms.append(norm)
            if (step + 1) % settings.log_every == 0 or step + 1 == self.steps_per_epoch:
                added, mean_loss = self._account(pending, epoch, plan)
                sums += added
                pending = []
                logger.info(
                    "epoch %d step %d/%d: lr %.2e, loss %.4f",
                    *(epoch, step + 1, self.steps_per_epoch, rate, mean_loss),
                )
        means = (sums / len(plan.rows)).tolist()
        row = {
            name if name == "loss" else f"loss_{name}": value
            for name, value in zip(TERMS, means, strict=True)
        }
        return row | (_norm_columns(norms) if norms else {})

    def _gradients(
        self, epoch: int, step: int, rows: Tensor, captions: Tensor, scale: float
    ) -> list[_Group]:
        """Add the gradients of the micro batches of a step, which all ranks share."""
        window = self.windows[step]
        groups = grouped(window, self.rows_together)

        def compute(number: int) -> Tensor:
            micros = groups[number]
            part = slice(micros[0][0], micros[-1][1])
            return self._backward(
                rows[part],
                captions[part],
                scale,
                len(micros),
                self._dropout(epoch, micros),
                window[-1][1] - window[0][0],
            )

        if self.ranks.world == 1:
            found = [compute(0)]
            if self.compiled and len(groups) > 1:
                keep_gradients(self.tagger)  # the others are added to them in place
            found += [compute(number) for number in range(1, len(groups))]
        else:
            layer = self.tagger.hash
            found = dealt(
                self.ranks,
                [stop - start for start, stop in window],
                compute,
                len(TERMS),
                self.parameters,
                layer.norm if layer and isinstance(layer.norm, torch.nn.BatchNorm1d) else None,
                self.precision.autocast or torch.float32,
            )
        return [_Group(step, *group) for group in zip(groups, found, strict=True)]

    def _dropout(self, epoch: int, micros: list[tuple[int, int]]) -> Tensor | None:
        """Return the factors of dropout for some micro batches, each from a stream of its own.

        So they depend neither on what else is computed with a micro batch nor on who computes it.
        """
        seed, fusion = self.settings.seed, self.tagger.config.fusion
        if isinstance(self.store, TowerStore):
            # A tower with dropout of its own draws from the global generator.
            torch.manual_seed(stream_seed(seed, "dropout of the towers", epoch, micros[0][0]))
        if not fusion.dropout:
            return None
        drawn = [
            dropout_factors(
                stop - start,
                sum(fusion.mlp_dims),
                fusion.dropout,
                torch_stream(seed, "dropout", epoch, start, device=self.device),
            )
            for start, stop in micros
        ]
        return torch.cat(drawn)

    def _backward(
        self,
        rows: Tensor,
        captions: Tensor,
        scale: float,
        micros: int,
        dropout: Tensor | None,
        window_rows: int,
    ) -> Tensor:
        """Add the gradient of some micro batches, each weighed by its share of the window.

        They are of one size and go through the layers together, but BatchNorm and the loss see
        each by itself. Returns the terms of each, (``micros``, len(TERMS)).
        """
        image, text, labels = self.store.batch(rows, captions)
        constant = (self.tagger, self.weights, self.class_weights, self.precision.autocast)
        loss, terms = self.step_terms(*constant, image, text, labels, scale, micros, dropout)
        share = len(labels) / micros / window_rows
        self.scaler.scale(loss.sum() * share).backward()
        return terms

    def _update(self) -> Tensor:
        """Clip and step; return the norm of the gradient before clipping, still on the device."""
        self.scaler.unscale_(self.optimizer)
        norm = self._clip()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _clip(self) -> Tensor:
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        most = self.settings.gradient_clip_norm
        # Elsewhere than on the CPU, looking at the norm would wait for the device; there, scaling
        # by 1 would be another pass over all gradients.
        if self.device.type != "cpu" or not norm <= most:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, most, norm)
        return norm

    def _account(self, pending: list[_Group], epoch: int, plan: EpochPlan) -> tuple[Tensor, float]:
        """Return the row-weighted sums of the terms and the mean loss of some micro batches.

        This is the only place where the loop waits for the device. InputError where a term is not
        finite: it names the first step with one.
        """
        terms = torch.cat([group.terms for group in pending]).double()
        micros = [micro for group in pending for micro in group.micros]
        counts = torch.tensor([stop - start for start, stop in micros], dtype=torch.float64)
        sums = (terms * counts.to(self.device)[:, None]).sum(dim=0)
        mean_loss = float(sums[0]) / float(counts.sum())
        if not math.isfinite(mean_loss):
            self._raise_not_finite(pending, terms, epoch, plan)
        return sums, mean_loss

    def _raise_not_finite(
        self, pending: list[_Group], terms: Tensor, epoch: int, plan: EpochPlan
    ) -> None:
        """Raise InputError naming step and terms, or the row of the features that is at fault."""
        finite = torch.isfinite(terms).cpu().numpy()
        first = int(np.argmin(finite.all(axis=1)))
        step, micro = [(g.step, micro) for g in pending for micro in g.micros][first]
        features = self.data.features
        part = slice(*micro)
        for name, array, where in (
            ("image", features.image, plan.rows[part]),
            ("text", features.text, plan.captions[part]),
        ):
            broken = ~np.isfinite(array[where].astype(np.float32)).all(axis=1)
            if broken.any():
                raise InputError(
                    f"row {int(where[int(broken.argmax())])} of the {name} features is not finite; "
                    "extract the features again (features.dtype=float32 holds larger values)"
                )
        named = [name for name in BLAMED if not finite[first, TERMS.index(name)]] or ["loss"]
        raise InputError(
            f"epoch {epoch}, step {step + 1} of {self.steps_per_epoch}: "
            f"the loss is not finite (term: {', '.join(named)}); {self._advice()}"
        )

    def _advice(self) -> str:
        learning = len(self.optimizer.param_groups) > 1
        towers = f", train.lr_towers (now {self.settings.lr_towers:g})" if learning else ""
        return (
            f"lower train.lr (now {self.settings.lr:g}){towers}, lengthen train.warmup_ratio (now "
            f"{self.settings.warmup_ratio:g}) or lower loss.hash_weight (now "
            f"{self.weights.hash_weight:g}); the last good epoch is kept"
        )


def _norm_columns(norms: list[Tensor]) -> dict[str, float]:
    """Return mean and maximum of the gradient norms, without steps that the scaler skipped."""
    values = torch.stack(norms).double()
    values = values[torch.isfinite(values)]
    if not len(values):
        return {"gradient_norm_mean": 0.0, "gradient_norm_max": 0.0}
    return {
        "gradient_norm_mean": float(values.mean()),
        "gradient_norm_max": float(values.max()),
    }
