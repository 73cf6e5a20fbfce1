"""What towers that learn add to a training: time and memory, measured on a small batch."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mmhash.cli.estimates import median_seconds
from mmhash.encoders.batch import blank_pictures
from mmhash.encoders.checkpoint import Towers
from mmhash.encoders.unfreeze import Unfreeze, unfreeze
from mmhash.training.epoch import one_thread
from mmhash.training.settings import Precision, TrainSettings


class TowerLoad:
    """Towers of which a part learns, and what they cost a row."""

    def __init__(
        self,
        towers: Towers,
        which: Unfreeze,
        last_n: int,
        checkpointing: bool,
        precision: Precision,
    ) -> None:
        """Let the part learn; ``towers`` are float32."""
        self.towers = replace(towers, precision=precision.autocast or torch.float32)
        self.learning = sum(p.numel() for p in unfreeze(self.towers, which, last_n).values())
        self.weights = sum(p.numel() for p in self.towers.model.parameters())
        self.checkpointing = checkpointing

    def _vectors(self, rows: int) -> Tensor:
        pictures = blank_pictures(self.towers.pixels, rows)
        texts = [f"a photo of {row} dogs" for row in range(rows)]
        return self.towers.image_vectors(pictures).sum() + self.towers.text_vectors(texts).sum()

    def activation_bytes(self) -> float:
        """Return what one row keeps for the backward pass.

        With gradient checkpointing a layer keeps its input, and one layer at a time the rest.
        """
        row = self._saved_bytes(2) - self._saved_bytes(1)
        if not self.checkpointing:
            return row
        config: Any = self.towers.model.config
        vision, text = config.vision_config, config.text_config
        count = self.towers.pixels
        patches = count.max_num_patches or ((count.image_size or 0) // count.patch_size) ** 2
        inputs = 4.0 * (
            vision.num_hidden_layers * patches * vision.hidden_size
            + text.num_hidden_layers * self.towers.token_length * text.hidden_size
        )
        return inputs + row / max(vision.num_hidden_layers, 1)

    def _saved_bytes(self, rows: int) -> float:
        held: dict[int, tuple[Tensor, int]] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            held[storage.data_ptr()] = (tensor, storage.nbytes())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            self._vectors(rows)
        return float(sum(size for _, size in held.values()))

    def memory(self, settings: TrainSettings) -> dict[str, float]:
        """Return bytes by component; AdamW keeps two moments of each weight that learns."""
        return {
            "towers": 4.0 * self.weights,
            "their gradients": 4.0 * self.learning,
            "their moments": 8.0 * self.learning,
            "their activations": settings.batch_size * self.activation_bytes(),
        }

    def seconds(self, rows: int, val_rows: int, settings: TrainSettings) -> float:
        """Estimate what the towers add to ``settings.num_epochs`` epochs, decoding left out."""
        device = self.towers.device
        batch = settings.batch_size if device.type == "cuda" else min(settings.batch_size, 8)

        def step() -> None:
            self._vectors(batch).backward()

        def evaluation() -> None:
            with torch.no_grad():
                self._vectors(batch)

        with one_thread():
            step()
            trained, validated = median_seconds(step, device), median_seconds(evaluation, device)
        again = (trained + validated) if self.checkpointing else trained
        return settings.num_epochs * (rows * again + val_rows * validated) / batch
