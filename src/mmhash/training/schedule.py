"""The learning rate of each optimiser step."""

import math
from typing import Literal

LrSchedule = Literal["cosine", "constant", "step"]
STEP_FACTOR = 0.1


def learning_rate(
    step: int,
    total_steps: int,
    lr: float,
    warmup_ratio: float,
    min_lr: float,
    schedule: LrSchedule = "cosine",
) -> float:
    """Return the rate of optimiser step ``step`` (counted from 0) out of ``total_steps``.

    Linear warm-up over the first W = round(``warmup_ratio`` · ``total_steps``) steps,
    lr (step + 1) / W; then

    - ``cosine``: half a cosine (Loshchilov & Hutter, SGDR, ICLR 2017, equation 5) from ``lr`` down
      to ``min_lr``, which the last step has exactly
    - ``constant``: ``lr``
    - ``step``: ``lr``, a tenth of it from half of all steps on, a hundredth from three quarters on,
      never below ``min_lr``

    >>> [learning_rate(step, 4, 1.0, 0.5, 0.0) for step in range(4)]
    [0.5, 1.0, 0.5, 0.0]
    """
    warmup = round(warmup_ratio * total_steps)
    if step < warmup:
        return lr * (step + 1) / warmup
    if schedule == "constant":
        return lr
    if schedule == "step":
        drops = (2 * step >= total_steps) + (4 * step >= 3 * total_steps)
        return max(lr * STEP_FACTOR**drops, min_lr)
    peak = max(warmup - 1, 0)
    last = total_steps - 1
    if step == last > peak:
        return min_lr
    p = (step - peak) / max(last - peak, 1)
    return min_lr + 0.5 * (lr - min_lr) * (1.0 + math.cos(math.pi * p))
