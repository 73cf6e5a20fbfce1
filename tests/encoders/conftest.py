"""Tiny random checkpoints of both kinds, as Hugging Face saves them, and pictures to encode."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import Siglip2Config, Siglip2Model, SiglipConfig, SiglipModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

from mmhash.encoders.checkpoint import Towers, load_checkpoint

torch.set_num_threads(1)

SPECIALS = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
LETTERS = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,'-!?▁")
VOCABULARY = [*SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256)), *LETTERS]


def write_tokenizer(folder: Path) -> None:
    """Write a character tokenizer built like Gemma's: case kept, <eos> at the end, pads right."""
    vocabulary = {token: number for number, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True, fuse_unk=True
        )
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", vocabulary["<eos>"])]
    )
    tokenizer.add_special_tokens(SPECIALS)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "GemmaTokenizer",
        "pad_token": "<pad>",
        "eos_token": "<eos>",
        "bos_token": "<bos>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
        "padding_side": "right",
        "model_max_length": 64,
        "add_bos_token": False,
        "add_eos_token": True,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def tower_configs(**vision: int) -> dict[str, dict[str, int]]:
    shape = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    tokens = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1}
    return {
        "text_config": {
            **shape,
            **tokens,
            "vocab_size": len(VOCABULARY),
            "max_position_embeddings": 64,
        },
        "vision_config": {**shape, **vision},
    }


def randomise(model: torch.nn.Module) -> torch.nn.Module:
    """Give every tensor, biases and norms too, a value of its own, so that no path is idle."""
    stream = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=stream))
        model.logit_scale.fill_(2.0)
        model.logit_bias.fill_(-1.5)
    return model


@pytest.fixture(scope="session")
def fixed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fixed")
    torch.manual_seed(1)
    config = SiglipConfig(**tower_configs(image_size=32, patch_size=8))
    randomise(SiglipModel(config)).save_pretrained(folder)
    SiglipImageProcessorPil(
        size={"height": 32, "width": 32},
        resample=2,
        image_mean=[0.5, 0.45, 0.4],
        image_std=[0.5, 0.55, 0.6],
    ).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def naflex_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("naflex")
    torch.manual_seed(2)
    config = Siglip2Config(**tower_configs(patch_size=8, num_patches=16))
    randomise(Siglip2Model(config)).save_pretrained(folder)
    Siglip2ImageProcessorPil(
        patch_size=8,
        max_num_patches=24,
        image_mean=[0.5, 0.45, 0.4],
        image_std=[0.5, 0.55, 0.6],
    ).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session", params=["fixed", "naflex"])
def folder(request: pytest.FixtureRequest) -> Path:
    """The checkpoint folder of each kind in turn."""
    return request.getfixturevalue(f"{request.param}_folder")


@pytest.fixture(scope="session")
def towers(folder: Path) -> Towers:
    """The towers of each kind in turn, float32 on the CPU."""
    return load_checkpoint(str(folder), None, torch.device("cpu"))


@pytest.fixture(scope="session")
def fixed_towers(fixed_folder: Path) -> Towers:
    return load_checkpoint(str(fixed_folder), None, torch.device("cpu"))


def blurred_noise(height: int, width: int, seed: int) -> Image.Image:
    """A colourful picture with coarse and fine structure."""
    stream = np.random.default_rng(seed)
    coarse = Image.fromarray(stream.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    fine = Image.fromarray(stream.integers(0, 256, (height, width, 3), dtype=np.uint8))
    return Image.blend(coarse.resize((width, height), Image.Resampling.BICUBIC), fine, 0.2)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Ten picture files of many shapes: wide, tall, tiny, grey, palette, transparent, rotated."""
    folder = tmp_path_factory.mktemp("pictures") / "train2014"
    folder.mkdir()
    shapes = [(48, 64), (64, 48), (100, 30), (7, 90), (33, 33), (3, 2)]
    paths = []
    for number, (height, width) in enumerate(shapes):
        paths.append(folder / f"{number}.jpg")
        blurred_noise(height, width, number).save(paths[-1], quality=92)
    paths.append(folder / "grey.jpg")
    blurred_noise(40, 52, 10).convert("L").save(paths[-1])
    paths.append(folder / "palette.png")
    blurred_noise(40, 52, 11).convert("P").save(paths[-1])
    paths.append(folder / "transparent.png")
    picture = blurred_noise(40, 52, 12)
    picture.putalpha(128)
    picture.save(paths[-1])
    paths.append(folder / "rotated.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn a quarter clockwise to see it upright
    blurred_noise(40, 60, 13).save(paths[-1], exif=exif)
    return paths


CAPTIONS = ["A Dog on a BENCH.", "two cats", "the sky, blue", "a dog on a bench."]


def locate(root: Path, folder: str, file_name: str) -> Path:
    return root / folder / file_name


@pytest.fixture
def dataset(pictures: list[Path]) -> tuple[pa.Table, partial]:
    """An image table over the ten pictures, 1 to 3 captions each, and where its files are."""
    count = len(pictures)
    table = pa.table(
        {
            "image_id": pa.array([100 + 7 * i for i in range(count)], pa.int64()),
            "folder": ["train2014"] * count,
            "file_name": [path.name for path in pictures],
            "captions": [
                [f"{CAPTIONS[(i + t) % 4]}{i // 4}" for t in range(1 + i % 3)] for i in range(count)
            ],
        }
    )
    return table, partial(locate, pictures[0].parent.parent)
