"""AGCH: one similarity from both modalities, taught to codes directly and through graphs.

Zhang, Li, Huang, Xu: Aggregation-based Graph Convolutional Hashing for Unsupervised Cross-Modal
Retrieval (IEEE Transactions on Multimedia 24, 2022). The losses, in :mod:`mmhash.losses.agch`, read
no label; the training loop chooses the epoch by the labels of val.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmhash.models.cross_modal import CrossModalConfig, CrossModalHasher, PairCodes

# The paper's values by dataset; a dataset that it does not have is treated as MIRFlickr-25K.
PAPER: dict[str, dict[str, float]] = {
    "wiki": {
        "alpha": 0.4,
        "beta": 0.3,
        "lambda_h": 5.0,
        "gamma_v": 1.0,
        "gamma_t": 0.8,
        "num_epochs": 150,
    },
    "mirflickr25k": {
        "alpha": 1.0,
        "beta": 1.0,
        "lambda_h": 10.0,
        "gamma_v": 2.0,
        "gamma_t": 0.3,
        "num_epochs": 40,
    },
    "nuswide": {
        "alpha": 1.0,
        "beta": 1.0,
        "lambda_h": 5.0,
        "gamma_v": 2.0,
        "gamma_t": 0.3,
        "num_epochs": 80,
    },
}
LEAKY_SLOPE = 0.2  # of the leaky_relu cure: that of graph attention (Velickovic et al., ICLR 2018)


def agch_settings(block: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    """Return the block ``agch`` of ``params.yaml`` with empty values from :data:`PAPER`.

    >>> agch_settings({"alpha": None, "beta": 0.5}, "wiki")
    {'alpha': 0.4, 'beta': 0.5}
    """
    published = PAPER.get(dataset, PAPER["mirflickr25k"])
    return {key: published[key] if value is None else value for key, value in block.items()}


def joint_features(image: Tensor, text: Tensor, settings: Mapping[str, Any]) -> Tensor:
    """Return Z̃ (n, D_i + D_t) = [γ_v Zv/‖Zv‖ ; γ_t Zt/‖Zt‖], at unit length again.

    A zero row of one modality leaves the other alone. Without ``second_normalisation`` the squared
    length is γ_v² + γ_t² (4.09 with the values for MIRFlickr-25K).
    """
    joint = torch.cat(
        [
            settings["gamma_v"] * F.normalize(image),
            settings["gamma_t"] * F.normalize(text),
        ],
        dim=1,
    )
    return F.normalize(joint) if settings["second_normalisation"] else joint


def similarity(image: Tensor, text: Tensor, settings: Mapping[str, Any]) -> Tensor:
    """Return S (n, n) of a batch of pairs, by ``settings["similarity"]``.

        C = Z̃ Z̃ᵀ    D_ij = exp(−‖Z̃_i − Z̃_j‖₂ / ρ)    S = C ⊙ D

    S is C ⊙ D (``product``), C (``cosine``, AGCH-1), D (``euclid``, AGCH-2) or (C + D) / 2
    (``sum``, AGCH-3). The paper's Eq. 12 prints a root over ‖·‖₂ in D, which ``distance: root``
    takes; its worked example has none (``plain``). ``positive_mapping`` puts (C + 1) / 2 in the
    place of C. ``image`` (n, D_i), ``text`` (n, D_t).
    """
    joint = joint_features(image, text, settings)
    cosine = joint @ joint.T
    if settings["positive_mapping"]:
        cosine = (cosine + 1.0) / 2.0
    # Through the product of matrices, equal rows would be up to 1e-3 apart.
    distance = torch.cdist(joint, joint, compute_mode="donot_use_mm_for_euclid_dist")
    if settings["distance"] == "root":
        distance = distance.sqrt()
    near = torch.exp(-distance / settings["rho"])
    kinds = {
        "product": cosine * near,
        "cosine": cosine,
        "euclid": near,
        "sum": (cosine + near) / 2.0,
    }
    return kinds[settings["similarity"]]


def block_diagonal(adjacency: Tensor, size: int) -> Tensor:
    """Return ``adjacency`` (n, n) with the edges within each ``size`` consecutive rows alone."""
    block = torch.arange(len(adjacency), device=adjacency.device) // size
    return adjacency * (block[:, None] == block)


def normalised_graph(adjacency: Tensor) -> Tensor:
    """Return D^-½ A D^-½ with the degrees D_ii = Σ_j |A_ij|; ``adjacency`` is (n, n) symmetric.

    A may be negative, and so may its plain row sums, which have no root. A node without any edge
    keeps a row of zeros.
    """
    degree = adjacency.abs().sum(dim=1)
    root = torch.where(degree > 0, degree, torch.ones_like(degree)).rsqrt()
    return root[:, None] * adjacency * root


class AgchOutput(NamedTuple):
    """What the loss and the diagnostics read of a batch of n pairs; codes are (n, bits)."""

    similarity: Tensor  # S (n, n), the graph's edges
    target: Tensor  # S' = 2 S − 1 (n, n), what the products of codes are to equal
    image: Tensor  # B_v
    text: Tensor  # B_t, the output of the text encoder
    fused: Tensor  # B_h
    graph_image: Tensor | None  # B_gv; None without the graph
    graph_text: Tensor | None  # B_gt


class Encoder(nn.Module):
    """f = σ(W₁ x + b₁), u = W₂ f + b₂; the graph and the fusion read f."""

    def __init__(self, width: int, hidden: int, bits: int, activation: nn.Module) -> None:
        super().__init__()
        self.first = nn.Linear(width, hidden)
        self.activation = activation
        self.last = nn.Linear(hidden, bits)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return f (n, hidden) and u (n, bits)."""
        f: Tensor = self.activation(self.first(x))
        return f, self.last(f)


