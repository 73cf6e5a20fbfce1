"""The base architecture with random weights, and pictures and captions for it.

The published weights cannot be had on the machines where the benchmarks are written; time and
rounding do not depend on what the weights were trained for. The tokenizer is the tiny encoder's:
its 1,024 tokens make the embedding table smaller than the published one, which is only looked up.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from mmhash.seeding import numpy_stream

TINY = Path(__file__).resolve().parents[1] / "encoders" / "tiny-siglip"
SIDE, VOCABULARY = 256, 1024


def write_base_checkpoint(folder: Path, layers: int = 12) -> None:
    """Write a checkpoint of the base architecture, 256 × 256 pixels, patches of 16; 710 MB.

    With fewer ``layers`` than 12 it has the widths of the base architecture and takes less time.
    """
    shape: dict[str, Any] = {"hidden_size": 768, "intermediate_size": 3072}
    shape |= {"num_hidden_layers": layers, "num_attention_heads": 12}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    config = SiglipConfig(
        vision_config=shape | {"image_size": SIDE, "patch_size": 16},
        text_config=shape
        | tokens
        | {"vocab_size": VOCABULARY, "max_position_embeddings": 64, "projection_size": 768},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        SiglipModel(config).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}, resample=2).save_pretrained(
        folder
    )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TINY / name, folder / name)


def plain_inputs(
    checkpoint: Path,
) -> Callable[[Path, list[str]], tuple[torch.Tensor, torch.Tensor]]:
    """Return the plan's way to pixels (1, 3, S, S) and ids (n, 64): Hugging Face, one picture."""
    processor = SiglipImageProcessorPil.from_pretrained(checkpoint)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(checkpoint)

    def inputs(path: Path, captions: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = processor(str(path), return_tensors="pt")["pixel_values"]
        ids = tokenizer(
            [caption.lower() for caption in captions],
            padding="max_length",
            max_length=64,
            truncation=True,
            return_tensors="pt",
        )["input_ids"]
        return pixels, ids

    return inputs


def draw_pictures(folder: Path, count: int) -> None:
    """Draw JPEGs of 640 × 480, coarse shapes with fine noise, into ``folder``/train2014."""
    draw = numpy_stream(1, "benchmark", "pictures")
    (folder / "train2014").mkdir(parents=True)
    for number in range(count):
        coarse = draw.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        fine = draw.integers(0, 256, (480, 640, 3), dtype=np.uint8)
        shapes = Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC)
        picture = Image.blend(shapes, Image.fromarray(fine), 0.15)
        picture.save(folder / "train2014" / f"{number}.jpg", quality=90)


def image_table(count: int, files: int) -> pa.Table:
    """Return ``count`` rows over ``files`` drawn pictures, each with 5 captions of its own."""
    return pa.table(
        {
            "image_id": pa.array(range(count), pa.int64()),
            "folder": ["train2014"] * count,
            "file_name": [f"{number % files}.jpg" for number in range(count)],
            "captions": [
                [f"picture {number} seen for the time {t} by a dog" for t in range(5)]
                for number in range(count)
            ],
        }
    )
