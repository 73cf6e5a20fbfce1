import numpy as np
import pytest
import torch

from mmhash.encoders.checkpoint import Towers
from mmhash.encoders.pixels import decode, tower_inputs
from mmhash.encoders.prototypes import cosine_scores, prototypes
from mmhash.encoders.text import token_ids
from mmhash.errors import InputError

NAMES = ["dog", "traffic light", "Cat"]
PROMPTS = ["a photo of a {}.", "a drawing of a {}, small"]


def test_prototypes_are_the_mean_on_the_unit_sphere(fixed_towers: Towers) -> None:
    ours = prototypes(fixed_towers.encode_texts, NAMES, PROMPTS, batch=4)
    assert ours.shape == (3, 32)
    assert ours.dtype == np.float32
    for name, row in zip(NAMES, ours, strict=True):
        vectors = fixed_towers.encode_texts([p.format(name) for p in PROMPTS]).double()
        units = vectors / vectors.norm(dim=1, keepdim=True)
        mean = units.mean(dim=0)
        np.testing.assert_allclose(row, (mean / mean.norm()).numpy(), atol=1e-6)


def test_every_prompt_weighs_the_same(fixed_towers: Towers) -> None:
    # The mean of raw vectors would favour the prompt whose vectors are long.
    long_text, short_text = fixed_towers.encode_texts([p.format("dog") for p in PROMPTS])
    assert (long_text.norm() - short_text.norm()).abs() > 1e-3
    row = torch.from_numpy(prototypes(fixed_towers.encode_texts, ["dog"], PROMPTS)[0])
    cosines = [torch.cosine_similarity(row, v, dim=0) for v in (long_text, short_text)]
    assert cosines[0] == pytest.approx(float(cosines[1]), abs=1e-5)


@pytest.mark.parametrize(("names", "prompts"), [([], PROMPTS), (NAMES, []), (NAMES, ["a photo"])])
def test_unusable_prompts_are_input_errors(
    fixed_towers: Towers, names: list[str], prompts: list[str]
) -> None:
    with pytest.raises(InputError):
        prototypes(fixed_towers.encode_texts, names, prompts)


def test_logits_equal_those_of_the_joint_forward(fixed_towers: Towers, pictures: list) -> None:
    batch, _ = decode(pictures, fixed_towers.pixels)
    features = fixed_towers.encode_images(batch).numpy()
    rows = prototypes(fixed_towers.encode_texts, ["dog", "cat"], ["{}"])
    cosines = cosine_scores(features, rows)
    ours = cosines * np.exp(fixed_towers.logit_scale) + fixed_towers.logit_bias
    with torch.no_grad():
        joint = fixed_towers.model(
            input_ids=token_ids(["dog", "cat"], fixed_towers.tokenizer, 64),
            **tower_inputs(batch, fixed_towers.pixels),
        )
    np.testing.assert_allclose(ours, joint.logits_per_image.numpy(), atol=1e-4)
    assert cosines.dtype == np.float32


def test_cosine_scores_ignore_the_magnitude(fixed_towers: Towers) -> None:
    rows = prototypes(fixed_towers.encode_texts, NAMES, PROMPTS)
    features = np.random.default_rng(0).normal(size=(5, 32)).astype(np.float16)
    scores = cosine_scores(features, rows)
    np.testing.assert_allclose(cosine_scores(features * np.float16(4), rows), scores, atol=1e-6)
    assert np.abs(scores).max() <= 1 + 1e-6
    np.testing.assert_allclose(cosine_scores(rows, rows).diagonal(), 1, atol=1e-6)
