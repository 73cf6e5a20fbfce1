"""Cross-modal references without a network: ``model.name: shallow``.

Every method is a linear map of each modality, so one class holds them all and the fit differs:

    cca                  canonical correlation analysis; real vectors compared by cosine, of at most
                         min(D_i, D_t, bits) dimensions
    cca_itq              canonical directions times their correlation, and one ITQ rotation that
                         both modalities share
    random_hyperplanes   the same space as cca_itq, cut by random hyperplanes (Charikar, STOC 2002)
    cmfh                 collective matrix factorisation (Ding et al., CVPR 2014)
    scm                  semantic correlation maximisation, sequential (Zhang & Li, AAAI 2014); the
                         only one that reads labels

The formulas are in :mod:`mmhash.models.closed_forms`. Weighting by the correlations ρ is that of
Gong & Lazebnik (CVPR 2011, CCA-ITQ): directions that the modalities hardly share would else
cost as many bits as the best. The code ``fused`` of a pair is the mean of its two projections,
except for cmfh, which has a unified code of its own, V: the published figures of cmfh compare
queries, encoded by one modality, with the V of the database items. A V has seen both modalities of
its item, so that a text query then also compares with texts; that is no search across modalities.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmhash.errors import InputError
from mmhash.models.closed_forms import (
    canonical_directions,
    collective_factors,
    itq_rotation,
    semantic_directions,
)
from mmhash.models.cross_modal import CrossModalConfig, CrossModalHasher, PairCodes
from mmhash.seeding import numpy_stream

LEAST_EXPLAINED = 1e-3  # share of the features' sum of squares that cmfh must explain


class _Maps(NamedTuple):
    """Linear maps (D, width) float64 of centred features; a pair's is the sum of the last two."""

    image: np.ndarray
    text: np.ndarray
    fused_image: np.ndarray
    fused_text: np.ndarray


