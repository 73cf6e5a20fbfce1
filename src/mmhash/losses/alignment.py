"""Alignment of the two modalities' directions."""

from torch import Tensor


def cosine_distance(direction_image: Tensor, direction_text: Tensor) -> Tensor:
    """Return L_cos = mean(1 − d_imgᵀ d_txt) over rows; both (…, n, D), of length 1.

    The squared Euclidean distance of unit vectors is 2 (1 − dᵀd), so it would add nothing.
    """
    return (1.0 - (direction_image * direction_text).sum(dim=-1)).mean(dim=-1)
