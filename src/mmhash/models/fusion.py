"""Fusion: what the two modalities contribute to one vector, and the MLP on it."""

import torch
from torch import Tensor, nn

from mmhash.models.config import FusionConfig, Inputs


def product_width(image_dim: int, text_dim: int, dim: int | None) -> int | None:
    """Return the width to which both directions are projected for d_img ⊙ d_txt.

    None means that none is needed: the widths are equal and ``fusion.dim`` is not set. Where the
    widths differ and ``fusion.dim`` is not set, it is the smaller of the two.
    """
    if dim is not None:
        return dim
    return None if image_dim == text_dim else min(image_dim, text_dim)


def dropout_factors(rows: int, width: int, p: float, generator: torch.Generator) -> Tensor:
    """Draw what dropout multiplies by, (rows, width) float32 on the device of ``generator``.

    A factor is 0 with probability ``p``, rounded to a multiple of 2⁻¹⁶, and otherwise the number
    that makes the mean 1. Four factors share one random number of 64 bits: that takes a fraction
    of the time of a draw each.
    """
    numbers = torch.empty(-(-rows * width // 4), dtype=torch.int64, device=generator.device)
    numbers.random_(-(2**63), None, generator=generator)
    kept = min(max(round((1.0 - p) * 2**16), 1), 2**16)
    draws = numbers.view(torch.int16)[: rows * width].view(rows, width)
    factors = torch.empty(rows, width, device=generator.device)
    return torch.ge(draws, 2**15 - kept, out=factors).mul_(2**16 / kept)


class Fusion(nn.Module):
    """z = MLP(x), with x by ``fusion.type``.

    ==========================  ==================================================  =======
    type                        x                                                   width
    ==========================  ==================================================  =======
    concat                      [v_img ; v_txt]                                     2 D
    concat_direction            [d_img ; d_txt]                                     2 D
    hadamard                    [d_img ; d_txt ; d_img ⊙ d_txt]                     3 D
    hadamard_with_magnitude     [d_img ; d_txt ; d_img ⊙ d_txt ; m_img ; m_txt]     3 D + 2
    ==========================  ==================================================  =======

    With one modality alone (``inputs`` image or caption) the parts of the other and the product
    are absent. Where the widths of image and text differ (or ``fusion.dim`` is set) the product is
    (P_img d_img) ⊙ (P_txt d_txt) with learned projections to ``fusion.dim``. The MLP is
    Linear → activation → dropout for each width in ``fusion.mlp_dims``. Dropout multiplies by the
    factors that it is given (:func:`dropout_factors`, those of all layers side by side); without
    any it draws its own in training.
    """

    def __init__(
        self,
        vector_dims: tuple[int, int],
        direction_dims: tuple[int, int],
        config: FusionConfig,
        inputs: Inputs = "both",
    ) -> None:
        super().__init__()
        self.kind = config.type
        self.used = {"both": (0, 1), "image": (0,), "caption": (1,)}[inputs]
        self.multiplied = inputs == "both" and config.type in (
            "hadamard",
            "hadamard_with_magnitude",
        )
        self.project_image: nn.Module = nn.Identity()
        self.project_text: nn.Module = nn.Identity()
        dims = vector_dims if config.type == "concat" else direction_dims
        width = sum(dims[at] for at in self.used)
        if self.multiplied:
            projected = product_width(*direction_dims, config.dim)
            if projected is not None:
                self.project_image = nn.Linear(direction_dims[0], projected, bias=False)
                self.project_text = nn.Linear(direction_dims[1], projected, bias=False)
            width += projected or direction_dims[0]
        if config.type == "hadamard_with_magnitude":
            width += len(self.used)
        self.input_width = width
        layers: list[nn.Module] = []
        for output in config.mlp_dims:
            layers += [
                nn.Linear(width, output),
                nn.GELU() if config.activation == "gelu" else nn.ReLU(),
                nn.Dropout(config.dropout),
            ]
            width = output
        self.mlp = nn.Sequential(*layers)
        self.output_width = width

    def join(
        self,
        vectors: tuple[Tensor, Tensor],
        directions: tuple[Tensor, Tensor],
        log_magnitudes: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Return x (n, width); each argument is an (image, text) pair of (n, ·) tensors."""
        if self.kind == "concat":
            dtype = directions[0].dtype
            return torch.cat([vectors[at].to(dtype) for at in self.used], dim=1)
        parts = [directions[at] for at in self.used]
        if self.multiplied:
            parts.append(self.project_image(directions[0]) * self.project_text(directions[1]))
        if self.kind == "hadamard_with_magnitude":
            parts += [log_magnitudes[at] for at in self.used]
        return torch.cat(parts, dim=1)

    def forward(
        self,
        vectors: tuple[Tensor, Tensor],
        directions: tuple[Tensor, Tensor],
        log_magnitudes: tuple[Tensor, Tensor],
        dropout: Tensor | None = None,
    ) -> Tensor:
        """Return z (n, ``mlp_dims[-1]``); ``dropout`` is (n, sum of ``mlp_dims``) if given."""
        z = self.join(vectors, directions, log_magnitudes)
        start = 0
        for layer in self.mlp:
            if dropout is not None and isinstance(layer, nn.Dropout):
                factors = dropout[:, start : start + z.shape[1]]
                z, start = (z * factors).to(z.dtype), start + z.shape[1]
            else:
                z = layer(z)
        return z
