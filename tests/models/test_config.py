"""The architecture as plain values."""

import json
from dataclasses import replace

import pytest

from mmhash.errors import InputError
from mmhash.models.config import (
    AlignConfig,
    ClassifierConfig,
    FusionConfig,
    HashConfig,
    ModelConfig,
)


def config(name="full", image_dim=6, text_dim=6, **blocks) -> ModelConfig:
    return ModelConfig(
        name=name,
        image_dim=image_dim,
        text_dim=text_dim,
        num_classes=4,
        fusion=blocks.get("fusion", FusionConfig(mlp_dims=(8,))),
        hash=blocks.get("hash", HashConfig(bits=16)),
        classifier=blocks.get("classifier", ClassifierConfig()),
        align=blocks.get("align", AlignConfig()),
    )


def test_json_gives_the_same_configuration_back():
    original = config(fusion=FusionConfig("hadamard", [8, 4], 0.2, "gelu", 5))
    assert ModelConfig.from_dict(json.loads(json.dumps(original.to_dict()))) == original


def test_mlp_says_what_it_stands_for():
    mlp = config("mlp", align=AlignConfig(True))
    assert mlp.fusion.type == "concat"
    assert not mlp.hash.enabled
    assert not mlp.align.projection
    assert not mlp.aligned


@pytest.mark.parametrize(
    ("image_dim", "text_dim", "projection", "aligned"),
    [(6, 6, False, True), (6, 4, False, False), (6, 4, True, True)],
)
def test_directions_are_aligned_where_they_share_a_width(image_dim, text_dim, projection, aligned):
    built = config(image_dim=image_dim, text_dim=text_dim, align=AlignConfig(projection))
    assert built.aligned is aligned


def test_a_missing_key_is_named():
    values = config().to_dict()
    del values["hash"]["bits"]
    with pytest.raises(InputError, match=r"missing key model\.hash\.bits"):
        ModelConfig.from_dict(values)


def test_an_unknown_key_is_named():
    values = config().to_dict() | {"colour": "red"}
    with pytest.raises(InputError, match=r"unknown key model\.colour"):
        ModelConfig.from_dict(values)


@pytest.mark.parametrize("values", [None, [], {"fusion": 3}])
def test_what_is_no_mapping_is_an_input_error(values):
    with pytest.raises(InputError):
        ModelConfig.from_dict(values)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: HashConfig(bits=12), "multiple of 8"),
        (lambda: FusionConfig(mlp_dims=()), "mlp_dims is empty"),
        (lambda: FusionConfig(type="sum"), "fusion.type"),
        (lambda: ClassifierConfig(prior_init=True, use_bias=False), "use_bias"),
        (lambda: config(image_dim=0), "at least 1"),
        (lambda: config(name="other"), "model.name"),
    ],
)
def test_impossible_architectures_are_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_direction_only_is_the_full_method_on_the_directions():
    plan_a = config("direction_only")
    assert plan_a.fusion.type == "concat_direction"
    assert plan_a.hash.enabled
    assert plan_a.aligned


def test_an_unknown_choice_of_inputs_is_named():
    with pytest.raises(InputError, match=r"model.inputs = 'sound': must be one of both, image"):
        replace(config(), inputs="sound")


def test_one_modality_alone_has_nothing_to_align():
    assert not replace(config(), inputs="image").aligned
