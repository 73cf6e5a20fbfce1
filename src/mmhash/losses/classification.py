"""Classification losses over multi-label logits: means over all rows and classes.

``logits`` and ``labels`` are (…, n, C), labels 0 or 1. With s = +1 for a label and −1 for none,
p_t = sigmoid(s · logit) is the probability given to the truth; every formula is written with
log-sigmoids, so that no logit, however large, gives an infinite value or gradient.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MICRO_BATCH = (-2, -1)  # the axes of rows and classes

EFFECTIVE_NUMBER_BETA = 0.999
ASYMMETRIC_GAMMA_POSITIVE = 0.0
ASYMMETRIC_GAMMA_NEGATIVE = 4.0
ASYMMETRIC_MARGIN = 0.05


def bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean binary cross-entropy, −log p_t."""
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(MICRO_BATCH)


def focal(logits: Tensor, labels: Tensor, alpha: float, gamma: float) -> Tensor:
    """Return mean −α_t (1 − p_t)^γ log p_t, α_t = α on labels, 1 − α elsewhere.

    Lin et al., Focal Loss for Dense Object Detection (ICCV 2017), equation 5.
    """
    signed = (2.0 * labels - 1.0) * logits
    alpha_t = alpha * labels + (1.0 - alpha) * (1.0 - labels)
    # (1 − p_t)^γ through its logarithm: a power below 1 has an infinite slope at p_t = 1.
    focus = torch.exp(gamma * F.logsigmoid(-signed))
    return -(alpha_t * focus * F.logsigmoid(signed)).mean(MICRO_BATCH)


def effective_number_weights(positives: np.ndarray) -> np.ndarray:
    """Return a weight a class, (1 − β) / (1 − β^n), scaled to sum to C.

    Cui et al., Class-Balanced Loss Based on Effective Number of Samples (CVPR 2019), equation 7,
    with their β for large data, 0.999. ``positives`` (C,) counts the training rows with the class;
    a class without any is weighed as if it had one.
    """
    n = np.maximum(positives.astype(np.float64), 1.0)
    weights = (1.0 - EFFECTIVE_NUMBER_BETA) / (1.0 - EFFECTIVE_NUMBER_BETA**n)
    scaled: np.ndarray = weights * (len(weights) / weights.sum())
    return scaled


def class_balanced(logits: Tensor, labels: Tensor, class_weights: Tensor) -> Tensor:
    """Return the mean binary cross-entropy with each class's column weighed.

    ``class_weights`` (C,) as :func:`effective_number_weights` gives them.
    """
    loss = F.binary_cross_entropy_with_logits(
        logits, labels, weight=class_weights, reduction="none"
    )
    return loss.mean(MICRO_BATCH)


def asymmetric(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean asymmetric loss, γ₊ = 0, γ₋ = 4, margin m = 0.05 (the paper's for COCO).

        L₊ = (1 − p)^γ₊ log p    L₋ = p_m^γ₋ log(1 − p_m)    p_m = max(p − m, 0)

    Ridnik et al., Asymmetric Loss for Multi-Label Classification (ICCV 2021), equations 2 to 6,
    as a mean instead of a sum, so that it has the scale of the other losses.
    """
    p = torch.sigmoid(logits)
    positive = torch.exp(ASYMMETRIC_GAMMA_POSITIVE * F.logsigmoid(-logits)) * F.logsigmoid(logits)
    shifted = (p - ASYMMETRIC_MARGIN).clamp(min=0.0)
    # 1 − p_m is at least m, so its logarithm is finite.
    negative = shifted**ASYMMETRIC_GAMMA_NEGATIVE * torch.log1p(-shifted)
    return -(labels * positive + (1.0 - labels) * negative).mean(MICRO_BATCH)
