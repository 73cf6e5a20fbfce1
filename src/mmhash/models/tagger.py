"""The tagger: decomposition → fusion → hash layer → linear classifier, and the MLP baseline."""

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmhash.errors import InputError
from mmhash.models.config import ModelConfig
from mmhash.models.cross_modal import PairCodes
from mmhash.models.decomposition import decompose
from mmhash.models.fusion import Fusion, product_width
from mmhash.models.hash_layer import HashLayer
from mmhash.seeding import stream_seed


class TaggerOutput(NamedTuple):
    """What a forward pass gives for n rows.

    ``logits`` (n, C), ``z`` (n, ``mlp_dims[-1]``), ``u`` and ``h`` (n, bits) or None without hash,
    ``direction_image`` and ``direction_text`` (n, D) of length 1, after ``align.projection``.
    """

    logits: Tensor
    z: Tensor
    u: Tensor | None
    h: Tensor | None
    direction_image: Tensor
    direction_text: Tensor

    def stacked(self, micros: int) -> "TaggerOutput":
        """Return the same with an axis for micro batches before that of rows: (k, n / k, ·)."""
        pieces: list[Any] = [None if t is None else t.unflatten(0, (micros, -1)) for t in self]
        return TaggerOutput(*pieces)


class Tagger(nn.Module):
    """Image and caption vectors to class scores.

        (d, m) = decompose(v)    z = Fusion(v, d, m)    h = tanh(β u(z))    logits = W_c h + b_c

    Without hash (``hash.enabled: false`` and the ``mlp`` baseline) the classifier reads z.
    ``align.projection`` passes each direction through its own linear layer, the identity at the
    start, and takes the direction of the result; where the widths of image and text differ both
    layers lead to the width of their product (see :func:`mmhash.models.fusion.product_width`).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        vector_dims = (config.image_dim, config.text_dim)
        direction_dims = vector_dims
        self.align_image: nn.Linear | None = None
        self.align_text: nn.Linear | None = None
        if config.align.projection:
            if config.image_dim != config.text_dim:
                common = product_width(*vector_dims, config.fusion.dim) or config.image_dim
                direction_dims = (common, common)
            self.align_image = nn.Linear(vector_dims[0], direction_dims[0], bias=False)
            self.align_text = nn.Linear(vector_dims[1], direction_dims[1], bias=False)
            nn.init.eye_(self.align_image.weight)
            nn.init.eye_(self.align_text.weight)
        self.fusion = Fusion(vector_dims, direction_dims, config.fusion, config.inputs)
        width = self.fusion.output_width
        self.hash: HashLayer | None = None
        if config.hash.enabled:
            self.hash = HashLayer(width, config.hash.bits, config.hash.batch_norm)
            width = config.hash.bits
        self.classifier = nn.Linear(width, config.num_classes, bias=config.classifier.use_bias)

    def forward(
        self,
        image: Tensor,
        text: Tensor,
        hash_scale: float,
        micros: int = 1,
        dropout: Tensor | None = None,
    ) -> TaggerOutput:
        """Tag n pairs: ``image`` (n, D_i), ``text`` (n, D_t) pooled vectors, β = ``hash_scale``.

        In training the rows may be ``micros`` micro batches of one size, and the factors of
        ``dropout`` may be given: see :class:`mmhash.models.hash_layer.HashLayer` and
        :class:`mmhash.models.fusion.Fusion`.
        """
        directions, magnitudes = self._decomposed(image, text)
        return self._tagged((image, text), directions, magnitudes, hash_scale, micros, dropout)

    @property
    def shares_space(self) -> bool:
        """Whether image and text directions lie in one space, so that one can stand for the other.

        ``concat`` takes whole vectors: there the vectors themselves must have one width.
        """
        same = self.config.image_dim == self.config.text_dim
        if self.config.inputs != "both":
            return False
        return same or (self.align_image is not None and self.fusion.kind != "concat")

    def sides(self, image: Tensor, text: Tensor, hash_scale: float) -> PairCodes:
        """Return the codes of n pairs by side, soft (n, bits) or, without hash, z.

        The code of an image alone is that of a pair in which the image's direction and magnitude
        stand for the text's, and the other way round: the alignment term brings the two directions
        of a pair together. Needs ``shares_space``.
        """
        directions, magnitudes = self._decomposed(image, text)
        vectors = (image, text)
        codes = []
        for left, right in ((0, 0), (1, 1), (0, 1)):
            output = self._tagged(
                (vectors[left], vectors[right]),
                (directions[left], directions[right]),
                (magnitudes[left], magnitudes[right]),
                hash_scale,
            )
            codes.append(output.z if output.h is None else output.h)
        return PairCodes(*codes)

    def _decomposed(
        self, image: Tensor, text: Tensor
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return the directions, after ``align.projection``, and the log magnitudes."""
        direction_image, magnitude_image = decompose(image)
        direction_text, magnitude_text = decompose(text)
        if self.align_image is not None and self.align_text is not None:
            direction_image = _unit(self.align_image(direction_image))
            direction_text = _unit(self.align_text(direction_text))
        return (direction_image, direction_text), (magnitude_image, magnitude_text)

    def _tagged(
        self,
        vectors: tuple[Tensor, Tensor],
        directions: tuple[Tensor, Tensor],
        magnitudes: tuple[Tensor, Tensor],
        hash_scale: float,
        micros: int = 1,
        dropout: Tensor | None = None,
    ) -> TaggerOutput:
        z = self.fusion(vectors, directions, magnitudes, dropout)
        u: Tensor | None = None
        h: Tensor | None = None
        if self.hash is not None:
            u, h = self.hash(z, hash_scale, micros)
        logits = self.classifier(z if h is None else h)
        return TaggerOutput(logits, z, u, h, *directions)


def _unit(projected: Tensor) -> Tensor:
    """Return directions again: without it L_cos falls without bound as the projection grows."""
    if projected.dtype in (torch.float16, torch.bfloat16):
        projected = projected.float()
    return F.normalize(projected, dim=1, eps=1e-6)


def log_prior_odds(positives: np.ndarray, rows: int) -> np.ndarray:
    """Return log(p / (1 − p)) a class, p = (positives + 1) / (rows + 2) (Laplace's rule).

    ``positives`` (C,) counts the training rows that carry each class. As the bias of the
    classifier it makes the untrained model predict each class's frequency (Lin et al., Focal Loss,
    ICCV 2017, section 4.1), instead of spending the first epochs on learning it through tanh.
    """
    p = (positives.astype(np.float64) + 1.0) / (rows + 2.0)
    return np.log(p) - np.log1p(-p)


def build_tagger(
    config: ModelConfig, seed: int, positives: np.ndarray | None = None, rows: int = 0
) -> Tagger:
    """Build a tagger with weights drawn from the stream ("init") of ``seed``.

    The global random state is left as it was and plays no part, so two builds with one seed are
    equal whatever was drawn before. ``classifier.prior_init`` needs ``positives`` (C,), the count
    of each class in the ``rows`` training rows; InputError without them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stream_seed(seed, "init"))
        tagger = Tagger(config)
    if config.classifier.prior_init:
        if positives is None or len(positives) != config.num_classes:
            raise InputError(
                f"classifier.prior_init needs the training counts of all {config.num_classes} "
                "classes"
            )
        with torch.no_grad():
            tagger.classifier.bias.copy_(torch.from_numpy(log_prior_odds(positives, rows)))
    return tagger
