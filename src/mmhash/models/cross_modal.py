"""What every cross-modal hasher offers: soft codes of images, of texts and of whole pairs."""

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmhash.errors import InputError
from mmhash.models.config import Schedule


@dataclass(frozen=True)
class CrossModalConfig:
    """All that determines the shape of a cross-modal hasher, and how it learns.

    ``settings`` is the method's block of ``params.yaml`` with every empty value filled in; the
    schedule is that of the scale β of tanh(β u), as in the main method's hash layer.
    """

    name: str
    image_dim: int
    text_dim: int
    bits: int
    settings: dict[str, Any] = field(default_factory=dict)
    num_classes: int = 1
    schedule: Schedule = "constant"
    scale_min: float = 1.0
    scale_max: float = 1.0

    def __post_init__(self) -> None:
        if min(self.image_dim, self.text_dim) < 1:
            raise InputError(
                f"model: image width {self.image_dim} and text width {self.text_dim} must both be "
                "at least 1"
            )
        if self.bits < 8 or self.bits % 8:
            raise InputError(f"hash.bits = {self.bits}: must be a multiple of 8 (codes are bytes)")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can write."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any, source: str = "model/config.json") -> "CrossModalConfig":
        """Return the configuration that :meth:`to_dict` wrote; InputError for other keys."""
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(
                f"{source}: model does not fit this version ({error}); train again"
            ) from None


class PairCodes(NamedTuple):
    """Codes of n pairs, each (n, bits), soft in [-1, 1] or, without a hash layer, real vectors.

    ``image`` and ``text`` are what a query of one modality and the items of the other are compared
    by, ``fused`` is the code of the whole pair.
    """

    image: Tensor
    text: Tensor
    fused: Tensor


class CrossModalHasher(nn.Module):
    """A model that encodes pairs (``forward``) and, where it learns by steps, says how.

    Methods without steps (closed forms) override ``forward`` alone.
    """

    def __init__(self, config: CrossModalConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def hashed(self) -> bool:
        """Whether the codes are soft bits; else they are real vectors, compared by cosine."""
        return True

    @property
    def batch_mates(self) -> int | None:
        """How many rows go through the model together where that changes the codes; else None."""
        return None

    def forward(self, image: Tensor, text: Tensor, scale: float = 1.0) -> PairCodes:
        """Encode n pairs: ``image`` (n, D_i), ``text`` (n, D_t) float32; β = ``scale``."""
        raise NotImplementedError

    @property
    def notes(self) -> list[str]:
        """Return sentences about the protocol of this model, for the log and the metrics."""
        return []

    def training_output(self, image: Tensor, text: Tensor, scale: float) -> Any:
        """Return what the method's loss reads, for a batch."""
        raise NotImplementedError

    def optimizer(self) -> torch.optim.Optimizer:
        """Return the optimiser of all parameters."""
        raise NotImplementedError

    def turns(self) -> list[list[int]] | None:
        """Return which groups of the optimiser move in turn, each with the loss computed anew.

        None: all at once, one step a batch.
        """
        return None

    def rate_factor(self, epoch: int, step: int) -> float:  # noqa: ARG002
        """Return what learning rates are multiplied by; ``step`` counts from 0 over all epochs."""
        return 1.0
