"""Training from pictures and captions: towers that learn take the place of stored features."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor

from mmhash.encoders.pictures import PictureFile
from mmhash.encoders.unfreeze import unfreeze
from mmhash.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from mmhash.encoders.checkpoint import Towers  # loads transformers, which takes seconds


@dataclass(frozen=True)
class EndToEnd:
    """Towers that learn together with the tagger, and what they see.

    ``load(device)`` gives the towers in float32 as the checkpoint holds them; ``checkpoint`` says
    which one that is. ``pictures`` holds row i of the features as it was decoded, ``captions``
    (ΣT,) the text of each row of their ``text``. ``normalise`` scales the vectors to unit length,
    as the stored features are where ``features.normalise`` asked for it. ``encode(folder)`` is
    called when the weights lie in ``folder``: it encodes the data set with them. ``ranks`` share
    the work.
    """

    load: Callable[[torch.device], "Towers"]
    checkpoint: dict[str, Any]
    unfreeze: Literal["last_n", "all"]
    last_n: int
    pictures: PictureFile
    captions: pa.Array
    encode: Callable[[Path], None]
    normalise: bool = False
    gradient_checkpointing: bool = False
    ranks: Ranks = ALONE

    def described(self) -> dict[str, Any]:
        """Return which checkpoint learns and which part of it, for ``config.json``."""
        return {
            **self.checkpoint,
            "unfreeze": self.unfreeze,
            **({"last_n": self.last_n} if self.unfreeze == "last_n" else {}),
        }


class TowerStore:
    """Vectors as :class:`mmhash.training.batches.FeatureStore` gives them, computed when asked for.

    Gradients reach the layers that learn, where the caller has gradients on; without them the
    towers are in evaluation mode. ``learning`` are their weights, by the name they are saved under.
    """

    def __init__(
        self,
        towers: EndToEnd,
        labels: np.ndarray,
        device: torch.device,
        autocast: torch.dtype | None,
    ) -> None:
        self.device, self._what = device, towers
        # The weights stay float32 while they learn; autocast rounds what enters each product.
        self._towers = replace(towers.load(device), precision=autocast or torch.float32)
        self.learning: dict[str, torch.nn.Parameter] = unfreeze(
            self._towers, towers.unfreeze, towers.last_n, towers.gradient_checkpointing
        )
        self.labels = torch.from_numpy(np.asarray(labels))

    def index(self, rows: np.ndarray) -> Tensor:
        """Return row numbers as a tensor, on the CPU, where pictures and captions are."""
        return torch.from_numpy(np.ascontiguousarray(rows, dtype=np.int64))

    def batch(self, rows: Tensor, captions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (image (n, D_i), text (n, D_t), labels (n, C) float32) on the device."""
        self._towers.model.train(torch.is_grad_enabled())
        image = self._towers.image_vectors(self._what.pictures.rows(rows.numpy()))
        texts = self._what.captions.take(pa.array(captions.numpy())).to_pylist()
        text = self._towers.text_vectors(texts)
        if self._what.normalise:
            image, text = F.normalize(image), F.normalize(text)
        labels = self.labels.index_select(0, rows).to(self.device, non_blocking=True)
        return image, text, labels.float()
