"""AGCH: similarity, graph, networks, and what each of its settings does."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmhash.models.agch import (
    LEAKY_SLOPE,
    PAPER,
    Agch,
    agch_settings,
    joint_features,
    normalised_graph,
    similarity,
)
from mmhash.models.cross_modal import CrossModalConfig

from ..agch_models import BLOCK, NO_CURES

RNG = np.random.default_rng(7)
IMAGE = torch.from_numpy(RNG.normal(size=(12, 6))).float()
TEXT = torch.from_numpy(((RNG.random((12, 9)) < 0.3) + np.eye(12, 9) + np.eye(12, 9, -9)) * 0.5)
TEXT = TEXT.float()
SIZES = {"hidden": 16, "graph_dims": [14, 10]}


def filled(dataset: str = "wiki", /, **changes: Any) -> dict[str, Any]:
    """Settings of the paper, small, with changes; cures.x is written cures_x."""
    block = copy.deepcopy(BLOCK) | SIZES | {"cures": dict(NO_CURES)}
    for key, value in changes.items():
        if key.startswith("cures_"):
            block["cures"][key.removeprefix("cures_")] = value
        else:
            block[key] = value
    return agch_settings(block, dataset)


def hasher(seed: int = 0, **changes: Any) -> Agch:
    torch.manual_seed(seed)
    return Agch(CrossModalConfig("agch", IMAGE.shape[1], TEXT.shape[1], 8, filled(**changes)))


def parameter_names(model: Agch) -> list[list[str]]:
    names = {id(p): name for name, p in model.named_parameters()}
    groups = model.optimizer().param_groups
    return [sorted(names[id(p)] for p in group["params"]) for group in groups]


# --- settings


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("wiki", (0.4, 0.3, 5.0, 1.0, 0.8, 150)),
        ("mirflickr25k", (1.0, 1.0, 10.0, 2.0, 0.3, 40)),
        ("nuswide", (1.0, 1.0, 5.0, 2.0, 0.3, 80)),
        ("sample", (1.0, 1.0, 10.0, 2.0, 0.3, 40)),
    ],
)
def test_empty_values_become_the_papers_for_the_dataset(dataset, expected):
    names = ("alpha", "beta", "lambda_h", "gamma_v", "gamma_t", "num_epochs")
    empty = copy.deepcopy(BLOCK) | dict.fromkeys(names)
    got = agch_settings(empty, dataset)
    assert tuple(got[name] for name in names) == expected
    assert {key: got[key] for key in got if key not in names} == {
        key: BLOCK[key] for key in BLOCK if key not in names
    }


def test_values_that_are_given_stay():
    given_values = dict.fromkeys(PAPER["wiki"], 0.125)
    assert agch_settings(given_values, "wiki") == given_values


def test_params_yaml_has_the_papers_numbers():
    expected = {
        "batch_size": 32,
        "delta": 0.01,
        "rho": 4.0,
        "hidden": 4096,
        "graph_dims": [4096, 2048],
        "lr_image": 1e-4,
        "lr_text": 1e-2,
        "lr_graph": 1e-3,
        "lr_fusion": 1e-2,
        "momentum": 0.9,
        "weight_decay": 5e-4,
    }
    assert {name: BLOCK[name] for name in expected} == expected


# --- similarity


def example_distance(**changes: Any) -> float:
    """D_ab of the paper's worked example, a and b being the joint features themselves."""
    rows = torch.tensor([[0.5, 0.5, 0.5, 0.5, 0.0], [0.3, 0.5, 0.7, 0.4, 0.1]])
    chosen = filled(similarity="euclid", gamma_v=1.0, rho=4.0, **changes)
    return similarity(rows, torch.zeros(2, 1), chosen)[0, 1].item()


def test_the_papers_worked_example_of_d():
    assert round(example_distance(), 2) == 0.92


def test_the_root_that_equation_12_prints_gives_another_value():
    root = example_distance(distance="root")
    assert root == pytest.approx(np.exp(-np.sqrt(np.sqrt(0.1)) / 4), rel=1e-5)
    assert round(root, 2) == 0.87


def by_hand(i: int, j: int, second: bool = True) -> tuple[float, float]:
    """C and D of one pair with the values for Wiki."""

    def joint(row):
        v, t = IMAGE[row].double().numpy(), TEXT[row].double().numpy()
        z = np.concatenate([v / np.linalg.norm(v), 0.8 * t / np.linalg.norm(t)])
        return z / np.linalg.norm(z) if second else z

    a, b = joint(i), joint(j)
    return float(a @ b), float(np.exp(-np.linalg.norm(a - b) / 4))


