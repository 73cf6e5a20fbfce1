"""Regularisers of a soft code h (…, n, B) in [-1, 1], over the rows of one micro batch.

L_hash = L_quant + λ₁ L_balance + λ₂ L_decorr
"""

import torch
from torch import Tensor


def quantisation(h: Tensor) -> Tensor:
    """Return mean (|h| − 1)²: how far the soft code is from its bits."""
    return (h.abs() - 1.0).square().mean(dim=(-2, -1))


def balance(h: Tensor) -> Tensor:
    """Return the mean over bits of (mean over rows of h)²: 0 if each bit is +1 half the time."""
    return h.mean(dim=-2).square().mean(dim=-1)


def decorrelation(h: Tensor) -> Tensor:
    """Return (‖Cov(h)‖²_F − Σ diag(Cov(h))²) / B², Cov with divisor n.

    The off-diagonal part is summed itself rather than as the difference of two larger numbers.
    """
    n, bits = h.shape[-2:]
    centred = h - h.mean(dim=-2, keepdim=True)
    covariance = centred.mT @ centred
    off_diagonal = covariance - torch.diag_embed(covariance.diagonal(dim1=-2, dim2=-1))
    return off_diagonal.square().sum(dim=(-2, -1)) / (n * bits) ** 2
