"""Losses of AGCH, and what its diagnostics find."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhash.losses.agch import (
    agch_complaints,
    agch_diagnostics,
    agch_terms,
    pair_figures,
    unique_share,
)
from mmhash.models.agch import Agch, AgchOutput, agch_settings
from mmhash.models.cross_modal import CrossModalConfig
from mmhash.params import load_params

PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"
BLOCK = load_params(PARAMS).agch.model_dump()
NO_CURES = {
    "text_batch_norm": False,
    "leaky_relu": False,
    "first_layer_gain": 1.0,
    "direct_alignment": 0.0,
    "quantisation": 0.0,
    "balance": 0.0,
    "l3_weight": 1.0,
}
CURED = {"cures_direct_alignment": 1.0, "cures_quantisation": 0.5, "cures_balance": 0.5}
WEIGHTS = {"alpha": 0.4, "beta": 0.3, "lambda_h": 5.0, "delta": 0.01}
N, BITS = 7, 8
RNG = np.random.default_rng(11)


def config(**changes: Any) -> CrossModalConfig:
    """The paper's values for Wiki in small networks; cures.x is written cures_x."""
    block = copy.deepcopy(BLOCK) | {"hidden": 16, "graph_dims": [12, 10], "cures": dict(NO_CURES)}
    for key, value in (WEIGHTS | changes).items():
        if key.startswith("cures_"):
            block["cures"][key.removeprefix("cures_")] = value
        else:
            block[key] = value
    return CrossModalConfig("agch", 6, 9, BITS, agch_settings(block, "wiki"))


def output(**changes: Any) -> AgchOutput:
    """Codes and a similarity out of the air, in float64."""
    rng = np.random.default_rng(3)
    s = rng.uniform(0, 1, (N, N))
    s = torch.from_numpy((s + s.T) / 2)
    codes = [torch.from_numpy(np.tanh(rng.normal(size=(N, BITS)))) for _ in range(5)]
    return AgchOutput(s, 2 * s - 1, *codes)._replace(**changes)


def unit(code: torch.Tensor) -> np.ndarray:
    return code.numpy() / np.linalg.norm(code.numpy(), axis=1, keepdims=True)


def value(terms: dict[str, torch.Tensor], name: str) -> float:
    return terms[name].item()


# --- the formulas


def by_hand(out: AgchOutput) -> dict[str, float]:
    target = out.target.numpy()
    v, t, h, gv, gt = (unit(code) for code in out[2:])

    def gram(a, b):
        return ((target - a @ b.T) ** 2).mean()

    return {
        "loss_l1": gram(v, v) + gram(t, t) + gram(h, h),
        "loss_l2": gram(gv, gv) + ((gv - v) ** 2).mean() + gram(gt, gt) + ((gt - t) ** 2).mean(),
        "loss_l3": 0.3 * gram(v, h)
        + 5 * ((v - h) ** 2).mean()
        + 0.3 * gram(t, h)
        + 5 * ((t - h) ** 2).mean(),
        "loss_alignment": ((v - t) ** 2).mean(),
        "loss_quantisation": sum(((abs(c.numpy()) - 1) ** 2).mean() for c in out[2:5]),
        "loss_balance": sum((c.numpy().mean(axis=0) ** 2).mean() for c in out[2:5]),
    }


def test_every_term_by_hand():
    terms = agch_terms(output(), config(**CURED))
    expected = by_hand(output())
    assert set(terms) == {"loss", *expected}
    for name, number in expected.items():
        assert value(terms, name) == pytest.approx(number, rel=1e-10), name


def test_the_total_is_alpha_l1_and_delta_l2_and_l3():
    e = by_hand(output())
    total = 0.4 * e["loss_l1"] + 0.01 * e["loss_l2"] + e["loss_l3"]
    terms = agch_terms(output(), config())
    assert value(terms, "loss") == pytest.approx(total, rel=1e-10)
    # what is not trained is not in the history, and so in no chart of the training
    assert list(terms) == ["loss", "loss_l1", "loss_l2", "loss_l3"]


@pytest.mark.parametrize("cure", CURED)
def test_a_cure_alone_adds_its_own_term(cure):
    name = "loss_" + cure.removeprefix("cures_").removeprefix("direct_")
    plain, cured = (agch_terms(output(), config(**c)) for c in ({}, {cure: CURED[cure]}))
    assert set(cured) - set(plain) == {name}
    gained = value(cured, "loss") - value(plain, "loss")
    assert gained == pytest.approx(CURED[cure] * by_hand(output())[name], rel=1e-8)


