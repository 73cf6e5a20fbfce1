"""Is a cross-modal method alive? Figures of its own, and sentences for what they show.

A method with figures of its own has an entry in :data:`HEALTH`.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmhash.models.agch import Agch, AgchOutput

UNIQUE_LOW = 0.05  # share of items with a code of their own
GRAPH_STD_LOW = 0.02  # of the graph networks' outputs, over items
TEXT_MEAN_HIGH = 0.5  # |mean| of the text encoder's output, in [0, 1]
CORRELATION_LOW = 0.05  # of S with label similarity; .29 was seen as low
AGREEMENT_CHANCE = 0.55  # signs of B_h and B_g; .5 without any relation, .52 was seen
DISTANCE_RATIO_HIGH = 0.95  # image to own text, over image to other texts


def unique_share(code: Tensor) -> float:
    """Return the number of different codes over the number of items; ``code`` (n, bits) soft."""
    # On the CPU: its sort is reported to crash with CUDA 13 (pytorch/FBGEMM, pull request 6163).
    return len(torch.unique((code >= 0).cpu(), dim=0)) / len(code)


def pair_figures(similarity: Tensor, labels: Tensor) -> dict[str, float]:
    """Return how S (n, n) fits ``labels`` (n, C) of 0 and 1, over all pairs of different items.

    Label similarity is the cosine of the rows of labels; a positive pair shares a label. A mean
    over no pair, and a correlation where one side is constant, are 0.
    """
    n = len(labels)
    upper = torch.triu_indices(n, n, offset=1, device=similarity.device)
    rows = F.normalize(labels.to(similarity.device, torch.float64))
    same = (rows @ rows.T)[upper[0], upper[1]]
    s = similarity.to(torch.float64)[upper[0], upper[1]]
    positive = same > 0
    means = [float(s[kind].mean()) if kind.any() else 0.0 for kind in (positive, ~positive)]
    a, b = s - s.mean(), same - same.mean()
    spread = math.sqrt(float(a.square().sum()) * float(b.square().sum()))
    return {
        "s_label_correlation": float((a * b).sum()) / spread if spread > 1e-12 else 0.0,
        "s_positive": means[0],
        "s_negative": means[1],
        "s_gap": means[0] - means[1],
        "positive_pairs": float(positive.double().mean()),
    }


def agch_diagnostics(hasher: Agch, output: AgchOutput, labels: Tensor) -> dict[str, float]:
    """Return figures of n ≥ 2 pairs, at best in eval mode; ``labels`` (n, C) of 0 and 1.

    unique_image, unique_text, unique_fused: :func:`unique_share`. Those of :func:`pair_figures`.
    it_distance: mean Euclidean distance of an image's code to its own text's, both of length 1;
    it_distance_others: to all other texts'. text_output_mean: mean of the text encoder's output.
    With the graph: graph_weight_std of all graph layers; for each modality graph_output_std_…,
    the mean over bits of the standard deviation over items of B_gk, and sign_agreement_…, the
    share of bits in which B_h and B_gk agree.
    """
    b_v, b_t = F.normalize(output.image), F.normalize(output.text)
    distance = torch.cdist(b_v, b_t, compute_mode="donot_use_mm_for_euclid_dist").double()
    n, own = len(distance), distance.diagonal().sum()
    figures = {
        "unique_image": unique_share(output.image),
        "unique_text": unique_share(output.text),
        "unique_fused": unique_share(output.fused),
        **pair_figures(output.similarity, labels),
        "it_distance": float(own / n),
        "it_distance_others": float((distance.sum() - own) / (n * (n - 1))),
        "text_output_mean": float(output.text.mean()),
    }
    weights = [p.detach().flatten() for p in hasher.graphs.parameters() if p.ndim == 2]
    if weights:
        figures["graph_weight_std"] = float(torch.cat(weights).std(correction=0))
    for name, code in (("image", output.graph_image), ("text", output.graph_text)):
        if code is not None:
            figures[f"graph_output_std_{name}"] = float(code.std(dim=0, correction=0).mean())
            agree = (code >= 0) == (output.fused >= 0)
            figures[f"sign_agreement_{name}"] = float(agree.double().mean())
    return figures


def agch_complaints(row: dict[str, float]) -> list[str]:
    """Return one sentence for each figure of :func:`agch_diagnostics` that shows a failure.

    Where a figure is not finite that is the only complaint.
    """
    broken = [name for name, value in row.items() if not math.isfinite(value)]
    if broken:
        return [f"{broken[0]} is not finite: the training diverged; lower the learning rates"]
    complaints = []
    for name in ("image", "text", "fused"):
        if row[f"unique_{name}"] < UNIQUE_LOW:
            complaints.append(
                f"only {row[f'unique_{name}']:.1%} of the {name} codes are different: the codes "
                "have collapsed; try agch.optimizer=adam, agch.cures.first_layer_gain=2.0 or "
                "agch.cures.balance"
            )
    if 0 < row["positive_pairs"] < 1 and row["s_label_correlation"] < CORRELATION_LOW:
        complaints.append(
            f"S correlates {row['s_label_correlation']:.2f} with the labels: what it teaches is "
            "not what is measured; look at the features, agch.gamma_v and agch.gamma_t"
        )
    if abs(row["text_output_mean"]) > TEXT_MEAN_HIGH:
        complaints.append(
            f"the text encoder's output is {row['text_output_mean']:.2f} on average: it is "
            "saturated; lower agch.lr_text, or try agch.cures.text_batch_norm"
        )
    if row["it_distance"] > DISTANCE_RATIO_HIGH * row["it_distance_others"]:
        complaints.append(
            f"an image is {row['it_distance']:.2f} from its own text and "
            f"{row['it_distance_others']:.2f} from others: the modalities are unrelated; try "
            "agch.cures.direct_alignment"
        )
    for name in ("image", "text"):
        if row.get(f"graph_output_std_{name}", 1.0) < GRAPH_STD_LOW:
            complaints.append(
                f"the {name} graph's output varies by {row[f'graph_output_std_{name}']:.3f} over "
                "items: the graph levels all of them; raise agch.delta, lower "
                "agch.weight_decay, or try fewer agch.graph_dims"
            )
        if row.get(f"sign_agreement_{name}", 1.0) < AGREEMENT_CHANCE:
            complaints.append(
                f"B_h and the {name} graph's codes agree in {row[f'sign_agreement_{name}']:.2f} of "
                "their signs, which is chance: the graph teaches nothing; raise agch.delta or "
                "agch.lr_graph"
            )
    return complaints


class Health(NamedTuple):
    """The figures of a method (of the hasher, its output on n pairs, labels), and complaints."""

    diagnostics: Callable[[Any, Any, Tensor], dict[str, float]]
    complaints: Callable[[dict[str, float]], list[str]]


HEALTH = {"agch": Health(agch_diagnostics, agch_complaints)}
