"""UCMFH: tokens, who sees whom, codes, rates."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mmhash.errors import InputError
from mmhash.losses.contrastive import contrastive_terms
from mmhash.models.cross_modal import CrossModalConfig
from mmhash.models.ucmfh import Ucmfh, half_width, ucmfh_settings

BLOCK = {
    "batch_size": 6,
    "num_epochs": None,
    "train_rows": None,
    "attention": "batch",
    "query": "both",
    "layers": 2,
    "heads": 4,
    "temperature": 0.5,
    "hidden": 32,
    "dropout": 0.3,
    "code_weight": 0.5,
    "lr_fusion": 0.0001,
    "lr_codes": 0.001,
    "milestones": None,
    "milestone_factor": None,
}


def hasher(image_dim=7, text_dim=5, **changes) -> Ucmfh:
    torch.manual_seed(3)
    settings = ucmfh_settings(BLOCK | changes, "sample")
    return Ucmfh(CrossModalConfig("ucmfh", image_dim, text_dim, 16, settings)).eval()


def pairs(n=6, image_dim=7, text_dim=5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(n, image_dim, generator=generator),
        torch.randn(n, text_dim, generator=generator),
    )


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [("coco2014", (500, 4992, [200], 0.6)), ("wiki", (100, None, [30, 80], 1.2))],
)
def test_empty_settings_are_the_published_ones(dataset, expected):
    settings = ucmfh_settings(BLOCK, dataset)
    keys = ("num_epochs", "train_rows", "milestones", "milestone_factor")
    assert tuple(settings[key] for key in keys) == expected
    assert settings | dict.fromkeys(keys) == BLOCK


def test_given_settings_stay():
    given_values = {"num_epochs": 3, "train_rows": 9, "milestones": [], "milestone_factor": 2.0}
    assert ucmfh_settings(BLOCK | given_values, "coco2014") == BLOCK | given_values


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12))
def test_both_halves_hold_both_widths_and_the_heads_divide_the_token(image_dim, text_dim, heads):
    width = half_width(image_dim, text_dim, heads)
    assert width >= max(image_dim, text_dim)
    assert 2 * width % heads == 0
    assert width - max(image_dim, text_dim) < heads


def test_the_token_is_padded_image_and_padded_text():
    model = hasher()
    image, text = pairs()
    seen = []
    model.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model.training_output(image, text, 1.0)
    zeros = torch.zeros(6, 3)
    expected = torch.cat([image, zeros[:, :1], text, zeros], dim=1)
    torch.testing.assert_close(seen[0], expected[None])


@pytest.mark.parametrize("hidden", [32, 0])
def test_codes_follow_the_formula(hidden):
    model = hasher(hidden=hidden, attention="sample")
    image, text = pairs()
    token = torch.cat([F.pad(image, (0, 1)), F.pad(text, (0, 3))], dim=1)
    for row in range(6):
        out = model.encoder(token[row : row + 1])[0]
        fused = out / out.norm()
        halves = fused[:8], fused[8:]
        codes = []
        for half, network in zip(halves, (model.image_hash, model.text_hash), strict=True):
            first, *rest = [m for m in network if isinstance(m, torch.nn.Linear)]
            u = half / half.norm() @ first.weight.T + first.bias
            if rest:
                u = u.clamp(min=0) @ rest[0].weight.T + rest[0].bias
            codes.append(torch.tanh(2.5 * u))
        got = model(image, text, 2.5)
        torch.testing.assert_close(got.image[row], codes[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(got.text[row], codes[1], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(got.fused[row], (codes[0] + codes[1]) / 2, atol=1e-5, rtol=1e-4)


def test_rows_of_a_batch_see_each_other_in_encoding_as_published():
    model, (image, text), (others, stories) = hasher(), pairs(), pairs(seed=2)
    assert model.batch_mates == 6
    alone = model(image[:1], text[:1]).image
    among = model(torch.cat([image[:1], others]), torch.cat([text[:1], stories])).image[:1]
    assert (alone - among).abs().max() > 1e-3


@pytest.mark.parametrize("query", ["both", "single"])
@pytest.mark.parametrize("attention", ["batch", "sample"])
def test_no_row_sees_another_in_training(attention, query):
    model, (image, text), (others, stories) = (
        hasher(attention=attention, query=query),
        pairs(),
        pairs(seed=2),
    )
    own = model.training_output(image, text, 1.0)
    others[2], stories[2] = image[2], text[2]
    moved = model.training_output(others, stories, 1.0)
    for a, b in zip(own, moved, strict=True):
        assert torch.equal(a[2], b[2])
        assert not torch.equal(a[1], b[1])


@pytest.mark.parametrize("query", ["both", "single"])
def test_with_attention_sample_a_code_is_that_of_its_row_alone(query):
    model, (image, text) = hasher(attention="sample", query=query), pairs()
    assert model.batch_mates is None
    together = model(image, text)
    for row in range(6):
        one = model(image[row : row + 1], text[row : row + 1])
        for a, b in zip(one, together, strict=True):
            torch.testing.assert_close(a[0], b[row], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("attention", ["batch", "sample"])
def test_the_order_of_a_batch_changes_no_code(attention):
    model, (image, text) = hasher(attention=attention), pairs()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    codes, moved = model(image, text), model(image[order], text[order])
    torch.testing.assert_close(moved.image, codes.image[order], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("attention", ["batch", "sample"])
def test_a_single_query_knows_nothing_of_the_other_modality(attention):
    model = hasher(attention=attention, query="single")
    (image, text), (others, stories) = pairs(), pairs(seed=2)
    own, retold, redrawn = model(image, text), model(image, stories), model(others, text)
    assert torch.equal(own.image, retold.image)
    assert torch.equal(own.text, redrawn.text)
    assert not torch.equal(own.fused, retold.fused)


def test_a_query_of_both_brings_both_modalities():
    model = hasher(attention="sample")
    (image, text), (others, stories) = pairs(), pairs(seed=2)
    own, retold, redrawn = model(image, text), model(image, stories), model(others, text)
    assert (own.image - retold.image).abs().max() > 1e-3
    assert (own.text - redrawn.text).abs().max() > 1e-3


@pytest.mark.parametrize("query", ["both", "single"])
@pytest.mark.parametrize("widths", [(7, 5), (5, 7), (1, 1), (8, 8)])
def test_every_parameter_learns_and_the_loss_falls(widths, query):
    model = hasher(*widths, query=query).train()
    image, text = pairs(6, *widths)
    optimizer = model.optimizer()
    losses = []
    for _ in range(8):
        terms = contrastive_terms(model.training_output(image, text, 1.0), model.config)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        losses.append(float(terms["loss"].detach()))
    assert all(p.grad is not None for p in model.parameters())
    assert losses[-1] < losses[0]


def test_all_layers_start_alike_and_the_same_seed_gives_the_same_model():
    first, second = hasher(), hasher()
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    one, two = first.encoder.layers
    assert torch.equal(one.linear1.weight, two.linear1.weight)


def test_the_optimiser_is_adam_with_a_group_for_fusion_and_one_for_codes():
    model = hasher()
    optimizer = model.optimizer()
    assert isinstance(optimizer, torch.optim.Adam)
    fusion, codes = optimizer.param_groups
    assert (fusion["lr"], codes["lr"]) == (1e-4, 1e-3)
    assert fusion["betas"] == codes["betas"] == (0.5, 0.999)
    assert (fusion["scheduled"], codes["scheduled"]) == (False, True)
    held = [id(p) for group in (fusion, codes) for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    assert {id(p) for p in model.encoder.parameters()} == {id(p) for p in fusion["params"]}


@pytest.mark.parametrize("milestones", [[30, 80], [80, 30], [200], [], [5, 5]])
def test_rates_follow_multi_step_of_pytorch_stepped_each_iteration(milestones):
    model = hasher(milestones=milestones, milestone_factor=0.6)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.6)
    for step in range(220):
        factor = model.rate_factor(step // 7, step)
        assert math.isclose(factor, optimizer.param_groups[0]["lr"], rel_tol=1e-12)
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("attention", ["batch", "sample"])
@pytest.mark.parametrize("value", [0.0, 1.0, 1e4])
def test_identical_rows_give_finite_codes_loss_and_gradients(attention, value):
    model = hasher(attention=attention).train()
    image, text = torch.full((6, 7), value), torch.full((6, 5), value)
    output = model.training_output(image, text, 1.0)
    contrastive_terms(output, model.config)["loss"].backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())
    assert all(bool(code.isfinite().all()) for code in (*output, *model.eval()(image, text)))


@pytest.mark.parametrize(
    ("image", "text"), list(itertools.pairwise([(6, 7), (6, 4), (5, 5), (6, 6), (0, 5)]))
)
def test_features_of_other_shapes_are_named(image, text):
    with pytest.raises(InputError, match="do not fit a model of widths 7 and 5") as caught:
        hasher()(torch.zeros(image), torch.zeros(text))
    assert "\n" not in str(caught.value)


def test_one_pair_can_be_encoded_but_not_learnt_from():
    model, (image, text) = hasher(), pairs(1)
    assert model(image, text).fused.shape == (1, 16)
    output = model.training_output(image, text, 1.0)
    with pytest.raises(InputError, match="at least 2 a batch; this one has 1"):
        contrastive_terms(output, model.config)
