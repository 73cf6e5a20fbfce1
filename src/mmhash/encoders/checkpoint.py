"""A SigLIP checkpoint as two towers: the class from its config, the weights complete."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedTokenizerFast, Siglip2Model, SiglipModel
from transformers.utils import logging as transformers_logging

from mmhash.encoders.pixels import Pictures, PixelSettings, pixel_settings, tower_inputs
from mmhash.encoders.text import TRAINED_LENGTH, token_ids
from mmhash.errors import InputError
from mmhash.files import digest, read_json, sha256_file

logger = logging.getLogger("mmhash")

# The class follows the checkpoint: the fixed-resolution SigLIP 2 checkpoints are of model type
# "siglip" (a convolution cuts the patches), only NaFlex ones are "siglip2" (a linear layer does).
_CLASSES = {"siglip": SiglipModel, "siglip2": Siglip2Model}

_FILES = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "*.safetensors",
    "model.safetensors.index.json",
)


@dataclass(frozen=True, eq=False)
class Towers:
    """Two towers that map pictures and texts to pooled vectors, NOT of unit length.

    They are frozen unless :func:`mmhash.encoders.unfreeze.unfreeze` has let a part of them learn.
    """

    model: nn.Module
    tokenizer: Any
    checkpoint: str  # as the user named it
    revision: str | None  # commit of a hub checkpoint, None for a folder
    fingerprint: str  # over the bytes of the checkpoint's files, and of tuned weights
    model_type: str  # siglip | siglip2
    width_image: int
    width_text: int
    pixels: PixelSettings
    token_length: int
    logit_scale: float  # of the sigmoid loss: logit = exp(scale) · cosine + bias
    logit_bias: float
    device: torch.device
    precision: torch.dtype

    @property
    def kind(self) -> str:
        """``fixed`` (S × S pixels) or ``naflex`` (native aspect ratio)."""
        return self.pixels.kind

    def _autocast(self) -> torch.autocast:
        low = self.precision != torch.float32
        return torch.autocast(self.device.type, dtype=self.precision if low else None, enabled=low)

    def image_vectors(self, pictures: Pictures) -> torch.Tensor:
        """Return the pooled output of the vision tower, float32 (n, width_image), on the device.

        It is not normalised: the joint forward's ``image_embeds`` are, and have lost the magnitude.
        """
        on_device = Pictures(
            pictures.pixels.to(self.device, non_blocking=True), pictures.grids.cpu()
        )
        inputs = tower_inputs(on_device, self.pixels)
        with self._autocast():
            pooled: torch.Tensor = self.model.get_image_features(**inputs).pooler_output  # type: ignore[operator]
        return pooled.float()

    def text_vectors(self, texts: Sequence[str]) -> torch.Tensor:
        """Return the pooled output of the text tower, float32 (n, width_text), on the device.

        The tower gets token ids and no attention mask: pads were attended to in the training.
        """
        ids = token_ids(texts, self.tokenizer, self.token_length)
        ids = ids.to(self.device, non_blocking=True)
        with self._autocast():
            pooled: torch.Tensor = self.model.get_text_features(input_ids=ids).pooler_output  # type: ignore[operator]
        return pooled.float()

    @torch.inference_mode()
    def encode_images(self, pictures: Pictures) -> torch.Tensor:
        """Return :meth:`image_vectors` without what a backward pass would need."""
        return self.image_vectors(pictures)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return :meth:`text_vectors` without what a backward pass would need."""
        return self.text_vectors(texts)


def load_checkpoint(
    checkpoint: str,
    revision: str | None,
    device: torch.device,
    max_num_patches: int | None = None,
    *,
    precision: torch.dtype = torch.float32,
    compile_towers: bool = False,
    tuned: Mapping[str, torch.Tensor] | None = None,
) -> Towers:
    """Load a checkpoint folder in Hugging Face format, or one from the hub at ``revision``.

    Only safetensors and JSON are read; nothing is unpickled. ``max_num_patches`` is for NaFlex
    checkpoints (None: as the checkpoint says). In a low ``precision`` the matrix products run under
    autocast; layer norms and the residual stream stay float32. ``tuned`` holds, by the names of the
    model's parameters, weights that a training has changed; they take the place of the
    checkpoint's, and the fingerprint is then one over both.

    Raises :class:`InputError` for a checkpoint that cannot be found, lacks a file, is of another
    model type, or whose weights do not fit its config exactly.
    """
    folder, commit = find_checkpoint(checkpoint, revision)
    config = read_json(_required(folder, "config.json"))
    model_type = config.get("model_type") if isinstance(config, dict) else None
    if model_type not in _CLASSES:
        raise InputError(
            f"{folder / 'config.json'}: model_type is {model_type!r}; only siglip and siglip2 "
            "checkpoints have the two towers that are needed"
        )
    model = _load_model(folder, model_type).to(device)
    identity = fingerprint(folder)
    if tuned is not None:
        _put_weights(model, tuned, checkpoint)
        identity = digest(identity, *_described(tuned))
    vision, text = model.config.vision_config, model.config.text_config
    if not vision.vision_use_head:
        raise InputError(f"{folder / 'config.json'}: the vision tower has no pooling head")
    if precision != torch.float32:
        _store_products(model, precision)
    # Else float32 would be TF32, of 10 bits, where the convolution cuts patches on CUDA; PyTorch's
    # other products are what they say.
    torch.backends.cudnn.allow_tf32 = False
    if compile_towers:
        for tower in (model.vision_model, model.text_model):
            # Kernels chosen by rule: a measurement may choose others, which round differently.
            tower.compile(options={"deterministic": True})
    return Towers(
        model=model,
        tokenizer=_load_tokenizer(folder),
        checkpoint=checkpoint,
        revision=commit,
        fingerprint=identity,
        model_type=model_type,
        width_image=int(vision.hidden_size),
        width_text=int(text.projection_size),
        pixels=pixel_settings(
            vision, _processor_config(folder), model_type == "siglip2", max_num_patches
        ),
        token_length=min(TRAINED_LENGTH, int(text.max_position_embeddings)),
        logit_scale=float(model.logit_scale.detach()),
        logit_bias=float(model.logit_bias.detach()),
        device=device,
        precision=precision,
    )


