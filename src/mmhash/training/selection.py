"""Validation: the val mAP that selects the epoch, the val loss, and the health of the codes."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mmhash.codes import binarise, pack
from mmhash.losses.total import LossWeights, total_loss
from mmhash.metrics.codes import code_metrics
from mmhash.metrics.ranking import average_precision
from mmhash.models.tagger import Tagger
from mmhash.training.batches import Store, micro_batches

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
) -> Validation:
    """Evaluate the classifier head on val, in float32 and evaluation mode (towers as in training).

    The loss is that of training, over batches of ``batch_size`` as in training, since the terms
    of the code depend on the size of the batch they see. ``captions`` are the rows' first ones.
    mAP ranks logits rather than probabilities, which round to ties near 0 and 1. Where a logit is
    not finite the mAP is NaN.
    """
    tagger.eval()
    total = torch.zeros((), dtype=torch.float64, device=store.device)
    logits: list[Tensor] = []
    soft: list[Tensor] = []
    for start, stop in micro_batches(len(rows), batch_size):
        image, text, labels = store.batch(rows[start:stop], captions[start:stop])
        output = tagger(image, text, hash_scale)
        terms = total_loss(output, labels, weights, class_weights, tagger.config.aligned)
        total += terms["loss"].double() * (stop - start)
        logits.append(output.logits)
        if output.h is not None:
            soft.append(output.h)
    scores = torch.cat(logits).cpu().numpy()
    labels_all = store.labels.index_select(0, rows).cpu().numpy()
    finite = bool(np.isfinite(scores).all())
    histogram: list[float] = []
    codes: dict[str, float] = {}
    if soft:
        h = torch.cat(soft).cpu().numpy()
        counts, _ = np.histogram(h, bins=HISTOGRAM_BINS, range=(-1.0, 1.0))
        histogram = [int(count) / h.size for count in counts]
        if finite:  # NaN has no sign
            figures = code_metrics(pack(binarise(h)), h)
            codes = {f"val_{name}": figures[name] for name in CODE_FIGURES}
    value = mean_average_precision(scores, labels_all) if finite else float("nan")
    return Validation(float(total) / len(rows), value, histogram, codes)
