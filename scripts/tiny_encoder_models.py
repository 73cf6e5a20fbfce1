"""The two tiny SigLIP models: random weights, the NaFlex kind from the fixed one, checkpoints."""

import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from tiny_encoder_pairs import RESAMPLE, Settings, Towers
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

from mmhash.files import write_text
from mmhash.seeding import stream_seed

COPIED = (  # what the configurations of both kinds share
    *("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers"),
    *("patch_size", "vocab_size", "max_position_embeddings"),
    *("pad_token_id", "bos_token_id", "eos_token_id"),
)
README = """---
library_name: transformers
---
# {title}

A tiny {kind} SigLIP ({model_type}) for the embedded sample: drawn
pictures, English captions. It knows nothing of photographs, and a number measured with it is no
statement about SigLIP 2.

- Script and parameters: `scripts/train_tiny_encoder.py`, `scripts/train_tiny_encoder.yaml`.
  Command: `python scripts/train_tiny_encoder.py`
- Data: {pictures} pictures with captions drawn by `mmhash.data.sample.draw.stream_pairs`, seed
  {stream}, apart from the sample's own pictures; {held_out} more held out for the figures.
- Loss: pairwise sigmoid loss (Zhai et al. 2023, arXiv:2303.15343), image-caption pairs only.
- Start: {start}
- Machine: CPU, one thread, float32; weights stored as float16.
- Figures on the held-out pictures: zero-shot macro mAP {mAP:.3f} (chance {chance:.3f}),
  image norm varies by {variation:.1%} of its mean; last training loss {loss:.3f},
  {seen} pairs seen.
- Text: lower-cased by the caller, padded to {tokens} tokens, no attention mask. Load the tokenizer
  with `transformers.PreTrainedTokenizerFast`; `AutoTokenizer` puts Gemma's class in its place
  where the model_type is `siglip2`. Pooled outputs are not normalised.
"""


def build_fixed(towers: Towers, tokenizer: Any, seed: int) -> Any:
    """Return a SiglipModel with seeded random weights."""
    common = {
        "hidden_size": towers.width,
        "intermediate_size": towers.mlp_width,
        "num_attention_heads": towers.heads,
    }
    text = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": towers.tokens,
        "num_hidden_layers": towers.text_layers,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.eos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    vision = {
        "image_size": towers.image_size,
        "patch_size": towers.patch_size,
        "num_hidden_layers": towers.vision_layers,
    }
    torch.manual_seed(stream_seed(seed, "weights"))
    model = transformers.SiglipModel(
        transformers.SiglipConfig(text_config=common | text, vision_config=common | vision)
    )
    with torch.no_grad():
        model.logit_scale.fill_(math.log(towers.scale))
        model.logit_bias.fill_(towers.bias)
    return model


def naflex_from_fixed(fixed: Any) -> Any:
    """Return a Siglip2Model that computes what ``fixed`` does on a square of as many patches.

    The convolution over a patch becomes a linear map over its pixels in (row, column, channel)
    order; every other weight has the same name and shape in both models.
    """
    vision = fixed.config.vision_config
    config = transformers.Siglip2Config(
        text_config={k: v for k, v in fixed.config.text_config.to_dict().items() if k in COPIED},
        vision_config={k: v for k, v in vision.to_dict().items() if k in COPIED}
        | {"num_patches": (vision.image_size // vision.patch_size) ** 2},
    )
    weights = dict(fixed.state_dict())
    name = "vision_model.embeddings.patch_embedding.weight"
    weights[name] = weights[name].permute(0, 2, 3, 1).reshape(vision.hidden_size, -1)
    model = transformers.Siglip2Model(config)
    model.load_state_dict(weights)
    return model


def write_checkpoint(
    folder: Path, kind: str, model: Any, tokenizer: Any, settings: Settings, figures: dict[str, Any]
) -> None:
    """Write a Hugging Face checkpoint, weights as float16, whole or not at all."""
    towers, pictures = settings.towers, settings.pictures
    common = {"resample": RESAMPLE, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    side = {"height": towers.image_size, "width": towers.image_size}
    flexible = {"patch_size": towers.patch_size, "max_num_patches": towers.max_num_patches}
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        model.half().save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        processor = (
            SiglipImageProcessorPil(size=side, **common)
            if kind == "fixed"
            else Siglip2ImageProcessorPil(**flexible, **common)
        )
        processor.save_pretrained(temporary)
        text = README.format(
            title=folder.name,
            kind="fixed-resolution" if kind == "fixed" else "NaFlex",
            model_type=f"model_type `{model.config.model_type}`",
            pictures=pictures.training if kind == "fixed" else pictures.naflex,
            stream=pictures.stream,
            held_out=pictures.held_out,
            start="random weights." if kind == "fixed" else "the weights of `tiny-siglip`.",
            mAP=figures["zero_shot_mAP"],
            chance=figures["chance_mAP"],
            variation=figures["norm_variation"],
            loss=figures["loss"],
            seen=figures["pairs_seen"],
            tokens=towers.tokens,
        )
        write_text(temporary / "README.md", text)
        for path in temporary.iterdir():
            path.chmod(0o644)
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.replace(folder)
    finally:
        model.float()
        shutil.rmtree(temporary, ignore_errors=True)
