"""The whole tagger."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mmhash.errors import InputError
from mmhash.losses.alignment import cosine_distance
from mmhash.models.config import (
    AlignConfig,
    ClassifierConfig,
    FusionConfig,
    HashConfig,
    ModelConfig,
)
from mmhash.models.tagger import build_tagger, log_prior_odds

POSITIVES = np.array([0, 3, 50, 100])


def config(name="full", image_dim=6, text_dim=6, **blocks) -> ModelConfig:
    defaults = {
        "fusion": FusionConfig(mlp_dims=(8,)),
        "hash": HashConfig(bits=16),
        "classifier": ClassifierConfig(),
        "align": AlignConfig(),
    }
    return ModelConfig(name, image_dim, text_dim, 4, **(defaults | blocks))


def build(model, seed=7):
    return build_tagger(model, seed, POSITIVES, 100)


def inputs(n=9, image_dim=6, text_dim=6):
    generator = torch.Generator().manual_seed(2)
    image = torch.randn(n, image_dim, generator=generator) * 5
    return image, torch.randn(n, text_dim, generator=generator) * 3


def test_two_builds_are_equal_whatever_was_drawn_before():
    torch.manual_seed(1)
    first = build(config()).state_dict()
    torch.manual_seed(2)
    torch.rand(17)
    before = torch.get_rng_state()
    second = build(config()).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = build(config(), seed=8).state_dict()
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_forward_follows_the_formulas():
    tagger = build(config(hash=HashConfig(bits=16, batch_norm=False))).eval()
    image, text = inputs()
    output = tagger(image, text, 3.0)
    weights = {name: value.double().numpy() for name, value in tagger.state_dict().items()}
    vectors = [image.double().numpy(), text.double().numpy()]
    norms = [np.linalg.norm(v, axis=1, keepdims=True) + 1e-6 for v in vectors]
    d = [v / n for v, n in zip(vectors, norms, strict=True)]
    x = np.concatenate([*d, d[0] * d[1], *map(np.log, norms)], axis=1)
    z = np.maximum(x @ weights["fusion.mlp.0.weight"].T + weights["fusion.mlp.0.bias"], 0)
    u = z @ weights["hash.linear.weight"].T + weights["hash.linear.bias"]
    h = np.tanh(3.0 * u)
    logits = h @ weights["classifier.weight"].T + weights["classifier.bias"]
    for got, expected in ((output.z, z), (output.u, u), (output.h, h), (output.logits, logits)):
        np.testing.assert_allclose(got.detach(), expected, atol=1e-5)


def test_without_hash_the_classifier_reads_z():
    tagger = build(config(hash=HashConfig(enabled=False))).eval()
    output = tagger(*inputs(), 1.0)
    assert output.u is None
    assert output.h is None
    expected = F.linear(output.z, tagger.classifier.weight, tagger.classifier.bias)
    torch.testing.assert_close(output.logits, expected)


def test_mlp_reads_raw_vectors_alone():
    tagger = build(config("mlp")).eval()
    image, text = inputs()
    expected = F.relu(
        F.linear(torch.cat([image, text], 1), *(p for p in tagger.fusion.mlp[0].parameters()))
    )
    output = tagger(image, text, 1.0)
    torch.testing.assert_close(output.z, expected)
    assert {name.split(".")[0] for name in tagger.state_dict()} == {"fusion", "classifier"}


def test_prior_bias_predicts_the_smoothed_frequencies():
    bias = build(config()).classifier.bias.detach().double()
    np.testing.assert_allclose(torch.sigmoid(bias), (POSITIVES + 1) / 102, rtol=1e-6)
    assert np.isfinite(log_prior_odds(np.array([0, 100]), 100)).all()


def test_prior_bias_needs_the_counts():
    with pytest.raises(InputError, match="training counts of all 4 classes"):
        build_tagger(config(), 0)


def test_the_classifier_can_do_without_bias():
    tagger = build(config(classifier=ClassifierConfig(prior_init=False, use_bias=False)))
    assert tagger.classifier.bias is None


def test_align_projection_starts_as_the_identity():
    image, text = inputs()
    output = build(config(align=AlignConfig(True))).eval()(image, text, 1.0)
    torch.testing.assert_close(output.direction_image, F.normalize(image), atol=1e-6, rtol=0)
    torch.testing.assert_close(output.direction_text, F.normalize(text), atol=1e-6, rtol=0)


def test_align_projection_gives_the_cosine_term_a_gradient_and_unit_directions():
    tagger = build(config(align=AlignConfig(True)))
    with torch.no_grad():
        tagger.align_image.weight.mul_(5.0)
        tagger.align_text.weight.mul_(5.0)
    output = tagger(*inputs(), 1.0)
    torch.testing.assert_close(output.direction_image.norm(dim=1), torch.ones(9))
    torch.testing.assert_close(output.direction_text.norm(dim=1), torch.ones(9))
    cosine_distance(output.direction_image, output.direction_text).backward()
    assert tagger.align_text.weight.grad.abs().sum() > 0
    frozen = build(config())(*inputs(), 1.0)
    assert not cosine_distance(frozen.direction_image, frozen.direction_text).requires_grad


@pytest.mark.parametrize("projection", [False, True])
def test_widths_may_differ(projection):
    model = config(text_dim=4, align=AlignConfig(projection))
    output = build(model)(*inputs(text_dim=4), 1.0)
    assert output.logits.shape == (9, 4)
    width = output.direction_image.shape[1]
    assert width == (4 if projection else 6)
    assert (output.direction_text.shape[1] == width) is projection


@settings(max_examples=15)
@given(st.permutations(range(9)), st.floats(0.1, 50))
def test_rows_do_not_influence_each_other_in_evaluation_mode(order, scale):
    tagger = build(config()).eval()
    image, text = inputs()
    straight = tagger(image, text, scale)
    permuted = tagger(image[order], text[order], scale)
    torch.testing.assert_close(permuted.logits, straight.logits[order], atol=1e-5, rtol=1e-5)
    assert straight.h.abs().max() <= 1


def test_float16_features_are_taken_as_they_are_stored():
    tagger = build(config("mlp")).eval()
    image, text = inputs()
    half = tagger(image.half(), text.half(), 1.0)
    assert half.logits.dtype == torch.float32
    torch.testing.assert_close(half.logits, tagger(image, text, 1.0).logits, atol=0.05, rtol=0)