@pytest.mark.parametrize("second", [True, False])
@pytest.mark.parametrize(
    ("kind", "formula"),
    [
        ("product", lambda c, d: c * d),
        ("cosine", lambda c, d: c),
        ("euclid", lambda c, d: d),
        ("sum", lambda c, d: (c + d) / 2),
    ],
)
def test_similarity_by_hand(kind, formula, second):
    s = similarity(IMAGE, TEXT, filled(similarity=kind, second_normalisation=second))
    expected = [[formula(*by_hand(i, j, second)) for j in range(4)] for i in range(4)]
    np.testing.assert_allclose(s[:4, :4].numpy(), expected, rtol=1e-4, atol=1e-6)


def test_second_normalisation_keeps_the_diagonal_at_one():
    with_it = similarity(IMAGE, TEXT, filled("mirflickr25k"))
    without = similarity(IMAGE, TEXT, filled("mirflickr25k", second_normalisation=False))
    torch.testing.assert_close(with_it.diagonal(), torch.ones(12))
    torch.testing.assert_close(without.diagonal(), torch.full((12,), 4.09))


def test_positive_mapping_takes_the_place_of_the_cosine():
    plain, near = (similarity(IMAGE, TEXT, filled(similarity=k)) for k in ("cosine", "euclid"))
    mapped = (plain + 1) / 2
    for kind, expected in (
        ("cosine", mapped),
        ("product", mapped * near),
        ("sum", (mapped + near) / 2),
        ("euclid", near),
    ):
        got = similarity(IMAGE, TEXT, filled(similarity=kind, positive_mapping=True))
        torch.testing.assert_close(got, expected)


def test_gammas_weigh_the_modalities():
    image_alone = joint_features(IMAGE, TEXT, filled(gamma_t=1e-9))
    torch.testing.assert_close(image_alone[:, :6], F.normalize(IMAGE))


@settings(max_examples=30)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 9),
    st.sampled_from(["product", "cosine", "euclid", "sum"]),
    st.sampled_from(["plain", "root"]),
    st.floats(1e-3, 1e3),
)
def test_similarity_is_symmetric_bounded_and_blind_to_the_scale_of_features(
    seed, n, kind, distance, factor
):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(n, 3, generator=generator)
    text = torch.randn(n, 2, generator=generator)
    chosen = filled(similarity=kind, distance=distance)
    s = similarity(image, text, chosen)
    torch.testing.assert_close(s, s.T)
    torch.testing.assert_close(s.diagonal(), torch.ones(n))
    assert s.abs().max() <= 1 + 1e-5
    # the root has an infinite slope at 0, so near-equal rows are left some room
    torch.testing.assert_close(similarity(factor * image, text, chosen), s, rtol=0, atol=1e-3)


@pytest.mark.parametrize("changes", [{}, {"distance": "root"}, {"graph_input": "rescaled"}])
def test_zero_and_constant_rows_give_numbers_and_gradients(changes):
    image, text = IMAGE.clone(), TEXT.clone()
    image[0], text[0], text[1] = 0, 0, 0
    image[2:4], text[2:4] = 1, 1
    model = hasher(**changes)
    output = model.training_output(image, text, 1.0)
    assert all(torch.isfinite(part).all() for part in output)
    sum(F.normalize(part).square().mean() * (i + 1) for i, part in enumerate(output)).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


# --- graph


def test_graph_normalisation_by_hand():
    a = torch.tensor([[1.0, -0.5], [-0.5, 0.5]])
    expected = [[1 / 1.5, -0.5 / 1.5**0.5], [-0.5 / 1.5**0.5, 0.5]]
    np.testing.assert_allclose(normalised_graph(a).numpy(), expected, rtol=1e-6)


def test_degrees_come_from_absolute_values_and_a_node_alone_stays_zero():
    a = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, -1.0], [0.0, -1.0, 1.0]])
    got = normalised_graph(a)
    assert torch.isfinite(got).all()
    assert (got[0] == 0).all()
    torch.testing.assert_close(got[1:, 1:], a[1:, 1:] / 2)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_eigenvalues_of_a_normalised_graph_are_within_one(seed, n):
    a = torch.randn(n, n, generator=torch.Generator().manual_seed(seed)).double()
    values = torch.linalg.eigvalsh(normalised_graph(a + a.T))
    assert values.abs().max() <= 1 + 1e-9


def test_graph_codes_by_hand():
    model = hasher()
    network = model.graphs["text"]
    output = model.training_output(IMAGE, TEXT, 2.0)
    graph = normalised_graph(similarity(IMAGE, TEXT, model.config.settings))
    h = torch.relu(model.text_encoder.first(TEXT))
    for layer in network.layers:
        h = torch.relu(graph @ h @ layer.weight.T)
    torch.testing.assert_close(output.graph_text, torch.tanh(2 * network.last(h)))


