"""The sum of all terms, each by its name."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from mmhash.losses.alignment import cosine_distance
from mmhash.losses.classification import asymmetric, bce, class_balanced, focal
from mmhash.losses.hashing import balance, decorrelation, quantisation
from mmhash.losses.pairwise import pairwise_likelihood
from mmhash.models.tagger import TaggerOutput

# The order of the columns in the training history.
TERMS = (
    "loss",
    "classification",
    "cosine",
    "hash",
    "quantisation",
    "balance",
    "decorrelation",
    "pairwise",
)


@dataclass(frozen=True)
class LossWeights:
    """Which classification loss, and the weight of each term."""

    classification: Literal["bce", "focal", "class_balanced", "asymmetric"] = "bce"
    bce_weight: float = 1.0
    cosine_weight: float = 1.0
    hash_weight: float = 0.1
    lambda_balance: float = 0.1
    lambda_decorr: float = 0.01
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    pairwise_weight: float = 0.0


def classification_loss(
    logits: Tensor, labels: Tensor, weights: LossWeights, class_weights: Tensor | None
) -> Tensor:
    """Return L_cls as ``weights.classification`` names it; ``class_weights`` for class_balanced."""
    if weights.classification == "focal":
        return focal(logits, labels, weights.focal_alpha, weights.focal_gamma)
    if weights.classification == "asymmetric":
        return asymmetric(logits, labels)
    if weights.classification == "class_balanced":
        if class_weights is None:
            raise ValueError("the class_balanced loss needs class_weights")
        return class_balanced(logits, labels, class_weights)
    return bce(logits, labels)


def total_loss(
    output: TaggerOutput,
    labels: Tensor,
    weights: LossWeights,
    class_weights: Tensor | None = None,
    aligned: bool = True,
) -> dict[str, Tensor]:
    """Return every term of :data:`TERMS`; ``loss`` is the one to minimise.

        L = w_bce L_cls + α L_cos + γ (L_quant + λ₁ L_balance + λ₂ L_decorr) + w_pair L_pair

    ``labels`` (n, C) float, or (k, n, C) for k micro batches with an ``output`` of as many
    (:meth:`mmhash.models.tagger.TaggerOutput.stacked`): then each term is (k,). The other terms
    are unweighted. Terms that the model has no use for
    are 0: those of the code without a hash layer, L_cos if not ``aligned`` (the MLP baseline, or
    directions of different widths). The pairwise term is computed only if it has a weight. All is
    computed in the dtype of ``labels``, so autocast's half precision stops at the model's output.
    """
    dtype = labels.dtype
    zero = labels.new_zeros(labels.shape[:-2])
    terms = dict.fromkeys(TERMS, zero)
    terms["classification"] = classification_loss(
        output.logits.to(dtype), labels, weights, class_weights
    )
    total = weights.bce_weight * terms["classification"]
    if aligned:
        terms["cosine"] = cosine_distance(
            output.direction_image.to(dtype), output.direction_text.to(dtype)
        )
        total = total + weights.cosine_weight * terms["cosine"]
    if output.h is not None:
        h = output.h.to(dtype)
        terms["quantisation"] = quantisation(h)
        terms["balance"] = balance(h)
        terms["decorrelation"] = decorrelation(h)
        terms["hash"] = (
            terms["quantisation"]
            + weights.lambda_balance * terms["balance"]
            + weights.lambda_decorr * terms["decorrelation"]
        )
        total = total + weights.hash_weight * terms["hash"]
        if weights.pairwise_weight > 0:
            terms["pairwise"] = pairwise_likelihood(h, labels)
            total = total + weights.pairwise_weight * terms["pairwise"]
    terms["loss"] = total
    return terms
