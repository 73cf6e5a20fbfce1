"""The mechanisms that ``close_the_gap.py`` screens, one by one, in a loop of their own.

Those that lost are prototypes and stay here, so that the table can be repeated.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import scipy.linalg
import torch
import torch.nn.functional as F
from torch import Tensor
from training_runs import PARAMS, with_overrides

from mmhash.experiment import loss_weights, model_config, train_settings
from mmhash.features import Dataset
from mmhash.losses.total import total_loss
from mmhash.models.hash_layer import hash_scale
from mmhash.models.tagger import Tagger, TaggerOutput, build_tagger
from mmhash.params import load_params
from mmhash.seeding import stream_seed
from mmhash.training.batches import FeatureStore, plan_epoch, windows
from mmhash.training.schedule import learning_rate

SMALL: dict[str, Any] = {
    "fusion.mlp_dims": [512, 256],
    "train.lr": 1e-3,
    "train.batch_size": 512,
    "train.gradient_accumulation_steps": 1,
    "train.num_epochs": 6,
}


@dataclass(frozen=True)
class Mechanism:
    """Overrides of params.yaml, and what only this file knows."""

    overrides: dict[str, Any] = field(default_factory=dict)
    sign: bool = False  # the classifier reads the bits, gradient straight through
    vote: float = 0.0  # weight of the vote's own likelihood
    vote_tau: float = 0.07
    vote_sign: bool = True  # the vote of the bits, or of h
    flips: float = 0.0  # share of the bits that the classifier reads wrongly, drawn at each step
    bank: int = 0  # detached codes of so many earlier rows vote too
    central: float = 0.0  # weight of central similarity
    nested: bool = False  # each of the first 16, 32, 64, ... bits must classify
    weighted: bool = False  # afterwards, a vote in which bits count by the classifier's use of them
    teacher: bool = False  # half of the target comes from the model without hash


PLAIN = {"loss.hash_weight": 0.0}
PLAN_LOSS = {"loss.hash_weight": 0.1, "loss.hash_reg.lambda_decorr": 0.01}
BETA = {"hash.schedule": "linear"}
MECHANISMS: dict[str, Mechanism] = {
    "no hash, plan": Mechanism({"hash.enabled": False, "classifier.prior_init": False}),
    "no hash, prior": Mechanism({"hash.enabled": False}),
    "prior + BN, γ .1": Mechanism(PLAN_LOSS),
    "prior + BN, γ 0": Mechanism(PLAIN),
    "+ sign": Mechanism(PLAIN, sign=True),
    "+ vote": Mechanism(PLAIN, vote=1.0),
    "+ sign + vote": Mechanism(PLAIN, sign=True, vote=1.0),
    "+ .3 vote, bank 8192, τ .04": Mechanism(PLAIN, vote=0.3, vote_tau=0.04, bank=8192),
    "+ β to 5": Mechanism(PLAIN | BETA | {"hash.scale_max": 5.0}),
    "+ β to 10": Mechanism(PLAIN | BETA | {"hash.scale_max": 10.0}),
    "+ flips .05": Mechanism(PLAIN, flips=0.05),
    "+ sign + flips .05": Mechanism(PLAIN, sign=True, flips=0.05),
    "+ teacher": Mechanism(PLAIN, teacher=True),
    "+ teacher + sign": Mechanism(PLAIN, teacher=True, sign=True),
    "+ .1 central": Mechanism(PLAIN, central=0.1),
    "+ nested": Mechanism(PLAIN, nested=True),
    "+ .1 pairwise": Mechanism(PLAIN | {"loss.pairwise_weight": 0.1}),
    "+ bit weights": Mechanism(PLAIN, weighted=True),
    "+ GELU": Mechanism(PLAIN | {"fusion.activation": "gelu"}),
    "+ γ .01": Mechanism(PLAN_LOSS | {"loss.hash_weight": 0.01}),
    "+ decorrelation": Mechanism({"loss.hash_weight": 0.03, "loss.hash_reg.lambda_decorr": 100.0}),
}


def straight_through(h: Tensor) -> Tensor:
    """Return the bits as ±1, with the gradient of h (Bengio et al., 2013)."""
    bits = torch.where(h >= 0, 1.0, -1.0)
    return h + (bits - h).detach()


def vote_likelihood(
    queries: Tensor, items: Tensor, item_labels: Tensor, labels: Tensor, tau: float
) -> Tensor:
    """Return the cross-entropy of the vote: p_i = Σ_j softmax_j((1 + ⟨q_i, b_j⟩ / B) / 2τ) y_j.

    Items begin with the queries themselves, which have no vote in their own case. Neighbourhood
    components (Goldberger et al., 2004) for many labels; one part in a hundred of p is the mean
    label, so that a class no item has costs a finite amount.
    """
    similarity = (1.0 + queries @ items.T / queries.shape[1]) / (2.0 * tau)
    similarity = similarity - torch.eye(len(queries), len(items)) * 1e9
    p = F.softmax(similarity, dim=1) @ item_labels
    p = (0.99 * p + 0.01 * item_labels.mean(dim=0)).clamp(1e-6, 1 - 1e-6)
    return F.binary_cross_entropy(p, labels)


def central_similarity(h: Tensor, labels: Tensor, centres: Tensor) -> Tensor:
    """Return CSQ's loss (Yuan et al., CVPR 2020): bits against the centroid of the classes."""
    some = labels.any(dim=1)
    target = (torch.sign(labels @ centres)[some] + 1.0) / 2.0
    return F.binary_cross_entropy(((h[some] + 1.0) / 2.0).clamp(1e-6, 1 - 1e-6), target)


