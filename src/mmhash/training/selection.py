"""Validation: the val mAP that selects the epoch, the val loss, and the health of the codes."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmhash.codes import binarise, pack
from mmhash.losses.total import LossWeights, total_loss
from mmhash.metrics.codes import code_metrics
from mmhash.metrics.ranking import average_precision
from mmhash.models.tagger import Tagger
from mmhash.ranks import ALONE, Ranks
from mmhash.training.batches import Store, micro_batches
from mmhash.training.dealing import told

HISTOGRAM_BINS = 40
CODE_FIGURES = ("bit_imbalance", "bit_correlation", "unique_share", "quantisation_error")


def mean_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the macro mean over classes of the average precision, the figure that selects epochs.

    ``scores`` and ``labels`` are (n, C); classes without a positive are left out, and ValueError is
    raised if that leaves none. See :func:`mmhash.metrics.ranking.average_precision` for ties.

    >>> mean_average_precision(np.array([[.9], [.8], [.7]]), np.array([[1], [0], [1]]))
    0.8333333333333333
    """
    if not labels.any():
        raise ValueError("no class has a positive")
    return float(np.nanmean(average_precision(scores, labels)))


@dataclass(frozen=True)
class Validation:
    """What one pass over val gives.

    ``histogram`` of h and ``codes``, :data:`CODE_FIGURES` of the binary codes with ``val_`` before
    the name (:func:`mmhash.metrics.codes.code_metrics`), are empty without a hash layer.
    """

    loss: float
    mean_ap: float
    histogram: list[float]
    codes: dict[str, float] = field(default_factory=dict)


@torch.no_grad()
def validate(
    tagger: Tagger,
    store: Store,
    rows: Tensor,
    captions: Tensor,
    weights: LossWeights,
    class_weights: Tensor | None,
    hash_scale: float,
    batch_size: int,
    ranks: Ranks = ALONE,
) -> Validation:
    """Evaluate the classifier head on val, in float32 and evaluation mode (towers as in training).

    The loss is that of training, over batches of ``batch_size`` as in training, since the terms
    of the code depend on the size of the batch they see. ``captions`` are the rows' first ones.
    mAP ranks logits rather than probabilities, which round to ties near 0 and 1. Where a logit is
    not finite the mAP is NaN. All ``ranks`` call this and share the batches; each gets what the
    first makes of them, for all must choose the same epoch and stop together.
    """
    tagger.eval()
    batches = micro_batches(len(rows), batch_size)
    classes = store.labels.shape[1]
    bits = tagger.config.hash.bits if tagger.config.hash.enabled else 0

    def compute(number: int) -> Tensor:
        part = slice(*batches[number])
        image, text, labels = store.batch(rows[part], captions[part])
        output = tagger(image, text, hash_scale)
        terms = total_loss(output, labels, weights, class_weights, tagger.config.aligned)
        values = (output.logits, terms["loss"], output.h)
        return torch.cat([v.float().flatten() for v in values if v is not None])

    sizes = [stop - start for start, stop in batches]
    lengths = [size * (classes + bits) + 1 for size in sizes]
    found = told(ranks, lengths, compute, store.device)

    def assessed() -> dict[str, Any]:
        parts = [
            values.split([size * classes, 1, size * bits])
            for values, size in zip(found, sizes, strict=True)
        ]
        total = torch.zeros((), dtype=torch.float64, device=store.device)
        for (_, loss, _), size in zip(parts, sizes, strict=True):
            total += loss[0].double() * size
        scores = torch.cat([logits for logits, _, _ in parts]).view(-1, classes).cpu().numpy()
        h = torch.cat([soft for _, _, soft in parts]).view(len(rows), -1).cpu().numpy()
        labels = store.labels.index_select(0, rows).cpu().numpy()
        return asdict(_assess(scores, h, labels, float(total) / len(rows)))

    return Validation(**ranks.agree(assessed))


def _assess(scores: np.ndarray, h: np.ndarray, labels: np.ndarray, loss: float) -> Validation:
    """Return the figures of logits (n, C) and soft codes (n, B), B = 0 without a hash layer."""
    finite = bool(np.isfinite(scores).all())
    histogram: list[float] = []
    codes: dict[str, float] = {}
    if h.size:
        counts, _ = np.histogram(h, bins=HISTOGRAM_BINS, range=(-1.0, 1.0))
        histogram = [int(count) / h.size for count in counts]
        if finite:  # NaN has no sign
            figures = code_metrics(pack(binarise(h)), h)
            codes = {f"val_{name}": figures[name] for name in CODE_FIGURES}
    value = mean_average_precision(scores, labels) if finite else float("nan")
    return Validation(loss, value, histogram, codes)
