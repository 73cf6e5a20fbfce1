"""The hash layer: a soft code in [-1, 1] whose signs are the bits."""

import torch
from torch import Tensor, nn

from mmhash.models.config import Schedule


def hash_scale(
    schedule: Schedule, epoch: int, epochs: int, scale_min: float, scale_max: float
) -> float:
    """Return β of an epoch (counted from 0), the continuation of HashNet (Cao et al., ICCV 2017).

    With p = epoch / max(epochs − 1, 1):

    - ``constant``: 1, whatever the bounds
    - ``linear``: min + p (max − min)
    - ``exponential``: min (max / min)^p
    - ``step``: min in the first half (p < 1/2), then max

    >>> [hash_scale("exponential", epoch, 3, 1.0, 4.0) for epoch in range(3)]
    [1.0, 2.0, 4.0]
    """
    p = epoch / max(epochs - 1, 1)
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return scale_min + p * (scale_max - scale_min)
    if schedule == "exponential":
        return scale_min * (scale_max / scale_min) ** p
    return scale_min if p < 0.5 else scale_max


class HashLayer(nn.Module):
    """u = W_h z + b_h (then BatchNorm, if asked for), h = tanh(β u).

    BatchNorm centres each bit on its decision boundary, so no bit starts out constant; its own
    shift takes the place of b_h.
    """

    def __init__(self, width: int, bits: int, batch_norm: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(width, bits, bias=not batch_norm)
        self.norm: nn.Module = nn.BatchNorm1d(bits) if batch_norm else nn.Identity()

    def forward(self, z: Tensor, scale: float, micros: int = 1) -> tuple[Tensor, Tensor]:
        """Return u and h, both (n, bits); β = ``scale``.

        z holds ``micros`` micro batches of one size, each of which BatchNorm normalises by itself.
        """
        u: Tensor = self.linear(z)
        u = torch.cat([self.norm(part) for part in u.chunk(micros)])
        if u.dtype in (torch.float16, torch.bfloat16):
            u = u.float()  # half-precision tanh rounds to ±1 early and loses the gradient
        return u, torch.tanh(scale * u)
