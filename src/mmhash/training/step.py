"""The forward pass of an optimiser step: model and loss, as plain calls or compiled."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmhash.losses.total import LossWeights, total_loss
from mmhash.models.tagger import Tagger

StepTerms = Callable[..., tuple[Tensor, Tensor]]


def step_terms(
    tagger: Tagger,
    weights: LossWeights,
    class_weights: Tensor | None,
    autocast: torch.dtype | None,
    image: Tensor,
    text: Tensor,
    labels: Tensor,
    scale: float | Tensor,
    micros: int,
    dropout: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return the loss of each of some micro batches (k,) and all its terms, detached (k, T).

    The n rows of ``image`` (n, D_i), ``text`` (n, D_t) and ``labels`` (n, C) are ``micros`` micro
    batches of one size; ``scale`` is β, ``dropout`` the factors of dropout. The terms stand in the
    order of :data:`mmhash.losses.total.TERMS`. ``autocast`` None is plain float32.
    """
    with torch.autocast(image.device.type, dtype=autocast, enabled=autocast is not None):
        output = tagger(image, text, scale, micros, dropout)
    terms = total_loss(
        output.stacked(micros),
        labels.unflatten(0, (micros, -1)),
        weights,
        class_weights,
        tagger.config.aligned,
    )
    return terms["loss"], torch.stack([term.detach() for term in terms.values()], dim=1)


def compiled_step(device: torch.device, deterministic: bool) -> StepTerms:
    """Return :func:`step_terms` compiled: on CUDA its kernels are replayed as one graph.

    Each size of a group of micro batches is compiled once, some tens of seconds at the start. On a
    CPU it needs a C++ compiler. Results agree with the plain step up to rounding. Of kernels that
    round differently ``deterministic`` takes the same each time; without it the faster one counts,
    by a measurement. Gradients that are to outlive the next call go through :func:`keep_gradients`.
    """
    cuda = device.type == "cuda"
    # PyTorch's deterministic algorithms do not extend to what its compiler chooses. An option,
    # unlike a setting of the compiler, holds in every thread.
    options: dict[str, Any] = {"triton.cudagraphs": cuda, "deterministic": deterministic}
    compiled: StepTerms = torch.compile(step_terms, dynamic=False, options=options)

    def call(*arguments: Any) -> tuple[Tensor, Tensor]:
        *tensors, scale, micros, dropout = arguments
        if cuda:
            torch.compiler.cudagraph_mark_step_begin()
        # A number would be part of the compiled code: a schedule would compile it every epoch.
        # Filled in on the device, where a copy of it would wait for all that was asked before.
        beta = torch.full((), scale, device=device)
        loss, terms = compiled(*tensors, beta, micros, dropout)
        return loss, terms.clone()  # the next replay overwrites what this one returns

    return call


def keep_gradients(tagger: Tagger) -> None:
    """Copy the gradients of ``tagger`` out of the memory of a graph: its next replay writes there.

    PyTorch takes the gradient that a backward pass makes first as it is, wherever it lies.
    """
    for parameter in tagger.parameters():
        if parameter.grad is not None:
            parameter.grad = parameter.grad.clone()
