"""What goes into the MLP."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mmhash.models.config import FusionConfig
from mmhash.models.decomposition import decompose
from mmhash.models.fusion import Fusion, dropout_factors, product_width


def pairs(image_dim, text_dim, n=5):
    generator = torch.Generator().manual_seed(3)
    vectors = (
        torch.randn(n, image_dim, generator=generator) * 3,
        torch.randn(n, text_dim, generator=generator) * 2,
    )
    (d_image, m_image), (d_text, m_text) = map(decompose, vectors)
    return vectors, (d_image, d_text), (m_image, m_text)


def test_the_full_input_of_768_wide_towers_is_2306():
    assert Fusion((768, 768), (768, 768), FusionConfig()).input_width == 2306


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("concat", lambda v, d, m: [v[0], v[1]]),
        ("concat_direction", lambda v, d, m: [d[0], d[1]]),
        ("hadamard", lambda v, d, m: [d[0], d[1], d[0] * d[1]]),
        (
            "hadamard_with_magnitude",
            lambda v, d, m: [d[0], d[1], d[0] * d[1], m[0], m[1]],
        ),
    ],
)
def test_each_type_joins_its_parts_in_order(kind, expected):
    fusion = Fusion((6, 6), (6, 6), FusionConfig(type=kind, mlp_dims=(4,)))
    vectors, directions, magnitudes = pairs(6, 6)
    x = fusion.join(vectors, directions, magnitudes)
    numpy = [[t.numpy() for t in pair] for pair in (vectors, directions, magnitudes)]
    np.testing.assert_allclose(x, np.concatenate(expected(*numpy), axis=1), rtol=1e-6)
    assert x.shape[1] == fusion.input_width


@pytest.mark.parametrize(("dim", "width"), [(None, 4), (5, 5)])
def test_differing_widths_meet_in_learned_projections(dim, width):
    fusion = Fusion((6, 4), (6, 4), FusionConfig(type="hadamard", mlp_dims=(3,), dim=dim))
    vectors, directions, magnitudes = pairs(6, 4)
    x = fusion.join(vectors, directions, magnitudes)
    assert x.shape == (5, 6 + 4 + width)
    product = (directions[0] @ fusion.project_image.weight.T) * (
        directions[1] @ fusion.project_text.weight.T
    )
    torch.testing.assert_close(x[:, 10:], product)
    x.sum().backward()
    assert fusion.project_image.weight.grad.abs().sum() > 0
    assert fusion.project_text.weight.grad.abs().sum() > 0


def test_equal_widths_are_multiplied_as_they_are():
    assert product_width(6, 6, None) is None
    fusion = Fusion((6, 6), (6, 6), FusionConfig(type="hadamard", mlp_dims=(3,)))
    assert [name for name, _ in fusion.named_parameters()] == ["mlp.0.weight", "mlp.0.bias"]


@pytest.mark.parametrize(("activation", "layer"), [("relu", nn.ReLU), ("gelu", nn.GELU)])
def test_each_width_is_linear_then_activation_then_dropout(activation, layer):
    fusion = Fusion((6, 6), (6, 6), FusionConfig("concat", [8, 3], 0.25, activation))
    kinds = [type(module) for module in fusion.mlp]
    assert kinds == [nn.Linear, layer, nn.Dropout] * 2
    assert {module.p for module in fusion.mlp if isinstance(module, nn.Dropout)} == {0.25}
    assert fusion(*pairs(6, 6)).shape == (5, 3)


@given(st.integers(1, 40), st.integers(1, 33), st.floats(0.0, 0.99), st.integers(0, 9))
def test_factors_of_dropout_are_0_or_what_makes_the_mean_1(rows, width, p, seed):
    factors = dropout_factors(rows, width, p, torch.Generator().manual_seed(seed))
    assert factors.shape == (rows, width)
    assert set(factors.unique().tolist()) <= {0.0, factors.max().item()}
    if factors.any():
        assert factors.max().item() == pytest.approx(1 / (1 - p), rel=1e-3)
    again = dropout_factors(rows, width, p, torch.Generator().manual_seed(seed))
    assert torch.equal(factors, again)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_factors_of_dropout_are_0_as_often_as_asked_for_and_independent(p):
    zero = dropout_factors(2000, 100, p, torch.Generator().manual_seed(7)).eq(0).double()
    assert zero.mean().item() == pytest.approx(p, abs=4 * (p * (1 - p) / zero.numel()) ** 0.5)
    correlation = torch.corrcoef(zero.T) - torch.eye(100)
    assert correlation.abs().max() < 6 / 2000**0.5  # neighbours share a random number of 64 bits


def test_no_factor_is_0_without_dropout():
    assert (dropout_factors(50, 40, 0.0, torch.Generator()) == 1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_given_factors_take_the_place_of_dropout_behind_each_layer(dtype):
    fusion = Fusion((6, 6), (6, 6), FusionConfig(mlp_dims=(8, 3), dropout=0.5)).to(dtype)
    arguments = [tuple(t.to(dtype) for t in pair) for pair in pairs(6, 6)]
    factors = dropout_factors(5, 11, 0.5, torch.Generator().manual_seed(2))
    z = fusion(*arguments, factors)
    first, second = (layer for layer in fusion.mlp if isinstance(layer, nn.Linear))
    hidden = (first(fusion.join(*arguments)).relu() * factors[:, :8]).to(dtype)
    torch.testing.assert_close(z, (second(hidden).relu() * factors[:, 8:]).to(dtype))
    assert z.dtype == dtype


@pytest.mark.parametrize("kind", ["concat", "concat_direction", "hadamard_with_magnitude"])
@pytest.mark.parametrize(("inputs", "at"), [("image", 0), ("caption", 1)])
def test_one_modality_alone_sees_nothing_of_the_other(kind, inputs, at):
    fusion = Fusion((6, 4), (6, 4), FusionConfig(type=kind, mlp_dims=(3,)), inputs)
    vectors, directions, magnitudes = pairs(6, 4)
    x = fusion.join(vectors, directions, magnitudes)
    parts = [vectors[at]] if kind == "concat" else [directions[at]]
    if kind == "hadamard_with_magnitude":
        parts.append(magnitudes[at])
    torch.testing.assert_close(x, torch.cat(parts, dim=1))
    assert x.shape[1] == fusion.input_width
