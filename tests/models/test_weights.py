"""Weights on disk."""

import json

import pytest
import torch

from mmhash.errors import InputError
from mmhash.files import write_json
from mmhash.models.config import (
    AlignConfig,
    ClassifierConfig,
    FusionConfig,
    HashConfig,
    ModelConfig,
)
from mmhash.models.tagger import Tagger
from mmhash.models.weights import load_tagger, load_tensors, load_weights, save_tensors, to_bytes

CONFIG = ModelConfig(
    *("full", 6, 6, 4),
    FusionConfig(mlp_dims=(8,)),
    HashConfig(bits=16),
    ClassifierConfig(prior_init=False),
    AlignConfig(),
)


@pytest.fixture
def folder(tmp_path):
    tagger = Tagger(CONFIG)
    save_tensors(tmp_path / "best.safetensors", tagger.state_dict(), {"hash_scale": "2.5"})
    write_json(tmp_path / "config.json", {"model": CONFIG.to_dict()})
    return tmp_path


def test_metadata_stands_in_alphabetical_order_in_the_bytes():
    metadata = {letter: letter for letter in "zyxwvutsrqponm"}
    data = to_bytes({"w": torch.arange(3.0)}, metadata)
    length = int.from_bytes(data[:8], "little")
    assert length % 8 == 0
    assert list(json.loads(data[8 : 8 + length])["__metadata__"]) == sorted(metadata)
    assert data == to_bytes({"w": torch.arange(3.0)}, dict(reversed(metadata.items())))


def test_what_is_saved_is_loaded(tmp_path):
    tensors = {"b": torch.randn(3, 2), "a": torch.tensor(7), "half": torch.ones(5).half()}
    save_tensors(tmp_path / "x.safetensors", tensors, {"epoch": "3", "ü": "ß"})
    loaded, metadata = load_tensors(tmp_path / "x.safetensors")
    assert metadata == {"epoch": "3", "ü": "ß"}
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(loaded[name], tensor)
        assert loaded[name].dtype == tensor.dtype


def test_a_loaded_tagger_computes_the_same_with_its_own_scale(folder):
    tagger, scale = load_tagger(folder)
    assert scale == 2.5
    assert not tagger.training
    weights, _ = load_tensors(folder / "best.safetensors")
    assert all(torch.equal(value, weights[name]) for name, value in tagger.state_dict().items())


def refusal(folder) -> str:
    with pytest.raises(InputError) as caught:
        load_tagger(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_file_is_named(tmp_path, folder):
    (folder / "best.safetensors").unlink()
    assert "best.safetensors: no such file" in refusal(folder)


def test_a_truncated_file_is_named(folder):
    path = folder / "best.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    assert "not a readable safetensors file" in refusal(folder)


def test_metadata_without_scale_is_refused(folder):
    save_tensors(folder / "best.safetensors", Tagger(CONFIG).state_dict(), {})
    assert "hash_scale" in refusal(folder)


def test_a_config_without_model_is_refused(folder):
    write_json(folder / "config.json", {})
    assert "missing key model" in refusal(folder)


def test_missing_extra_and_misshapen_weights_are_refused():
    tagger = Tagger(CONFIG)
    weights = tagger.state_dict()
    fewer = {name: value for name, value in weights.items() if name != "classifier.weight"}
    with pytest.raises(InputError, match=r"weight classifier\.weight is missing"):
        load_weights(tagger, fewer, "w")
    with pytest.raises(InputError, match="extra weight more"):
        load_weights(tagger, weights | {"more": torch.ones(1)}, "w")
    with pytest.raises(InputError, match=r"classifier\.bias is \(1,\).*\(4,\)"):
        load_weights(tagger, weights | {"classifier.bias": torch.ones(1)}, "w")
