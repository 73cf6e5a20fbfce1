"""UCMFH's contrastive loss (Xia et al., Information Fusion 2023): NT-Xent across modalities."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmhash.errors import InputError
from mmhash.models.cross_modal import CrossModalConfig
from mmhash.models.ucmfh import UcmfhOutput


def nt_xent(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Return the normalised temperature-scaled cross entropy of n pairs, each (n, D).

        1/(2n) Σ_i −log [ exp(cos(z_i, z_p(i)) / τ) / Σ_{k≠i} exp(cos(z_i, z_k) / τ) ]

    over the 2n views z = [a ; b], where p(i) is the other view of i's pair (SimCLR, Chen et al.,
    ICML 2020, equation 1): all other views, of both halves, are negatives. At least log(2n − 1) for
    views that are all alike. Raises InputError for fewer than 2 pairs, which have no negative.
    """
    n = len(a)
    if n < 2:
        raise InputError(
            f"the contrastive loss compares pairs, at least 2 a batch; this one has {n}"
        )
    views = F.normalize(torch.cat([a, b]), dim=1)
    similarity = views @ views.T / temperature
    itself = torch.eye(2 * n, dtype=torch.bool, device=views.device)
    partner = torch.arange(2 * n, device=views.device).roll(n)
    return F.cross_entropy(similarity.masked_fill(itself, float("-inf")), partner)


def contrastive_terms(output: UcmfhOutput, config: CrossModalConfig) -> dict[str, Tensor]:
    """Return ``loss`` = ``loss_fusion`` + code_weight × ``loss_codes``, and the two by name.

    The first is between the fused halves, the second between the soft codes.
    """
    settings = config.settings
    fusion = nt_xent(output.image_half, output.text_half, settings["temperature"])
    codes = nt_xent(output.image, output.text, settings["temperature"])
    total = fusion + settings["code_weight"] * codes
    return {"loss": total, "loss_fusion": fusion, "loss_codes": codes}
