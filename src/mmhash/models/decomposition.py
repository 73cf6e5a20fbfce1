"""A vector as direction and magnitude."""

import torch
from torch import Tensor


def decompose(v: Tensor, eps: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Split vectors into direction and log magnitude.

        n = ‖v‖₂    d = v / (n + ε)    m = log(n + ε)

    ``v`` is (..., D); returned are d (..., D) and m (..., 1). A zero vector has d = 0 and
    m = log ε. Half-precision input is computed in float32: squares of float16 values overflow.
    The magnitude carries information only if ``v`` was not normalised beforehand.
    """
    if v.dtype in (torch.float16, torch.bfloat16):
        v = v.float()
    n = torch.linalg.vector_norm(v, dim=-1, keepdim=True) + eps
    return v / n, torch.log(n)