def test_in_eval_mode_the_graph_joins_as_many_rows_as_in_training():
    model = hasher(batch_size=5)
    parts = [model.training_output(IMAGE[i : i + 5], TEXT[i : i + 5], 1.0) for i in (0, 5, 10)]
    whole = model.eval().training_output(IMAGE, TEXT, 1.0)
    torch.testing.assert_close(whole.graph_text, torch.cat([part.graph_text for part in parts]))
    assert (whole.similarity[0, 5:] != 0).any()


def test_each_modality_has_a_graph_network_of_its_own_on_the_same_edges():
    model = hasher()
    output = model.training_output(IMAGE, TEXT, 1.0)
    with torch.no_grad():
        for p in model.graphs["image"].parameters():
            p.zero_()
    changed = model.training_output(IMAGE, TEXT, 1.0)
    assert (changed.graph_image == 0).all()
    torch.testing.assert_close(changed.graph_text, output.graph_text)


@pytest.mark.parametrize("dims", [[5], [5, 4], [5, 4, 3]])
def test_one_to_three_graph_layers(dims):
    model = hasher(graph_dims=dims)
    shapes = [tuple(layer.weight.shape) for layer in model.graphs["image"].layers]
    assert shapes == list(zip(dims, [16, *dims[:-1]], strict=True))
    assert model.training_output(IMAGE, TEXT, 1.0).graph_image.shape == (12, 8)


def test_rescaled_graph_input_takes_the_rescaled_similarity():
    model, plain = hasher(graph_input="rescaled"), hasher()
    plain.load_state_dict(model.state_dict())
    got, other = (m.training_output(IMAGE, TEXT, 1.0) for m in (model, plain))
    torch.testing.assert_close(got.target, 2 * got.similarity - 1)
    torch.testing.assert_close(got.target, other.target)
    f = model.image_encoder(IMAGE)[0]
    expected = model.graphs["image"](normalised_graph(2 * got.similarity - 1), f)
    torch.testing.assert_close(got.graph_image, torch.tanh(expected))
    assert not torch.allclose(got.graph_image, other.graph_image)


def test_graph_features_codes_puts_the_codes_in_the_nodes():
    model = hasher(graph_features="codes")
    assert model.graphs["image"].layers[0].weight.shape == (14, 8)
    output = model.training_output(IMAGE, TEXT, 1.0)
    graph = normalised_graph(output.similarity)
    expected = torch.tanh(model.graphs["text"](graph, output.text))
    torch.testing.assert_close(output.graph_text, expected)


def test_graph_residual_adds_a_linear_shortcut_beside_each_layer():
    model = hasher(graph_residual=True)
    network = model.graphs["image"]
    assert len(network.shortcuts) == 2
    alone = torch.zeros(12, 12)  # without an edge only the shortcuts carry anything
    h = IMAGE @ torch.randn(6, 16)
    expected = network.last(network.shortcuts[1](network.shortcuts[0](h)))
    torch.testing.assert_close(network(alone, h), expected)
    assert len(hasher().graphs["image"].shortcuts) == 0


def test_without_the_graph_there_is_no_graph_network():
    model = hasher(graph=False)
    output = model.training_output(IMAGE, TEXT, 1.0)
    assert output.graph_image is None
    assert output.graph_text is None
    assert not any(name.startswith("graphs") for name, _ in model.named_parameters())


# --- codes


def test_codes_by_hand():
    model = hasher()
    codes = model(IMAGE, TEXT, 3.0)
    f_v = torch.relu(model.image_encoder.first(IMAGE))
    f_t = torch.relu(model.text_encoder.first(TEXT))
    torch.testing.assert_close(codes.image, torch.tanh(3 * model.image_encoder.last(f_v)))
    torch.testing.assert_close(codes.text, torch.tanh(3 * model.text_encoder.last(f_t)))
    fused = torch.tanh(3 * model.fusion(torch.cat([f_v, f_t], dim=1)))
    torch.testing.assert_close(codes.fused, fused)


def test_training_reads_the_codes_that_search_uses():
    model = hasher().eval()
    output, codes = model.training_output(IMAGE, TEXT, 2.0), model(IMAGE, TEXT, 2.0)
    for name in ("image", "text", "fused"):
        torch.testing.assert_close(getattr(output, name), getattr(codes, name))


def test_codes_do_not_depend_on_the_other_rows():
    model = hasher(cures_text_batch_norm=True).eval()
    assert model.batch_mates is None
    whole, part = model(IMAGE, TEXT), model(IMAGE[3:5], TEXT[3:5])
    for a, b in zip(whole, part, strict=True):
        torch.testing.assert_close(a[3:5], b)