class GraphNetwork(nn.Module):
    """H' = σ(Â H W) for each width in ``graph_dims``, then one linear layer to the bits.

    With ``residual`` a layer adds a linear shortcut: H' = σ(Â H W) + H P.
    """

    def __init__(
        self, width: int, dims: list[int], bits: int, activation: nn.Module, residual: bool
    ) -> None:
        super().__init__()
        widths = list(pairwise([width, *dims]))
        self.layers = nn.ModuleList(nn.Linear(*ends, bias=False) for ends in widths)
        self.shortcuts = nn.ModuleList(
            nn.Linear(*ends, bias=False) for ends in (widths if residual else [])
        )
        for layer in (*self.layers, *self.shortcuts):
            # Kipf and Welling (ICLR 2017) begin like this; PyTorch's own weights for a linear
            # layer shrink the signal 2.4 times a layer, until its bias is all the output has.
            nn.init.xavier_uniform_(layer.weight)
        self.activation = activation
        self.last = nn.Linear(dims[-1], bits)

    def forward(self, graph: Tensor, h: Tensor) -> Tensor:
        """Return u (n, bits) of nodes ``h`` (n, width) on the normalised ``graph`` (n, n)."""
        for at, layer in enumerate(self.layers):
            beside = self.shortcuts[at](h) if self.shortcuts else 0.0
            h = self.activation(graph @ layer(h)) + beside
        return self.last(h)


