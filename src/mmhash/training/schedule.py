"""The learning rate of each optimiser step."""

import math


def learning_rate(
    step: int, total_steps: int, lr: float, warmup_ratio: float, min_lr: float
) -> float:
    """Return the rate of optimiser step ``step`` (counted from 0) out of ``total_steps``.

    Linear warm-up over the first W = round(``warmup_ratio`` · ``total_steps``) steps,
    lr (step + 1) / W; then half a cosine (Loshchilov & Hutter, SGDR, ICLR 2017, equation 5) from
    ``lr`` down to ``min_lr``, which the last step has exactly.

    >>> [learning_rate(step, 4, 1.0, 0.5, 0.0) for step in range(4)]
    [0.5, 1.0, 0.5, 0.0]
    """
    warmup = round(warmup_ratio * total_steps)
    if step < warmup:
        return lr * (step + 1) / warmup
    peak = max(warmup - 1, 0)
    last = total_steps - 1
    if step == last > peak:
        return min_lr
    p = (step - peak) / max(last - peak, 1)
    return min_lr + 0.5 * (lr - min_lr) * (1.0 + math.cos(math.pi * p))
