"""Pictures and texts that the tiny SigLIP checkpoints learn from: drawn once, kept as pixels.

The pictures come from the sample's drawing code, from a stream of their own, so that the frozen
towers have seen none of the sample's pictures. Each is kept twice under ``.cache/tiny_encoder``:
squeezed to a square for the fixed-resolution kind, and cut into patches with its aspect ratio kept
for the NaFlex kind (Tschannen et al. 2025, arXiv:2502.14786).
"""

import inspect
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers.models.siglip2.image_processing_pil_siglip2 import (
    convert_image_to_patches,
    get_image_size_for_max_num_patches,
)

from mmhash.data.sample import draw
from mmhash.errors import InputError
from mmhash.files import atomic_path, cache_dir, digest, read_json, write_json
from mmhash.progress import track

CHUNK = 250  # pictures a drawing task renders; one text file each, so that drawing can resume
RESAMPLE = Image.Resampling.BILINEAR  # as in the published SigLIP 2 checkpoints
ARRAYS = ("fixed", "patches", "grid")
PAD, EOS = "<pad>", "<eos>"
Batch = dict[str, torch.Tensor]


class Block(BaseModel):
    """A block of the parameter file: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Pictures(Block):
    stream: int
    training: int
    held_out: int
    budgets: list[int]
    naflex: int


class Towers(Block):
    width: int
    heads: int
    mlp_width: int
    vision_layers: int
    text_layers: int
    image_size: int
    patch_size: int
    max_num_patches: int
    tokens: int
    vocabulary: int
    scale: float
    bias: float


class Run(Block):
    epochs: int
    batch: int
    learning_rate: float
    warmup: float
    weight_decay: float
    clip_norm: float
    evaluate_every: int


class Settings(Block):
    seed: int
    processes: int
    pictures: Pictures
    towers: Towers
    prompts: list[str]
    fixed: Run
    naflex: Run


def read_settings(path: Path) -> Settings:
    """Read the parameter file; raises :class:`InputError` naming the first wrong key."""
    try:
        return Settings.model_validate(YAML(typ="safe").load(path.read_text(encoding="utf-8")))
    except (OSError, YAMLError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


# --- pictures -----------------------------------------------------------------------------------


def fixed_pixels(image: Image.Image, side: int) -> np.ndarray:
    """Return ``image`` squeezed to a square, uint8 (3, side, side)."""
    return np.asarray(image.convert("RGB").resize((side, side), RESAMPLE)).transpose(2, 0, 1)


def naflex_patches(
    image: Image.Image, patch: int, budget: int
) -> tuple[np.ndarray, tuple[int, int]]:
    """Return at most ``budget`` patches, uint8 (n, patch·patch·3), and their grid (rows, columns).

    The aspect ratio is kept up to the rounding to whole patches.
    """
    height, width = get_image_size_for_max_num_patches(image.height, image.width, patch, budget)
    pixels = np.asarray(image.convert("RGB").resize((width, height), RESAMPLE)).transpose(2, 0, 1)
    return convert_image_to_patches(pixels, patch), (height // patch, width // patch)


@dataclass(frozen=True)
class Pairs:
    """Drawn pictures as pixels on disk, with their captions and categories.

    fixed uint8 (N, 3, S, S); patches uint8 (N, P, patch·patch·3), zero-padded; grid uint8 (N, 2).
    The first ``held_out`` rows are for evaluation.
    """

    fixed: np.ndarray
    patches: np.ndarray
    grid: np.ndarray
    captions: list[list[str]]
    categories: list[list[str]]


def budget_of(row: int, settings: Settings) -> int:
    """Return the patch budget of picture ``row``: the checkpoint's own on held-out pictures."""
    pictures = settings.pictures
    if row < pictures.held_out:
        return settings.towers.max_num_patches
    return pictures.budgets[row % len(pictures.budgets)]


def draw_chunk(folder: Path, start: int, stop: int, settings: Settings) -> int:
    """Draw pictures [start, stop) of the stream into the arrays of ``folder``."""
    fixed, patches, grid = (np.load(folder / f"{n}.npy", mmap_mode="r+") for n in ARRAYS)
    captions, categories = [], []
    drawn = draw.stream_pairs(settings.pictures.stream, start, stop)
    for row, (image, texts, names) in enumerate(drawn, start):
        fixed[row] = fixed_pixels(image, settings.towers.image_size)
        if row < len(patches):
            found, grid[row] = naflex_patches(
                image, settings.towers.patch_size, budget_of(row, settings)
            )
            patches[row, : len(found)] = found
        captions.append(list(texts))
        categories.append(sorted(names))
    for array in (fixed, patches, grid):
        array.flush()
    write_json(folder / f"texts-{start:06d}.json", {"captions": captions, "categories": categories})
    return stop - start


