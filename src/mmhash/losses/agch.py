"""Losses of AGCH (Zhang et al., IEEE TMM 24, 2022).

Every B is L2-normalised a row, every ‖·‖² is the mean over all entries. With S' = 2 S − 1:

    L1 = Σ_{k∈v,t,h} ‖S' − B_k B_kᵀ‖²
    L2 = Σ_{k∈v,t} ‖S' − B_gk B_gkᵀ‖² + ‖B_gk − B_k‖²
    L3 = Σ_{k∈v,t} β ‖S' − B_k B_hᵀ‖² + λ ‖B_k − B_h‖²
    L  = α L1 + δ L2 + L3
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmhash.losses.hashing import balance, quantisation
from mmhash.models.agch import AgchOutput
from mmhash.models.cross_modal import CrossModalConfig


def gram_loss(target: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return mean (S' − B Bᵀ)²; ``target`` (n, n), ``left`` and ``right`` (n, bits) unit rows."""
    return F.mse_loss(left @ right.T, target)


def agch_terms(output: AgchOutput, config: CrossModalConfig) -> dict[str, Tensor]:
    """Return the loss and its parts by name; ``loss`` is the one to minimise.

        loss = α L1 + δ L2 + w₃ L3 + w_d ‖B_v − B_t‖² + w_q Σ_{v,t,h} L_quant + w_b Σ_{v,t,h} L_bal

    The parts are without these weights; β and λ are within L3. The weights from w₃ on are cures,
    which the paper does not have, and the last three terms are there only where their weight is
    above 0; L_quant and L_bal (:mod:`mmhash.losses.hashing`) read the codes before normalisation.
    Without the graph L2 is 0. Without the fusion no term reads B_h: in L3 the
    code of the other modality stands in its place, since nothing else would relate the bits of
    images to those of texts.
    """
    settings = config.settings
    cures, target = settings["cures"], output.target
    learned = [output.image, output.text, *([output.fused] if settings["fusion"] else [])]
    b = [F.normalize(code) for code in learned]
    b_v, b_t = b[:2]
    l1 = torch.stack([gram_loss(target, code, code) for code in b]).sum()
    l2 = l1.new_zeros(())
    if output.graph_image is not None and output.graph_text is not None:
        for code, graph in ((b_v, output.graph_image), (b_t, output.graph_text)):
            b_g = F.normalize(graph)
            l2 = l2 + gram_loss(target, b_g, b_g) + F.mse_loss(b_g, code)
    l3 = l1.new_zeros(())
    towards = (b[2], b[2]) if settings["fusion"] else (b_t, b_v)
    for code, other in zip((b_v, b_t), towards, strict=True):
        l3 = l3 + settings["beta"] * gram_loss(target, code, other)
        l3 = l3 + settings["lambda_h"] * F.mse_loss(code, other)
    terms = {"loss_l1": l1, "loss_l2": l2, "loss_l3": l3}
    total = settings["alpha"] * l1 + settings["delta"] * l2 + cures["l3_weight"] * l3
    if cures["direct_alignment"]:
        terms["loss_alignment"] = F.mse_loss(b_v, b_t)
        total = total + cures["direct_alignment"] * terms["loss_alignment"]
    for name, term in (("quantisation", quantisation), ("balance", balance)):
        if cures[name]:
            terms[f"loss_{name}"] = torch.stack([term(code) for code in learned]).sum()
            total = total + cures[name] * terms[f"loss_{name}"]
    return {"loss": total} | terms
