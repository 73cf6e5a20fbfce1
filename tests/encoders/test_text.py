import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, Siglip2Model, SiglipConfig, SiglipModel

from mmhash.encoders.checkpoint import Towers, load_checkpoint
from mmhash.encoders.text import lowered, token_ids

TEXTS = ["A Dog on a BENCH.", "two cats", "Ünïcode ☃ " + "long " * 40]


def test_ids_equal_those_of_the_class_that_the_files_name(folder: Path, towers: Towers) -> None:
    reference = AutoTokenizer.from_pretrained(folder)(
        [text.lower() for text in TEXTS],
        padding="max_length",
        max_length=64,
        truncation=True,
        return_tensors="pt",
    )["input_ids"]
    assert torch.equal(token_ids(TEXTS, towers.tokenizer, 64), reference)


def test_captions_are_lower_cased_by_us(towers: Towers) -> None:
    upper, lower = towers.encode_texts(["A DOG"]), towers.encode_texts(["a dog"])
    assert torch.equal(upper, lower)
    # The tokenizer itself keeps the case, so the line above tests us and not it.
    assert towers.tokenizer("A DOG")["input_ids"] != towers.tokenizer("a dog")["input_ids"]
    assert lowered(["ÀB c"]) == ["àb c"]


def test_captions_are_padded_to_the_trained_length(towers: Towers) -> None:
    ids = token_ids(TEXTS, towers.tokenizer, towers.token_length)
    assert ids.shape == (3, 64)
    assert ids.dtype == torch.int64
    pad, eos = towers.tokenizer.pad_token_id, towers.tokenizer.eos_token_id
    assert ids[1].tolist() == [*ids[1, :8].tolist(), eos, *[pad] * 55]  # pads on the right
    assert ids[2, -1] == eos  # a long caption is cut, and still ends with the end token


def test_text_features_equal_the_plain_path_without_a_mask(folder: Path, towers: Towers) -> None:
    model = (SiglipModel if towers.kind == "fixed" else Siglip2Model).from_pretrained(folder)
    tokens = AutoTokenizer.from_pretrained(folder)(
        [text.lower() for text in TEXTS],
        padding="max_length",
        max_length=64,
        truncation=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        plain = model.eval().get_text_features(input_ids=tokens["input_ids"]).pooler_output
        masked = model.get_text_features(**tokens).pooler_output
    ours = towers.encode_texts(TEXTS)
    assert torch.cosine_similarity(ours, plain).min() >= 0.9999
    assert (ours - plain).abs().max() < 1e-5
    # The trap: with the tokenizer's mask the vectors of short captions are other vectors.
    assert (ours[:2] - masked[:2]).abs().max() > 1e-2


def test_no_attention_mask_reaches_the_tower(
    towers: Towers, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}
    forward = towers.model.get_text_features

    def record(**inputs: torch.Tensor) -> object:
        seen.update(inputs)
        return forward(**inputs)

    monkeypatch.setattr(towers.model, "get_text_features", record)
    towers.encode_texts(["two cats"])
    assert seen.keys() == {"input_ids"}


def test_shorter_position_table_shortens_the_captions(fixed_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(fixed_folder, tmp_path / "short"))
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = 16
    SiglipModel(SiglipConfig(**config)).save_pretrained(folder)
    short = load_checkpoint(str(folder), None, torch.device("cpu"))
    assert short.token_length == 16
    assert short.encode_texts(TEXTS).shape == (3, 32)