def drawing_digest() -> str:
    """Return a digest of the drawing code, so that no pixels outlive it."""
    sources = sorted(Path(inspect.getfile(draw)).parent.rglob("*.py"))
    return digest(*(source.read_bytes() for source in sources))


def draw_pairs(settings: Settings) -> Pairs:
    """Draw whatever is missing of the training and held-out pictures, then open them."""
    pictures, towers = settings.pictures, settings.towers
    sizes = (towers.image_size, towers.patch_size, towers.max_num_patches)
    folder = cache_dir(
        "tiny_encoder",
        digest("pictures", pictures.model_dump(), *sizes, drawing_digest()),
    )
    total, both = pictures.held_out + pictures.training, pictures.held_out + pictures.naflex
    longest, depth = max(*pictures.budgets, towers.max_num_patches), 3 * towers.patch_size**2
    shapes = {
        "fixed": (total, 3, towers.image_size, towers.image_size),
        "patches": (both, longest, depth),
        "grid": (both, 2),
    }
    for name, shape in shapes.items():
        if not (folder / f"{name}.npy").exists():
            with atomic_path(folder / f"{name}.npy") as path:
                np.lib.format.open_memmap(path, "w+", np.uint8, shape).flush()
    starts = range(0, total, CHUNK)
    missing = [s for s in starts if not (folder / f"texts-{s:06d}.json").exists()]
    with ProcessPoolExecutor(settings.processes, mp_context=get_context("spawn")) as pool:
        tasks = [
            pool.submit(draw_chunk, folder, start, min(start + CHUNK, total), settings)
            for start in missing
        ]
        for task in track(as_completed(tasks), len(tasks), f"drawing, {CHUNK} pictures each"):
            task.result()
    texts = [read_json(folder / f"texts-{start:06d}.json") for start in starts]
    fixed, patches, grid = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS)
    return Pairs(
        fixed,
        patches,
        grid,
        captions=[row for part in texts for row in part["captions"]],
        categories=[row for part in texts for row in part["categories"]],
    )


def to_float(pixels: np.ndarray) -> torch.Tensor:
    """Map uint8 pixels to [-1, 1]: rescale by 1/255, mean 0.5, standard deviation 0.5."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).float().div_(127.5).sub_(1.0)


def fixed_inputs(pairs: Pairs, rows: np.ndarray) -> Batch:
    """Return the vision tower's inputs for fixed-resolution pictures."""
    return {"pixel_values": to_float(pairs.fixed[rows])}


def naflex_inputs(pairs: Pairs, rows: np.ndarray) -> Batch:
    """Return the vision tower's inputs for NaFlex pictures, padded to the longest of ``rows``."""
    grid = torch.from_numpy(pairs.grid[rows].astype(np.int64))
    counts = grid.prod(dim=1)
    longest = int(counts.max())
    mask = torch.arange(longest) < counts[:, None]
    pixels = to_float(pairs.patches[rows, :longest]) * mask[:, :, None]
    return {"pixel_values": pixels, "pixel_attention_mask": mask.int(), "spatial_shapes": grid}


# --- text ---------------------------------------------------------------------------------------


def train_tokenizer(captions: Iterable[str], towers: Towers) -> Any:
    """Train a byte-level BPE on lower-cased captions: any text has tokens, then <eos>, then <pad>.

    Lower-casing is left to the caller of the tokenizer, as with the published checkpoints.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=towers.vocabulary,
        special_tokens=[PAD, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((text.lower() for text in captions), trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single=f"$A {EOS}", special_tokens=[(EOS, bpe.token_to_id(EOS))]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=EOS,
        model_max_length=towers.tokens,
        padding_side="right",
        model_input_names=["input_ids"],
    )


def tokenise(tokenizer: Any, texts: list[str], tokens: int) -> torch.Tensor:
    """Return token ids (len(texts), tokens): lower case, padded and cut to length, no mask."""
    encoded = tokenizer(
        [text.lower() for text in texts],
        padding="max_length",
        truncation=True,
        max_length=tokens,
        return_attention_mask=False,
        return_tensors="np",
    )
    return torch.from_numpy(np.asarray(encoded["input_ids"], dtype=np.int64))