@pytest.mark.parametrize(
    ("change", "term", "more"),
    [
        ("alpha", "loss_l1", 1.0),
        ("delta", "loss_l2", 1.0),
        ("cures_l3_weight", "loss_l3", 1.0),
        ("cures_direct_alignment", "loss_alignment", 0.5),
        ("cures_quantisation", "loss_quantisation", 0.5),
        ("cures_balance", "loss_balance", 0.5),
    ],
)
def test_each_weight_weighs_its_own_term(change, term, more):
    settings_ = config(**CURED).settings
    before = settings_["cures"].get(change.removeprefix("cures_"), settings_.get(change))
    plain = agch_terms(output(), config(**CURED))
    heavier = agch_terms(output(), config(**CURED | {change: before + more}))
    gained = value(heavier, "loss") - value(plain, "loss")
    assert gained == pytest.approx(more * value(plain, term), rel=1e-8)


def test_without_the_graph_l2_is_zero():
    terms = agch_terms(output(graph_image=None, graph_text=None), config(graph=False))
    assert value(terms, "loss_l2") == 0
    assert value(terms, "loss_l1") == value(agch_terms(output(), config()), "loss_l1")


def test_without_fusion_no_term_reads_the_fused_code():
    out = output()
    plain = agch_terms(out, config(fusion=False))
    other = agch_terms(output(fused=-out.fused.flip(0)), config(fusion=False))
    assert {name: value(plain, name) for name in plain} == {
        name: value(other, name) for name in other
    }
    v, t, target = unit(out.image), unit(out.text), out.target.numpy()
    l1 = ((target - v @ v.T) ** 2).mean() + ((target - t @ t.T) ** 2).mean()
    l3 = 2 * (0.3 * ((target - v @ t.T) ** 2).mean() + 5 * ((v - t) ** 2).mean())
    assert value(plain, "loss_l1") == pytest.approx(l1)
    assert value(plain, "loss_l3") == pytest.approx(l3)


def test_codes_that_have_the_target_as_products_cost_nothing():
    code = torch.from_numpy(np.sign(RNG.normal(size=(N, BITS)))) * 0.7
    b = torch.nn.functional.normalize(code)
    target = b @ b.T
    perfect = AgchOutput((target + 1) / 2, target, code, code, code, code, code)
    assert value(agch_terms(perfect, config()), "loss") == pytest.approx(0, abs=1e-12)


@settings(max_examples=20)
@given(st.permutations(range(N)), st.floats(0.01, 1.4))
def test_the_order_of_rows_and_the_length_of_codes_play_no_part(order, factor):
    out = output()
    moved = AgchOutput(
        out.similarity[order][:, order],
        out.target[order][:, order],
        *(factor * code[order] for code in out[2:]),
    )
    a, b = agch_terms(out, config()), agch_terms(moved, config())
    assert value(a, "loss") == pytest.approx(value(b, "loss"), rel=1e-9)
    assert value(a, "loss") >= 0


def test_gradient():
    codes = [code.clone().requires_grad_() for code in output()[2:]]

    def loss(*codes):
        return agch_terms(AgchOutput(*output()[:2], *codes), config(**CURED))["loss"]

    assert torch.autograd.gradcheck(loss, codes)


# --- learning


