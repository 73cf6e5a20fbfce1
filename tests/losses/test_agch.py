import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhash.losses.agch import agch_terms
from mmhash.models.agch import Agch, AgchOutput

from ..agch_models import BITS, FAST, N, config, output, pairs, train, unit

CURED = {"cures_direct_alignment": 1.0, "cures_quantisation": 0.5, "cures_balance": 0.5}
RNG = np.random.default_rng(11)


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