def class_centres(classes: int, bits: int) -> Tensor:
    """Return rows of a Hadamard matrix and their negatives, one a class, (classes, bits)."""
    matrix = torch.from_numpy(scipy.linalg.hadamard(bits).astype(np.float32))
    rows = torch.cat([matrix, -matrix])
    if len(rows) >= classes:
        return rows[:classes]
    generator = torch.Generator().manual_seed(0)
    return torch.sign(torch.randn(classes, bits, generator=generator))


def fit(
    data: Dataset, mechanism: Mechanism, seed: int, teacher: Tagger | None = None
) -> tuple[Tagger, float]:
    """Train one mechanism to the last epoch; return the tagger and its β."""
    params = with_overrides(load_params(PARAMS), SMALL | mechanism.overrides | {"train.seed": seed})
    features, rows = data.features, data.training_rows()
    config = model_config(params, features.image.shape[1], features.text.shape[1], 80)
    weights, settings = loss_weights(params), train_settings(params)
    positives = features.labels[rows].sum(axis=0, dtype=np.int64)
    tagger = build_tagger(config, seed, positives, len(rows))
    optimizer = torch.optim.AdamW(
        tagger.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
    )
    store = FeatureStore(features, torch.device("cpu"))
    steps = windows(len(rows), settings.batch_size, 1)
    bank_codes, bank_labels = torch.empty(0, config.hash.bits), torch.empty(0, 80)
    centres = class_centres(80, config.hash.bits)
    scale = 1.0
    for epoch in range(settings.num_epochs):
        scale = hash_scale(
            config.hash.schedule,
            epoch,
            settings.num_epochs,
            config.hash.scale_min,
            config.hash.scale_max,
        )
        torch.manual_seed(stream_seed(seed, "dropout", epoch))
        plan = plan_epoch(features, rows, seed, epoch)
        order, captions = store.index(plan.rows), store.index(plan.captions)
        tagger.train()
        for step, window in enumerate(steps):
            start, stop = window[0]
            image, text, labels = store.batch(order[start:stop], captions[start:stop])
            output = tagger(image, text, scale)
            target = labels
            if teacher is not None:
                with torch.no_grad():
                    target = (labels + torch.sigmoid(teacher(image, text, 1.0).logits)) / 2.0
            loss = total_loss(_read(tagger, output, mechanism), target, weights)["loss"]
            if output.h is not None:
                if mechanism.nested:
                    loss = loss + _nested(tagger, output.h, target)
                if mechanism.central:
                    loss = loss + mechanism.central * central_similarity(output.h, labels, centres)
                if mechanism.vote:
                    code = straight_through(output.h) if mechanism.vote_sign else output.h
                    items = torch.cat([code, bank_codes])
                    loss = loss + mechanism.vote * vote_likelihood(
                        code, items, torch.cat([labels, bank_labels]), target, mechanism.vote_tau
                    )
                    if mechanism.bank:
                        bank_codes = items.detach()[: mechanism.bank]
                        bank_labels = torch.cat([labels, bank_labels])[: mechanism.bank]
            rate = learning_rate(
                epoch * len(steps) + step,
                settings.num_epochs * len(steps),
                settings.lr,
                settings.warmup_ratio,
                settings.min_lr,
            )
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss.backward()
            torch.nn.utils.clip_grad_norm_(tagger.parameters(), settings.gradient_clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return tagger.eval(), scale


def _read(tagger: Tagger, output: TaggerOutput, mechanism: Mechanism) -> TaggerOutput:
    """Let the classifier read the bits, or some of them wrongly, if the mechanism says so."""
    if output.h is None or not (mechanism.sign or mechanism.flips):
        return output
    code = straight_through(output.h) if mechanism.sign else output.h
    if mechanism.flips:
        code = torch.where(torch.rand_like(code) < mechanism.flips, -code, code)
    return output._replace(logits=tagger.classifier(code))


def _nested(tagger: Tagger, h: Tensor, labels: Tensor) -> Tensor:
    """Return the mean BCE of the classifier on each shorter prefix of the code."""
    lengths = [length for length in (16, 32, 64, 128) if length < h.shape[1]]
    weight, bias = tagger.classifier.weight, tagger.classifier.bias
    losses = [
        F.binary_cross_entropy_with_logits(F.linear(h[:, :n], weight[:, :n], bias), labels)
        for n in lengths
    ]
    return torch.stack(losses).mean()
