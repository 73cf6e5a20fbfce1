"""Weighted pairwise likelihood of HashNet (Cao et al., ICCV 2017)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def pairwise_likelihood(h: Tensor, labels: Tensor) -> Tensor:
    """Return the weighted negative log likelihood of pair similarities given soft codes.

        (1/|S|) Σ_{i≠j} w_ij [log(1 + exp(a ⟨h_i, h_j⟩)) − a s_ij ⟨h_i, h_j⟩]

    HashNet's equation 4 over the pairs of one micro batch: s_ij = 1 where two rows share a label,
    w_ij = |S|/|S₁| for similar and |S|/|S₀| for dissimilar pairs (equation 2), inner products of
    the soft codes h = tanh(β u). The slope a of the adaptive sigmoid is 10/B, so that the
    argument stays in [−10, 10] at any length and the gradient does not vanish. ``h`` (…, n, B),
    ``labels`` (…, n, C) 0 or 1. A row without a label is similar to none; one row has no pair: 0.
    """
    n, bits = h.shape[-2:]
    inner = (10.0 / bits) * (h @ h.mT)
    similar = (labels @ labels.mT > 0).to(h.dtype)
    pair = 1.0 - h.new_ones(n).diag()
    similar = similar * pair
    dissimilar = pair - similar
    # A kind of pair that the batch lacks has weight |S|/1 on an empty sum.
    loss = F.softplus(inner) - similar * inner
    pairs = (-2, -1)
    term_similar = (similar * loss).sum(pairs) / similar.sum(pairs).clamp(min=1.0)
    term_dissimilar = (dissimilar * loss).sum(pairs) / dissimilar.sum(pairs).clamp(min=1.0)
    return term_similar + term_dissimilar


def pairwise_across(image: Tensor, text: Tensor, labels: Tensor) -> Tensor:
    """Return HashNet's loss over all pairs of the 2n codes, within and across the modalities.

    ``image`` and ``text`` are soft codes (n, B), ``labels`` (n, C). The image and the text of one
    item are a similar pair where it has a label.
    """
    return pairwise_likelihood(torch.cat([image, text]), torch.cat([labels, labels]))
