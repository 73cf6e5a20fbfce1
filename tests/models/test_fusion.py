"""What goes into the MLP."""

import numpy as np
import pytest
import torch
from torch import nn

from mmhash.models.config import FusionConfig
from mmhash.models.decomposition import decompose
from mmhash.models.fusion import Fusion, product_width


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
