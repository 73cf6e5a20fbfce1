"""UCMFH: contrastive fusion hashing of image and text ("When CLIP meets cross-modal hashing
retrieval: a new strong baseline", Xia et al., Information Fusion 2023), after the published code.

A pair is one token [image ; text] of a transformer encoder; its output, on the unit sphere, is cut
into an image half and a text half, each of which goes through a hash network of its own:

    [f_v ; f_t] = E([x_v ; x_t]) / ‖E([x_v ; x_t])‖        h_m = tanh(β · H_m(f_m / ‖f_m‖))

H is D → hidden → ReLU → dropout → B, or D → B where ``ucmfh.hidden`` is 0. The published widths are
512 and 512. Where they differ, the narrower is padded with zeros to the wider, and both as far as
the heads need it to divide the token's width: no parameter is added.
"""

import math
from bisect import bisect_right
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmhash.errors import InputError
from mmhash.models.cross_modal import CrossModalConfig, CrossModalHasher, PairCodes

# What the published encoder layer takes from PyTorch's defaults.
FEEDFORWARD, ENCODER_DROPOUT = 2048, 0.1
BETAS = (0.5, 0.999)


class UcmfhOutput(NamedTuple):
    """What the loss reads: soft codes (n, B) and the fused halves (n, D) that they come from."""

    image: Tensor
    text: Tensor
    image_half: Tensor
    text_half: Tensor


def ucmfh_settings(block: dict[str, Any], dataset: str) -> dict[str, Any]:
    """Return the block ``ucmfh`` with every empty value as published for ``dataset``.

    COCO: 500 epochs over 4,992 pairs, code rates × 0.6 after step 200. MIRFlickr, NUS-WIDE and,
    here, all others: 100 epochs, × 1.2 after steps 30 and 80.
    """
    coco = dataset == "coco2014"
    published = {
        "num_epochs": 500 if coco else 100,
        "train_rows": 4992 if coco else None,
        "milestones": [200] if coco else [30, 80],
        "milestone_factor": 0.6 if coco else 1.2,
    }
    empty = {key: value for key, value in published.items() if block.get(key) is None}
    return block | empty


def half_width(image_dim: int, text_dim: int, heads: int) -> int:
    """Return the width of each half: the smallest D from both widths on with heads | 2 D.

    >>> half_width(512, 512, 4), half_width(128, 10, 4), half_width(7, 5, 4)
    (512, 128, 8)
    """
    multiple = heads // math.gcd(heads, 2)
    return -(-max(image_dim, text_dim) // multiple) * multiple


def hash_network(width: int, hidden: int, bits: int, dropout: float) -> nn.Sequential:
    """Return H: ``width`` → ``hidden`` → ReLU → dropout → ``bits``; without ``hidden`` linear."""
    if not hidden:
        return nn.Sequential(nn.Linear(width, bits))
    return nn.Sequential(
        nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, bits)
    )