def find_checkpoint(checkpoint: str, revision: str | None) -> tuple[Path, str | None]:
    """Return the checkpoint's folder, and the commit for a hub id, downloading what is missing.

    Raises :class:`InputError` where there is neither such a folder nor such a hub checkpoint.
    """
    folder = Path(checkpoint)
    if folder.is_dir():
        if revision is not None:
            raise InputError(
                f"datasets.<name>.encoder.revision is {revision!r}, but {checkpoint} is a folder; "
                "set it to null"
            )
        return folder, None
    try:
        snapshot = Path(
            huggingface_hub.snapshot_download(
                checkpoint, revision=revision, allow_patterns=list(_FILES)
            )
        )
    except Exception as error:  # the hub client's and its network library's errors share no base
        reason = str(error).strip().splitlines()
        raise InputError(
            f"checkpoint {checkpoint!r} (revision {revision or 'main'}): no such folder, and not "
            f"to be had from the hub ({reason[0] if reason else type(error).__name__}); check the "
            "name and the network, or download it on another machine and give its folder"
        ) from None
    if revision != snapshot.name:
        logger.warning(
            "checkpoint %s: revision %s is not pinned; set datasets.<name>.encoder.revision to %s",
            checkpoint,
            revision or "main",
            snapshot.name,
        )
    return snapshot, snapshot.name


def fingerprint(folder: Path) -> str:
    """Return a digest over the names and bytes of the checkpoint's files."""
    files = sorted({path for pattern in _FILES for path in folder.glob(pattern)})
    return digest(*(part for path in files for part in (path.name, sha256_file(path))))


def _required(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise InputError(
            f"{folder}: no {name}; a checkpoint folder holds config.json, model.safetensors, "
            "tokenizer.json and preprocessor_config.json"
        )
    return path


def _load_model(folder: Path, model_type: str) -> Any:
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder}: no model.safetensors; pickled weights are never read, convert them with "
            "save_pretrained of a current transformers"
        )
    bar_was_on = transformers_logging.is_progress_bar_enabled()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # what it would warn of is an error here
    try:
        model, report = _CLASSES[model_type].from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"{folder}: model.safetensors and config.json do not fit ({reason})"
        ) from None
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bar_was_on:
            transformers_logging.enable_progress_bar()
    # Position ids were saved by older versions; they are a constant, not a weight.
    surplus = {key for key in report["unexpected_keys"] if not key.endswith("position_ids")}
    for what, keys in (("lacks", report["missing_keys"]), ("has besides", surplus)):
        if keys:
            names = ", ".join(sorted(keys)[:3]) + (" …" if len(keys) > 3 else "")
            raise InputError(
                f"{folder}: the weights do not fit config.json; model.safetensors {what} "
                f"{len(keys)} tensors ({names})"
            )
    return model.eval().requires_grad_(False)


def _put_weights(model: nn.Module, weights: Mapping[str, torch.Tensor], checkpoint: str) -> None:
    own = dict(model.named_parameters())
    for name, tensor in weights.items():
        if name not in own or own[name].shape != tensor.shape:
            raise InputError(
                f"checkpoint {checkpoint} has no weight {name} of shape {tuple(tensor.shape)}, "
                "which the trained model changed; train again"
            )
        own[name].data.copy_(tensor)


def _described(weights: Mapping[str, torch.Tensor]) -> Iterator[bytes]:
    for name, tensor in sorted(weights.items()):
        yield name.encode()
        yield tensor.detach().cpu().numpy().tobytes()


def _store_products(model: nn.Module, precision: torch.dtype) -> None:
    """Round the matrices once to what autocast would round them to in every forward pass."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.to(precision)


def _load_tokenizer(folder: Path) -> Any:
    """Load tokenizer.json as it stands.

    The base class is named because the class that the files name may rebuild the tokenizer instead,
    with its own normaliser and its own padding side.
    """
    _required(folder, "tokenizer.json")
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers library raises plain Exception
        raise InputError(f"{folder}: the tokenizer cannot be read ({error})") from None
    if tokenizer.pad_token is None:
        raise InputError(f"{folder / 'tokenizer_config.json'}: no pad_token, which padding needs")
    return tokenizer


def _processor_config(folder: Path) -> dict[str, Any]:
    """Return the image processor's config, from processor_config.json or a file of its own."""
    whole = folder / "processor_config.json"
    nested = read_json(whole).get("image_processor") if whole.is_file() else None
    if nested is None:
        nested = read_json(_required(folder, "preprocessor_config.json"))
    config: dict[str, Any] = nested
    return config
