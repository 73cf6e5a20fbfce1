"""Which part of the towers learns, and what that asks of them."""

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from mmhash.encoders.checkpoint import Towers  # loads transformers, which takes seconds

Unfreeze = Literal["none", "last_n", "all"]

# Each tower's layers stand in ``encoder.layers``; these come behind them.
_BEHIND = {
    "vision_model": ("post_layernorm", "head"),
    "text_model": ("final_layer_norm", "head"),
}


def unfreeze(
    towers: "Towers", which: Unfreeze, last_n: int, gradient_checkpointing: bool = False
) -> dict[str, nn.Parameter]:
    """Let a part of ``towers`` learn; return its parameters by name, none for ``none``.

    ``last_n``: the last ``last_n`` transformer layers of each tower (all of a tower that has
    fewer), its last layer norm and its pooling head. ``all``: both towers whole. The scale and
    bias of the sigmoid loss, which stand outside the towers, never learn.

    ``gradient_checkpointing`` keeps a layer's input for the backward pass and computes the rest
    again (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016): the same gradients,
    less memory, about a third more time.
    """
    if which == "none":
        return {}
    for side, behind in _BEHIND.items():
        tower = getattr(towers.model, side)
        parts = [tower]
        if which == "last_n":
            parts = [*list(tower.encoder.layers)[-last_n:], *(getattr(tower, n) for n in behind)]
        for part in parts:
            part.requires_grad_(True)
    if towers.kind == "naflex" and which == "all":
        towers.model.vision_model.embeddings.resize_positional_embeddings = resized_positions  # type: ignore[union-attr]
    if gradient_checkpointing:
        towers.model.activation_checkpointing_enable()  # type: ignore[operator]
    return {name: p for name, p in towers.model.named_parameters() if p.requires_grad}


def resized_positions(positions: Tensor, shapes: Tensor, max_length: int) -> Tensor:
    """Return position embeddings (H, W, D) resized to each grid of ``shapes`` (n, 2).

    The result is (n, ``max_length``, D); behind its grid a row repeats its first position, as the
    published code does. It equals bilinear interpolation with antialiasing, written as two matrix
    products, because the gradient of the interpolation has no deterministic form on CUDA.
    """
    rows = []
    with torch.autocast(positions.device.type, enabled=False):
        for high, wide in shapes.tolist():
            down = _resizing(positions.shape[0], high, positions.device)
            across = _resizing(positions.shape[1], wide, positions.device)
            grid = torch.einsum("ha,wb,abd->hwd", down, across, positions.float()).flatten(0, 1)
            pad = grid[:1].expand(max_length - len(grid), -1)
            rows.append(torch.cat([grid, pad]))
        return torch.stack(rows).to(positions.dtype)


@lru_cache(maxsize=256)
def _resizing(source: int, target: int, device: torch.device) -> Tensor:
    """Return the matrix (target, source) that resizes one axis."""
    with torch.no_grad():
        # Channel c holds 1 in row c, in two equal columns: a single one is resized wrongly
        # (PyTorch 2.13, whose choice of the memory format such a shape confuses).
        rows = torch.eye(source)[None, :, :, None].repeat(1, 1, 1, 2)
        resized = F.interpolate(
            rows, size=(target, 2), mode="bilinear", align_corners=False, antialias=True
        )
        return resized[0, :, :, 0].T.contiguous().to(device)
