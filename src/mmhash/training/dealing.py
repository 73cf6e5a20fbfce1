"""Micro batches dealt to several ranks, with the result of one process.

:func:`told` is for what has no gradient, as in validation, :func:`dealt` for an optimiser step.
Data parallelism as it is usually done (one sum over all ranks) adds the gradients in an order that
depends on the number of ranks, and leaves each with its own statistics of BatchNorm. Here every
rank adds the gradients, and replays BatchNorm, in the order of the micro batches.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from mmhash.ranks import Ranks


def told(
    ranks: Ranks,
    lengths: Sequence[int],
    compute: Callable[[int], Tensor],
    device: torch.device,
) -> list[Tensor]:
    """Return ``[compute(i) for i in range(len(lengths))]`` on every rank, the work dealt to them.

    ``compute(i)`` gives a float32 vector of ``lengths[i]`` values on ``device``.
    """
    found: list[Tensor] = []
    for first in range(0, len(lengths), ranks.world):
        own = first + ranks.rank
        mine = compute(own) if own < len(lengths) else torch.empty(0, device=device)
        for source, length in enumerate(lengths[first : first + ranks.world]):
            sent = mine if source == ranks.rank else torch.empty(length, device=device)
            ranks.send(sent, source)
            found.append(sent)
    return found


def dealt(
    ranks: Ranks,
    sizes: Sequence[int],
    compute: Callable[[int], Tensor],
    terms: int,
    parameters: Sequence[nn.Parameter],
    norm: nn.Module | None,
    dtype: torch.dtype,
) -> list[Tensor]:
    """Do what ``[compute(i) for i in range(len(sizes))]`` does, with the work dealt to ``ranks``.

    ``compute(i)`` adds the gradient of micro batch i, of ``sizes[i]`` rows, to ``parameters``,
    which have none before, and returns its (1, ``terms``) float32 terms. ``norm`` is the BatchNorm
    layer that it passes, if any, with inputs of ``dtype``. Afterwards gradients, running
    statistics and the terms returned are the same on every rank, and those of one process.
    """
    width = 0 if norm is None else int(norm.num_features)  # type: ignore[arg-type]
    device = parameters[0].device
    moving: list[nn.Parameter] = []
    total: Tensor | None = None
    found: list[Tensor] = []
    for first in range(0, len(sizes), ranks.world):
        own = first + ranks.rank
        packed = torch.empty(0, device=device)
        if own < len(sizes):
            with _watched(norm) as inputs:
                told = compute(own)
            given = [p.grad for p in parameters if p.grad is not None]
            packed = torch.cat([part.float().flatten() for part in (told, *inputs, *given)])
        if not moving:  # the first rank has had a micro batch; the others learn what has a gradient
            numbers = [at for at, p in enumerate(parameters) if p.grad is not None]
            moving = [parameters[at] for at in ranks.agree(partial(list, numbers))]
        for parameter in moving:
            parameter.grad = None
        for source, size in enumerate(sizes[first : first + ranks.world]):
            lengths = [terms, size * width, sum(p.numel() for p in moving)]
            sent = packed
            if source != ranks.rank:
                sent = torch.empty(sum(lengths), device=device)
            ranks.send(sent, source)
            told, seen, gradient = sent.split(lengths)
            found.append(told.view(1, -1))
            total = gradient if total is None else total.add_(gradient)
            if norm is not None:
                with torch.no_grad():
                    norm(seen.view(size, width).to(dtype))
    assert total is not None
    for parameter, part in zip(moving, total.split([p.numel() for p in moving]), strict=True):
        # A copy, for kernels may add up in another order where a tensor is not aligned.
        parameter.grad = part.view_as(parameter).clone()
    return found


@contextmanager
def _watched(norm: nn.Module | None) -> Iterator[list[Tensor]]:
    """Yield a list that receives the inputs of ``norm``, which leaves its statistics alone."""
    inputs: list[Tensor] = []
    if norm is None:
        yield inputs
        return
    watch = norm.register_forward_pre_hook(lambda _, given: inputs.append(given[0].detach()))
    norm.track_running_stats = False  # type: ignore[assignment]
    try:
        yield inputs
    finally:
        watch.remove()
        norm.track_running_stats = True  # type: ignore[assignment]
