"""Cross-modal hashers in training: what one epoch of AGCH or UCMFH does.

The loop around it (resume, best epoch, files) is that of the main method, :mod:`.loop`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmhash.codes import binarise, pack
from mmhash.errors import InputError
from mmhash.losses.agch import agch_terms
from mmhash.losses.contrastive import contrastive_terms
from mmhash.losses.pairwise import pairwise_across
from mmhash.losses.total import LossWeights
from mmhash.metrics.codes import code_metrics
from mmhash.metrics.retrieval import hamming_levels
from mmhash.metrics.tasks import CROSSING, TASKS
from mmhash.metrics.tie_aware import average_precision_all, shells_from_levels
from mmhash.models.cross_modal import CrossModalConfig
from mmhash.models.hash_layer import hash_scale
from mmhash.models.hashers import build_hasher
from mmhash.models.health import HEALTH, UNIQUE_LOW
from mmhash.ranks import ALONE
from mmhash.seeding import numpy_stream, stream_seed
from mmhash.training.batches import FeatureStore, plan_epoch
from mmhash.training.encode import caption_owners, encode_sides, evenly
from mmhash.training.epoch import one_thread
from mmhash.training.selection import CODE_FIGURES, HISTOGRAM_BINS
from mmhash.training.settings import TrainingData, TrainSettings

VAL_QUERIES, VAL_ITEMS = 1000, 10_000  # at most: val only chooses the epoch


# The loss and its parts by name, of a hasher's training output and its configuration.
OBJECTIVES: dict[str, Callable[[Any, CrossModalConfig], dict[str, Tensor]]] = {
    "agch": agch_terms,
    "ucmfh": contrastive_terms,
}


def mean_across(
    queries: Mapping[str, np.ndarray],
    query_labels: np.ndarray,
    items: Mapping[str, np.ndarray],
    item_labels: np.ndarray,
) -> float:
    """Return the mAP over all items of packed codes, the mean of image to text and text to image.

    ``queries`` and ``items`` hold packed codes (n, B / 8) under "image" and "text".
    """
    figures = []
    for sides in (TASKS[name] for name in CROSSING):
        levels = hamming_levels(queries[sides.ask], query_labels, items[sides.answer], item_labels)
        figures.append(average_precision_all(shells_from_levels(*levels)).expected.mean())
    return float(np.mean(figures))


class CrossModalRun:
    """A hasher in training, with the face of :class:`mmhash.training.epoch.Run` to the loop."""

    def __init__(
        self,
        data: TrainingData,
        model: CrossModalConfig,
        weights: LossWeights,
        settings: TrainSettings,
        device: torch.device,
    ) -> None:
        rows, batch = data.train_rows, settings.batch_size
        limit = model.settings.get("train_rows")
        if limit is not None and limit < len(rows):
            drawn = numpy_stream(settings.seed, "training rows").choice(rows, limit, replace=False)
            rows = np.sort(drawn)
        if len(rows) < batch:
            raise InputError(
                f"{len(rows)} training rows are fewer than a batch: lower "
                f"{model.name}.batch_size = {batch}"
            )
        self.data, self.config, self.settings, self.device = data, model, settings, device
        self.rows = rows
        self.pairwise_weight, self.ranks = weights.pairwise_weight, ALONE
        self.objective, self.health = OBJECTIVES[model.name], HEALTH.get(model.name)
        self.store = FeatureStore(data.features, device)
        self.hasher = build_hasher(model, settings.seed).to(device)
        self.optimizer = self.hasher.optimizer()
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.parameters = list(self.hasher.parameters())
        self.state = self.hasher.state_dict()
        self.scaler = torch.amp.GradScaler(device.type, enabled=False)
        self.steps_per_epoch = len(rows) // batch  # as published: a shorter last batch is left out
        self.queries = evenly(data.val_rows, VAL_QUERIES)
        self.items = evenly(data.train_rows, VAL_ITEMS)

    def epoch(self, epoch: int) -> tuple[dict[str, float], list[float]]:
        """Train epoch ``epoch`` (from 0) and validate; return its history row and histogram of h.

        Everything random in it follows from the seed and the epoch's number. Raises
        :class:`InputError` for a loss that is not finite.
        """
        c = self.config
        scale = hash_scale(c.schedule, epoch, self.settings.num_epochs, c.scale_min, c.scale_max)
        terms = self.steps(epoch, scale)
        with one_thread():
            found, histogram = self._validate(scale)
        rate = self.optimizer.param_groups[0]["lr"]
        row = {"epoch": epoch, "lr": rate, "hash_scale": scale, **terms, **found}
        return row, histogram

    def steps(self, epoch: int, scale: float) -> dict[str, float]:
        """Run the optimiser steps of an epoch; return the mean of each term over them."""
        with one_thread():
            return self._steps(epoch, scale)

    def _steps(self, epoch: int, scale: float) -> dict[str, float]:
        seed, size = self.settings.seed, self.settings.batch_size
        plan = plan_epoch(self.data.features, self.rows, seed, epoch)
        rows, captions = self.store.index(plan.rows), self.store.index(plan.captions)
        torch.manual_seed(stream_seed(seed, "dropout", epoch))
        self.hasher.train()
        every = list(range(len(self.optimizer.param_groups)))
        found: list[Tensor] = []
        for step in range(self.steps_per_epoch):
            part = slice(step * size, (step + 1) * size)
            image, text, labels = self.store.batch(rows[part], captions[part])
            factor = self.hasher.rate_factor(epoch, epoch * self.steps_per_epoch + step)
            for moving in self.hasher.turns() or [every]:
                terms = self._terms(image.float(), text.float(), labels, scale)
                self.optimizer.zero_grad(set_to_none=True)
                terms["loss"].backward()
                for number, group in enumerate(self.optimizer.param_groups):
                    scheduled = group.get("scheduled", True)
                    group["lr"] = self.rates[number] * (factor if scheduled else 1.0)
                    if number not in moving:
                        for parameter in group["params"]:
                            parameter.grad = None
                self.optimizer.step()
            found.append(torch.stack([value.detach().double() for value in terms.values()]))
        names, values = list(terms), torch.stack(found).cpu()  # with turns, the terms of the last
        broken = (~values.isfinite()).nonzero()
        if len(broken):
            step, first = broken[0].tolist()
            term = next(
                (
                    n
                    for n, v in zip(names, values[step], strict=True)
                    if n != "loss" and not v.isfinite()
                ),
                names[first],
            )
            raise InputError(
                f"epoch {epoch} step {step + 1}: {term} is not finite; lower the learning rates of "
                f"the block {self.config.name}, and check the features for extreme values"
            )
        return dict(zip(names, values.mean(dim=0).tolist(), strict=True))

    def _terms(
        self, image: Tensor, text: Tensor, labels: Tensor, scale: float
    ) -> dict[str, Tensor]:
        output = self.hasher.training_output(image, text, scale)
        terms = self.objective(output, self.config)
        if self.pairwise_weight:
            pairwise = pairwise_across(output.image, output.text, labels)
            terms = terms | {"loss_pairwise": pairwise}
            terms["loss"] = terms["loss"] + self.pairwise_weight * pairwise
        return terms

    @torch.no_grad()
    def _validate(self, scale: float) -> tuple[dict[str, float], list[float]]:
        features, device = self.data.features, self.device
        soft = {
            rows_name: encode_sides(
                self.hasher,
                features,
                *caption_owners(features, rows, "first"),
                scale,
                device=device,
            )
            for rows_name, rows in (("query", self.queries), ("item", self.items))
        }
        if not all(np.isfinite(code).all() for sides in soft.values() for code in sides.values()):
            raise InputError(
                f"codes of val are not finite; lower the learning rates of the block "
                f"{self.config.name}"
            )
        packed = {
            name: {side: pack(binarise(code)) for side, code in sides.items()}
            for name, sides in soft.items()
        }
        labels = features.labels
        h = np.concatenate([soft["query"]["image"], soft["query"]["text"]])
        health = code_metrics(pack(binarise(h)), h)
        row = {
            "val_mAP": mean_across(
                packed["query"], labels[self.queries], packed["item"], labels[self.items]
            ),
            **{f"val_{name}": health[name] for name in CODE_FIGURES},
            **self._diagnostics(scale),
        }
        counts, _ = np.histogram(h, bins=HISTOGRAM_BINS, range=(-1.0, 1.0))
        return row, [int(count) / h.size for count in counts]

    def _diagnostics(self, scale: float) -> dict[str, float]:
        """Return the method's own figures on val, measured on one batch of all its queries."""
        if self.health is None:
            return {}
        rows = self.store.index(self.queries)
        first = self.store.index(self.data.features.caption_offset[self.queries])
        image, text, labels = self.store.batch(rows, first)
        output = self.hasher.training_output(image.float(), text.float(), scale)
        return self.health.diagnostics(self.hasher, output, labels)

    def complaints(self, row: dict[str, float]) -> list[str]:
        """Return a sentence for each sign, in a history row, that the run has collapsed."""
        if self.health is not None:
            return self.health.complaints(row)
        if row["val_unique_share"] >= UNIQUE_LOW:
            return []
        return [
            f"only {row['val_unique_share']:.1%} of the codes of val are different: the codes have "
            f"collapsed; lower the learning rates of the block {self.config.name}, or train longer"
        ]

    @property
    def notes(self) -> list[str]:
        """Return what is to be said of the model's protocol."""
        return self.hasher.notes