class ShallowHasher(CrossModalHasher):
    """Centre, project, tanh: soft codes whose sign is the bit; for ``cca`` the projections alone.

    All is in float32 buffers: means (D,) and maps (D, width).
    """

    image_mean: Tensor
    text_mean: Tensor
    image_map: Tensor
    text_map: Tensor
    fused_image_map: Tensor
    fused_text_map: Tensor

    def __init__(self, config: CrossModalConfig) -> None:
        super().__init__(config)
        width = config.bits if self.hashed else canonical_count(config)
        for name, size in (("image", config.image_dim), ("text", config.text_dim)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_map", torch.zeros(size, width))
            self.register_buffer(f"fused_{name}_map", torch.zeros(size, width))

    @property
    def hashed(self) -> bool:
        """False for ``cca``, whose codes are real vectors compared by cosine."""
        return bool(self.config.settings["method"] != "cca")

    def forward(self, image: Tensor, text: Tensor, scale: float = 1.0) -> PairCodes:
        """Encode n pairs: ``image`` (n, D_i), ``text`` (n, D_t) float32; tanh(β u), β = ``scale``.

        ``image`` and ``text`` of the result depend on their own modality alone.
        """
        image, text = image - self.image_mean, text - self.text_mean
        codes = (
            image @ self.image_map,
            text @ self.text_map,
            image @ self.fused_image_map + text @ self.fused_text_map,
        )
        return PairCodes(*(torch.tanh(scale * u) if self.hashed else u for u in codes))


def canonical_count(config: CrossModalConfig) -> int:
    """Return how many canonical directions are used: min(D_i, D_t, bits)."""
    return min(config.image_dim, config.text_dim, config.bits)


def fit_shallow(
    config: CrossModalConfig, image: np.ndarray, text: np.ndarray, labels: np.ndarray, seed: int
) -> ShallowHasher:
    """Fit the method that ``config.settings["method"]`` names to n training pairs.

    ``image`` (n, D_i) and ``text`` (n, D_t) real, ``labels`` (n, C) of 0 and 1 (read by scm alone);
    ``config.settings`` is the block ``shallow`` of ``params.yaml``. Fits in float64; every random
    draw comes from a stream of ``seed``. Each modality's projections are divided by their root mean
    square over all training rows and bits, so that tanh is neither flat nor linear; no sign changes
    by it. Raises InputError for too few rows, shapes that do not fit, values that are not finite, a
    modality whose features are all constant, and scm without any label.
    """
    _check(config, image, text, labels)
    mean_image, mean_text = (
        image.mean(axis=0, dtype=np.float64),
        text.mean(axis=0, dtype=np.float64),
    )
    x, y = image - mean_image, text - mean_text
    method = config.settings["method"]
    if method == "cmfh":
        maps = _cmfh_maps(config, x, y, numpy_stream(seed, "shallow", "cmfh"))
    elif method == "scm":
        ridge = config.settings["ridge"]
        maps = _mean_maps(x, y, *semantic_directions(x, y, labels, config.bits, ridge))
    else:
        maps = _mean_maps(x, y, *_canonical_maps(config, x, y, seed))
    hasher = ShallowHasher(config)
    values = (mean_image, mean_text, *maps)
    names = (
        "image_mean",
        "text_mean",
        "image_map",
        "text_map",
        "fused_image_map",
        "fused_text_map",
    )
    state = {n: torch.from_numpy(v.astype(np.float32)) for n, v in zip(names, values, strict=True)}
    hasher.load_state_dict(state)
    return hasher.eval()


def _canonical_maps(
    config: CrossModalConfig, x: np.ndarray, y: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    settings: dict[str, Any] = config.settings
    left, right, rho = canonical_directions(x, y, canonical_count(config), settings["ridge"])
    if settings["method"] == "cca":
        return left, right
    left, right = left * rho, right * rho
    if settings["method"] == "random_hyperplanes":
        stream = numpy_stream(seed, "shallow", "hyperplanes")
        expansion = stream.standard_normal((len(rho), config.bits))
    else:
        both = np.vstack([x @ left, y @ right])
        stream = numpy_stream(seed, "shallow", "itq")
        expansion = itq_rotation(both, config.bits, settings["itq_iterations"], stream)
    return left @ expansion, right @ expansion


def _cmfh_maps(
    config: CrossModalConfig, x: np.ndarray, y: np.ndarray, rng: np.random.Generator
) -> _Maps:
    settings = config.settings
    own, unified, objective = collective_factors(
        x,
        y,
        config.bits,
        image_weight=settings["cmfh_image_weight"],
        mu=settings["cmfh_mu"],
        gamma=settings["cmfh_gamma"],
        iterations=settings["cmfh_iterations"],
        rng=rng,
    )
    weight = settings["cmfh_image_weight"]
    of_nothing = weight * np.sum(x**2) + (1 - weight) * np.sum(y**2)  # O where every factor is 0
    if abs(objective[-1] / of_nothing - 1) < LEAST_EXPLAINED:
        raise InputError(
            "shallow.method = cmfh: the factors explain nothing of features this small, codes "
            "would be chance; scale the features up or lower cmfh_mu and cmfh_gamma"
        )
    size = _root_mean_square(x @ unified[0] + y @ unified[1])
    left, right = own[0] / _root_mean_square(x @ own[0]), own[1] / _root_mean_square(y @ own[1])
    return _Maps(left, right, unified[0] / size, unified[1] / size)


def _mean_maps(x: np.ndarray, y: np.ndarray, left: np.ndarray, right: np.ndarray) -> _Maps:
    left, right = left / _root_mean_square(x @ left), right / _root_mean_square(y @ right)
    return _Maps(left, right, left / 2, right / 2)


def _root_mean_square(projections: np.ndarray) -> float:
    size = float(np.sqrt(np.mean(projections**2)))
    if size == 0:
        raise InputError(
            "shallow: image and text features of the training pairs have nothing in common; check "
            "that their rows belong together"
        )
    return size


def _check(
    config: CrossModalConfig, image: np.ndarray, text: np.ndarray, labels: np.ndarray
) -> None:
    method = config.settings["method"]
    wanted = (len(image), config.image_dim), (len(image), config.text_dim)
    if (image.shape, text.shape) != wanted or labels.ndim != 2 or len(labels) != len(image):
        raise InputError(
            f"shallow: image {image.shape}, text {text.shape} and labels {labels.shape} must have "
            f"one row a pair and widths {config.image_dim} and {config.text_dim}"
        )
    canonical = method in ("cca", "cca_itq", "random_hyperplanes")
    least = canonical_count(config) + 1 if canonical else 2
    if len(image) < least:
        raise InputError(
            f"shallow.method = {method}: {len(image)} training rows where at least {least} are "
            "needed; use more rows or fewer bits"
        )
    for name, features in (("image", image), ("text", text)):
        broken = ~np.isfinite(features).all(axis=1)
        if broken.any():
            raise InputError(
                f"shallow: {name} features of training row {int(broken.argmax())} are not finite; "
                "extract them again"
            )
        if (features == features[0]).all():
            raise InputError(
                f"shallow: {name} features are the same in all {len(image)} training rows; nothing "
                "can be learnt from them, check the features file"
            )
    if method == "scm" and not labels.any():
        raise InputError(
            "shallow.method = scm: no training row has a label; give labels or take another method"
        )