class Agch(CrossModalHasher):
    """Two encoders, a graph network for each modality on one graph, and a fusion.

    Codes at search time come from the encoders alone, so they do not depend on a batch. All ends
    are tanh(β u). The fusion is linear on [f_v ; f_t]; without it (AGCH-4) the code of a pair is
    the normalised mean of both codes. Weights are drawn from torch's global generator.
    """

    def __init__(self, config: CrossModalConfig) -> None:
        super().__init__(config)
        settings = config.settings
        cures = settings["cures"]
        hidden, bits = settings["hidden"], config.bits
        activation = nn.LeakyReLU(LEAKY_SLOPE) if cures["leaky_relu"] else nn.ReLU()
        self.text_norm: nn.Module = (
            nn.BatchNorm1d(config.text_dim) if cures["text_batch_norm"] else nn.Identity()
        )
        self.image_encoder = Encoder(config.image_dim, hidden, bits, activation)
        self.text_encoder = Encoder(config.text_dim, hidden, bits, activation)
        with torch.no_grad():
            self.image_encoder.first.weight *= cures["first_layer_gain"]
            self.text_encoder.first.weight *= cures["first_layer_gain"]
        width = bits if settings["graph_features"] == "codes" else hidden
        self.graphs = nn.ModuleDict()
        for name in ("image", "text") if settings["graph"] else ():
            self.graphs[name] = GraphNetwork(
                width, settings["graph_dims"], bits, activation, settings["graph_residual"]
            )
        self.fusion = nn.Linear(2 * hidden, bits) if settings["fusion"] else None

    def _encode(
        self, image: Tensor, text: Tensor, scale: float
    ) -> tuple[PairCodes, tuple[Tensor, Tensor]]:
        """Return the codes, and the hidden layers f_v and f_t (n, hidden) behind them."""
        if self.config.settings["text_normalisation"]:
            text = F.normalize(text)
        f_v, u_v = self.image_encoder(image)
        f_t, u_t = self.text_encoder(self.text_norm(text))
        b_v, b_t = torch.tanh(scale * u_v), torch.tanh(scale * u_t)
        if self.fusion is None:
            fused = F.normalize(F.normalize(b_v) + F.normalize(b_t))
        else:
            fused = torch.tanh(scale * self.fusion(torch.cat([f_v, f_t], dim=1)))
        return PairCodes(b_v, b_t, fused), (f_v, f_t)

    def forward(self, image: Tensor, text: Tensor, scale: float = 1.0) -> PairCodes:
        """Return B_v, B_t and B_h (n, bits); ``image`` (n, D_i), ``text`` (n, D_t), β = scale."""
        return self._encode(image, text, scale)[0]

    def training_output(self, image: Tensor, text: Tensor, scale: float) -> AgchOutput:
        """Return the codes of a batch with its similarity and, with the graph, B_gv and B_gt.

        The graph's edges are S before it is re-scaled to S' (``graph_input: rescaled`` takes S').
        In eval mode each ``batch_size`` rows have a graph of their own, as in training: the more
        nodes a graph joins, the more it levels them, and diagnostics would see another graph.
        """
        settings = self.config.settings
        codes, hidden = self._encode(image, text, scale)
        s = similarity(image, text, settings)
        target = 2.0 * s - 1.0
        b_gv = b_gt = None
        if settings["graph"]:
            edges = target if settings["graph_input"] == "rescaled" else s
            if not self.training:
                edges = block_diagonal(edges, settings["batch_size"])
            graph = normalised_graph(edges)
            nodes = codes[:2] if settings["graph_features"] == "codes" else hidden
            b_gv = torch.tanh(scale * self.graphs["image"](graph, nodes[0]))
            b_gt = torch.tanh(scale * self.graphs["text"](graph, nodes[1]))
        return AgchOutput(s, target, codes.image, codes.text, codes.fused, b_gv, b_gt)

    def _groups(self) -> list[dict[str, Any]]:
        """Return the parameters of each network that there is, with its name."""
        networks: dict[str, list[nn.Module]] = {
            "image": [self.image_encoder],
            "text": [self.text_norm, self.text_encoder],
            "graph": [self.graphs],
            "fusion": [self.fusion] if self.fusion is not None else [],
        }
        groups = [
            {"name": name, "params": [p for part in parts for p in part.parameters()]}
            for name, parts in networks.items()
        ]
        return [group for group in groups if group["params"]]

    def optimizer(self) -> torch.optim.Optimizer:
        """Return SGD with a rate for each network, or Adam with one rate for all of them.

        Both have the same groups: image, text, and graph and fusion where there are any.
        """
        settings, groups = self.config.settings, self._groups()
        decay = settings["weight_decay"]
        if settings["optimizer"] == "adam":
            return torch.optim.Adam(groups, lr=settings["lr_adam"], weight_decay=decay, fused=True)
        for group in groups:
            group["lr"] = settings[f"lr_{group['name']}"]
        return torch.optim.SGD(
            groups, momentum=settings["momentum"], weight_decay=decay, fused=True
        )

    def turns(self) -> list[list[int]] | None:
        """Return each group by itself with ``step: alternating``; None for the joint step."""
        if self.config.settings["step"] == "joint":
            return None
        return [[at] for at in range(len(self._groups()))]

    def rate_factor(self, epoch: int, step: int) -> float:  # noqa: ARG002
        """Return milestone_factor^m after m of the ``milestones``; ``epoch`` counts from 0."""
        settings = self.config.settings
        passed = sum(milestone <= epoch for milestone in settings["milestones"])
        return float(settings["milestone_factor"] ** passed)