def test_an_image_code_does_not_see_the_text():
    model = hasher().eval()
    torch.testing.assert_close(model(IMAGE, TEXT).image, model(IMAGE, TEXT.flip(0)).image)
    torch.testing.assert_close(model(IMAGE, TEXT).text, model(IMAGE.flip(0), TEXT).text)


def test_without_fusion_the_pair_has_the_normalised_mean_of_both_codes():
    model = hasher(fusion=False)
    codes = model(IMAGE, TEXT)
    mean = (F.normalize(codes.image) + F.normalize(codes.text)) / 2
    torch.testing.assert_close(codes.fused, mean / mean.norm(dim=1, keepdim=True))
    assert not any(name.startswith("fusion") for name, _ in model.named_parameters())


@pytest.mark.parametrize("normalised", [True, False])
def test_text_normalisation_makes_the_length_of_a_text_irrelevant(normalised):
    model = hasher(text_normalisation=normalised).eval()
    same = torch.allclose(model(IMAGE, TEXT).text, model(IMAGE, 5 * TEXT).text, atol=1e-6)
    assert same is normalised


def test_weights_follow_the_global_generator():
    a, b, c = hasher(1).state_dict(), hasher(1).state_dict(), hasher(2).state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not any(torch.equal(a[name], c[name]) for name in a)


# --- cures of the networks


def test_text_batch_norm_standardises_the_text_features():
    model = hasher(cures_text_batch_norm=True)
    seen: list[torch.Tensor] = []
    model.text_encoder.first.register_forward_hook(lambda m, args, out: seen.append(args[0]))
    model(IMAGE, TEXT)
    torch.testing.assert_close(seen[0].mean(dim=0), torch.zeros(9), atol=1e-5, rtol=0)
    assert not any(isinstance(m, nn.BatchNorm1d) for m in hasher().modules())


def test_leaky_relu_lets_negative_values_through():
    plain, leaky = hasher(), hasher(cures_leaky_relu=True)
    x = plain.image_encoder.first(IMAGE)
    assert (x < 0).any()
    torch.testing.assert_close(plain.image_encoder(IMAGE)[0], x.clamp(min=0))
    torch.testing.assert_close(leaky.image_encoder(IMAGE)[0], F.leaky_relu(x, LEAKY_SLOPE))
    assert not any(isinstance(m, nn.ReLU) for m in leaky.modules())


def test_first_layer_gain_multiplies_the_first_weights_alone():
    plain, gained = hasher().state_dict(), hasher(cures_first_layer_gain=2.0).state_dict()
    firsts = {"image_encoder.first.weight", "text_encoder.first.weight"}
    for name, value in plain.items():
        torch.testing.assert_close(gained[name], (2 if name in firsts else 1) * value)


# --- optimiser


def test_sgd_has_a_rate_for_each_network():
    model = hasher()
    optimizer = model.optimizer()
    assert isinstance(optimizer, torch.optim.SGD)
    assert [g["lr"] for g in optimizer.param_groups] == [1e-4, 1e-2, 1e-3, 1e-2]
    assert [g["name"] for g in optimizer.param_groups] == ["image", "text", "graph", "fusion"]
    assert {g["momentum"] for g in optimizer.param_groups} == {0.9}
    assert {g["weight_decay"] for g in optimizer.param_groups} == {5e-4}


def test_adam_has_one_rate_for_all():
    optimizer = hasher(optimizer="adam", lr_adam=0.002).optimizer()
    assert isinstance(optimizer, torch.optim.Adam)
    assert {g["lr"] for g in optimizer.param_groups} == {0.002}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("changes", [{}, {"graph": False}, {"cures_text_batch_norm": True}])
def test_each_parameter_is_in_one_group(optimizer, changes):
    model = hasher(optimizer=optimizer, **changes)
    grouped = [name for group in parameter_names(model) for name in group]
    assert sorted(grouped) == sorted(name for name, _ in model.named_parameters())


def test_joint_and_alternating_turns():
    assert hasher().turns() is None
    assert hasher(step="alternating").turns() == [[0], [1], [2], [3]]
    assert hasher(step="alternating", graph=False, fusion=False).turns() == [[0], [1]]


def test_rates_fall_after_each_milestone():
    model = hasher(milestones=[2, 3], milestone_factor=0.1)
    factors = [model.rate_factor(epoch, 0) for epoch in range(5)]
    np.testing.assert_allclose(factors, [1, 1, 0.1, 0.01, 0.01])
    assert hasher(milestones=[]).rate_factor(100, 5000) == 1