class Ucmfh(CrossModalHasher):
    """The encoder and two hash networks; the fused code is the mean of image and text code.

    ``attention``: in training each row is a sequence of its own, of one token, whatever the
    setting: the published training puts an axis in front of the batch. Its evaluation does not, so
    there the rows of a batch are ONE sequence and see each other, queries included: that is
    ``batch``, whose codes depend on which rows are encoded together. ``sample``: as in training.

    ``query``: ``both``, as published: either code comes from the token of the whole pair, so an
    image query brings its text along and the other way round, and the two halves may agree without
    any space that the modalities share. ``single``: the image code comes from [x_v ; 0], the text
    code from [0 ; x_t], of items and queries, in encoding and in training. Training on whole pairs
    does not teach such codes: on Wiki, at 64 bits, their mAP over all was .12 to .19, chance .17.

    The mean's sign is that of the surer code where the two disagree.
    """

    def __init__(self, config: CrossModalConfig) -> None:
        super().__init__(config)
        settings = config.settings
        self.half_dim = half_width(config.image_dim, config.text_dim, settings["heads"])
        layer = nn.TransformerEncoderLayer(
            2 * self.half_dim, settings["heads"], FEEDFORWARD, ENCODER_DROPOUT
        )
        # Copies of one layer: all start from the same weights, as published.
        self.encoder = nn.TransformerEncoder(layer, settings["layers"], enable_nested_tensor=False)
        shape = (self.half_dim, settings["hidden"], config.bits, settings["dropout"])
        self.image_hash, self.text_hash = hash_network(*shape), hash_network(*shape)

    @property
    def batch_mates(self) -> int | None:
        """The published batch with attention batch; else None."""
        settings = self.config.settings
        return settings["batch_size"] if settings["attention"] == "batch" else None

    def forward(self, image: Tensor, text: Tensor, scale: float = 1.0) -> PairCodes:
        """Encode n pairs; with attention batch these n see each other.

        Raises InputError for features of other widths than the model's.
        """
        halves = self.halves(image, text, self.config.settings["attention"] == "batch")
        codes = self._codes(*halves, scale)
        return PairCodes(*codes, (codes[0] + codes[1]) / 2)

    def training_output(self, image: Tensor, text: Tensor, scale: float) -> UcmfhOutput:
        """Return codes and halves of a batch for :func:`mmhash.losses.contrastive_terms`."""
        halves = self.halves(image, text, across=False)
        return UcmfhOutput(*self._codes(*halves, scale), *halves)

    def halves(self, image: Tensor, text: Tensor, across: bool) -> tuple[Tensor, Tensor]:
        """Return image and text half (n, D) of the fused tokens.

        ``across``: the n tokens are one sequence; else each is a sequence of its own.
        """
        left, right = self._padded(image, text)
        if self.config.settings["query"] == "both":
            both = self._fuse(torch.cat([left, right], dim=1), across)
            return both[:, : self.half_dim], both[:, self.half_dim :]
        image_token = torch.cat([left, torch.zeros_like(right)], dim=1)
        text_token = torch.cat([torch.zeros_like(left), right], dim=1)
        image_half = self._fuse(image_token, across)[:, : self.half_dim]
        return image_half, self._fuse(text_token, across)[:, self.half_dim :]

    def _padded(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        expected = (len(image), self.config.image_dim), (len(image), self.config.text_dim)
        if (image.shape, text.shape) != expected or not len(image):
            raise InputError(
                f"ucmfh: image features {tuple(image.shape)} and text features "
                f"{tuple(text.shape)} do not fit a model of widths {self.config.image_dim} and "
                f"{self.config.text_dim}: give one row a pair, with the features it was trained on"
            )
        left, right = (F.pad(x, (0, self.half_dim - x.shape[1])) for x in (image, text))
        return left, right

    def _fuse(self, tokens: Tensor, across: bool) -> Tensor:
        # The encoder takes (length of a sequence, sequences, width).
        fused = self.encoder(tokens[:, None] if across else tokens[None])
        return F.normalize(fused.reshape(tokens.shape), dim=1)

    def _codes(self, image_half: Tensor, text_half: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        image = self.image_hash(F.normalize(image_half, dim=1))
        text = self.text_hash(F.normalize(text_half, dim=1))
        return torch.tanh(scale * image), torch.tanh(scale * text)

    @property
    def notes(self) -> list[str]:
        """Say which protocol the codes follow."""
        settings = self.config.settings
        sees = "its batch too" if settings["attention"] == "batch" else "itself alone"
        brings = "image and text" if settings["query"] == "both" else "one modality"
        return [
            f"ucmfh.attention={settings['attention']}, ucmfh.query={settings['query']}: a query "
            f"brings {brings}, and its code sees {sees}"
        ]

    def optimizer(self) -> torch.optim.Optimizer:
        """Return Adam with a group for the encoder and one for the hash networks.

        The published schedule is that of the hash networks alone: the encoder's group says
        ``scheduled`` False.
        """
        codes = [*self.image_hash.parameters(), *self.text_hash.parameters()]
        fusion_rate, codes_rate = (self.config.settings[key] for key in ("lr_fusion", "lr_codes"))
        return torch.optim.Adam(
            [
                {"params": list(self.encoder.parameters()), "lr": fusion_rate, "scheduled": False},
                {"params": codes, "lr": codes_rate, "scheduled": True},
            ],
            betas=BETAS,
            fused=True,
        )

    def rate_factor(self, epoch: int, step: int) -> float:  # noqa: ARG002
        """Return milestone_factor to the power of the milestones that ``step`` has reached."""
        settings = self.config.settings
        return settings["milestone_factor"] ** bisect_right(sorted(settings["milestones"]), step)