def pairs(n: int = 32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Image and text features of four classes, with noise, and one-hot labels."""
    rng = np.random.default_rng(5)
    kind = np.arange(n) % 4
    image = rng.normal(size=(4, 6))[kind] + 0.2 * rng.normal(size=(n, 6))
    text = rng.normal(size=(4, 9))[kind] + 0.2 * rng.normal(size=(n, 9))
    return (
        torch.from_numpy(image).float(),
        torch.from_numpy(text).float(),
        torch.from_numpy(np.eye(4)[kind]),
    )


def train(steps: int = 50, **changes: Any) -> tuple[Agch, list[float], dict[str, float]]:
    """Train as the loop does; return the model, the loss at each step and the diagnostics."""
    torch.manual_seed(0)
    model = Agch(config(**changes))
    optimizer = model.optimizer()
    groups = optimizer.param_groups
    image, text, labels = pairs()
    losses = []
    for _ in range(steps):
        for turn in model.turns() or [list(range(len(groups)))]:
            loss = agch_terms(model.training_output(image, text, 1.0), model.config)["loss"]
            optimizer.zero_grad()
            loss.backward()
            for still in set(range(len(groups))) - set(turn):
                for p in groups[still]["params"]:
                    p.grad = None
            optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        return (
            model,
            losses,
            agch_diagnostics(model, model.training_output(image, text, 1.0), labels),
        )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adam"},
        {"optimizer": "adam", "step": "alternating"},
        {"optimizer": "adam", "similarity": "cosine"},
        {"optimizer": "adam", "similarity": "euclid"},
        {"optimizer": "adam", "similarity": "sum"},
        {"optimizer": "adam", "fusion": False},
        {"optimizer": "adam", "graph": False},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())) or "paper",
)
def test_every_variant_learns(changes):
    _, losses, _ = train(40, **changes)
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.9 * losses[0]


def test_a_turn_moves_its_own_network_alone():
    torch.manual_seed(0)
    model = Agch(config(step="alternating"))
    before = copy.deepcopy(model.state_dict())
    optimizer = model.optimizer()
    image, text, _ = pairs()
    agch_terms(model.training_output(image, text, 1.0), model.config)["loss"].backward()
    (at,) = model.turns()[2]
    for i, group in enumerate(optimizer.param_groups):
        if i != at:
            for p in group["params"]:
                p.grad = None
    optimizer.step()
    moved = {n for n, p in model.state_dict().items() if not torch.equal(p, before[n])}
    assert moved
    assert all(name.startswith("graphs") for name in moved)


FAST = {"optimizer": "adam", "lr_adam": 0.01, "weight_decay": 0.0}


def test_direct_alignment_brings_an_image_nearer_to_its_text():
    _, _, plain = train(**FAST, lambda_h=0.0, beta=0.0)
    _, _, aligned = train(**FAST, lambda_h=0.0, beta=0.0, cures_direct_alignment=10.0)
    assert aligned["it_distance"] < 0.9 * plain["it_distance"]


def test_quantisation_moves_codes_to_their_ends_and_balance_keeps_both_ends_in_use():
    sizes, means = {}, {}
    image, text, _ = pairs()
    for weights in ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)):
        quantised, balanced = weights
        model, _, _ = train(**FAST, cures_quantisation=quantised, cures_balance=balanced)
        with torch.no_grad():
            code = model(image, text).image
        sizes[weights] = code.abs().mean()
        means[weights] = code.mean(dim=0).square().mean()
    assert sizes[1, 0] > sizes[0, 0] + 0.1
    assert sizes[1, 1] > sizes[0, 0] + 0.1
    assert means[1, 1] < 0.5 * means[1, 0]


def test_the_graph_teaches_signs_only_where_its_loss_has_a_weight():
    # Adam takes the scale of a gradient away: the graph itself learns the same from any weight
    _, _, without = train(100, **FAST, delta=0.0)
    _, _, taught = train(100, **FAST, delta=1.0)
    for name in ("image", "text"):
        assert taught[f"sign_agreement_{name}"] > without[f"sign_agreement_{name}"] + 0.1


# --- diagnostics


def test_unique_share():
    code = torch.tensor([[0.1, -0.2], [0.9, -0.1], [-0.5, 0.0], [0.0, -1.0]])
    assert unique_share(code) == 2 / 4


def test_pair_figures_by_hand():
    labels = torch.tensor([[1, 0], [1, 1], [0, 1], [0, 0]])
    rng = np.random.default_rng(0)
    s = rng.uniform(size=(4, 4))
    s = (s + s.T) / 2
    got = pair_figures(torch.from_numpy(s), labels)
    upper = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    same = [0.5**0.5, 0, 0, 0.5**0.5, 0, 0]
    values = np.array([s[pair] for pair in upper])
    assert got["s_label_correlation"] == pytest.approx(np.corrcoef(values, same)[0, 1])
    assert got["s_positive"] == pytest.approx(values[[0, 3]].mean())
    assert got["s_negative"] == pytest.approx(values[[1, 2, 4, 5]].mean())
    assert got["s_gap"] == pytest.approx(got["s_positive"] - got["s_negative"])
    assert got["positive_pairs"] == pytest.approx(2 / 6)


@pytest.mark.parametrize("labels", [torch.ones(4, 1), torch.zeros(4, 1)])
def test_labels_without_contrast_give_numbers(labels):
    got = pair_figures(torch.rand(4, 4), labels)
    assert got["s_label_correlation"] == 0
    assert np.isfinite(list(got.values())).all()


def test_diagnostics_by_hand():
    torch.manual_seed(0)
    model, out = Agch(config()), output()
    got = agch_diagnostics(model, out, torch.eye(N))
    v, t = unit(out.image), unit(out.text)
    distance = np.linalg.norm(v[:, None] - t[None], axis=2)
    off = ~np.eye(N, dtype=bool)
    weights = [p.detach().numpy().ravel() for p in model.graphs.parameters() if p.ndim == 2]
    expected = {
        "unique_fused": len(np.unique(out.fused.numpy() >= 0, axis=0)) / N,
        "it_distance": distance.diagonal().mean(),
        "it_distance_others": distance[off].mean(),
        "text_output_mean": out.text.numpy().mean(),
        "graph_weight_std": np.concatenate(weights).std(),
        "graph_output_std_image": out.graph_image.numpy().std(axis=0).mean(),
        "graph_output_std_text": out.graph_text.numpy().std(axis=0).mean(),
        "sign_agreement_image": ((out.graph_image >= 0) == (out.fused >= 0)).numpy().mean(),
        "sign_agreement_text": ((out.graph_text >= 0) == (out.fused >= 0)).numpy().mean(),
    }
    for name, number in expected.items():
        assert got[name] == pytest.approx(number, rel=1e-5), name
    assert all(type(number) is float for number in got.values())


def test_without_the_graph_there_are_no_figures_of_it():
    model = Agch(config(graph=False))
    got = agch_diagnostics(model, output(graph_image=None, graph_text=None), torch.eye(N))
    assert not any(name.startswith(("graph_", "sign_")) for name in got)
    agch_complaints(got)


def test_a_model_that_learnt_from_clear_features_has_no_complaint():
    _, _, figures = train(100, **FAST, delta=1.0)
    assert figures["s_label_correlation"] > 0.8
    assert agch_complaints(figures) == []


def test_a_graph_that_joins_all_alike_is_complained_about():
    torch.manual_seed(0)
    model = Agch(config(similarity="euclid", rho=1e6, batch_size=512)).eval()
    image, text, labels = pairs()
    with torch.no_grad():
        figures = agch_diagnostics(model, model.training_output(image, text, 1.0), labels)
    complaints = agch_complaints(figures)
    assert any("the image graph's output varies" in complaint for complaint in complaints)
    assert any("the text graph's output varies" in complaint for complaint in complaints)


HEALTHY = {
    "unique_image": 0.9,
    "unique_text": 0.9,
    "unique_fused": 0.9,
    "s_label_correlation": 0.3,
    "positive_pairs": 0.1,
    "it_distance": 0.8,
    "it_distance_others": 1.3,
    "text_output_mean": -0.02,
    "graph_output_std_image": 0.3,
    "graph_output_std_text": 0.3,
    "sign_agreement_image": 0.8,
    "sign_agreement_text": 0.8,
}


@pytest.mark.parametrize(
    ("figures", "word"),
    [
        ({"unique_image": 0.01}, "collapsed"),
        ({"unique_text": 0.04}, "text codes"),
        ({"s_label_correlation": 0.01}, "labels"),
        ({"text_output_mean": -0.9}, "saturated"),
        ({"it_distance": 1.29}, "unrelated"),
        ({"graph_output_std_text": 0.01}, "text graph's output varies"),
        ({"sign_agreement_image": 0.52}, "chance"),
        ({"it_distance": float("nan"), "unique_text": 0.0}, "diverged"),
    ],
)
def test_each_failure_has_one_sentence(figures, word):
    assert agch_complaints(HEALTHY) == []
    complaints = agch_complaints(HEALTHY | figures)
    assert len(complaints) == 1
    assert word in complaints[0]
    assert "\n" not in complaints[0]


def test_labels_without_contrast_are_no_reason_to_complain():
    assert agch_complaints(HEALTHY | {"s_label_correlation": 0.0, "positive_pairs": 0.0}) == []


def test_a_complaint_names_settings_that_there_are():
    broken = dict.fromkeys(HEALTHY, 0.0) | {
        "text_output_mean": 1.0,
        "positive_pairs": 0.5,
        "it_distance": 1.0,
    }
    words = " ".join(agch_complaints(broken)).replace(",", " ").replace(";", " ").split()
    named = {word.split("=")[0] for word in words if word.startswith("agch.")}
    assert named
    for name in named:
        place: Any = BLOCK
        for key in name.split(".")[1:]:
            place = place[key]
