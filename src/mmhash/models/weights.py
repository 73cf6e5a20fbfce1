"""Weights on disk: safetensors whose bytes depend on nothing but their content."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mmhash.errors import InputError
from mmhash.files import atomic_path, read_json
from mmhash.models.config import ModelConfig
from mmhash.models.cross_modal import CrossModalConfig, CrossModalHasher
from mmhash.models.hashers import HASHERS
from mmhash.models.tagger import Tagger

# What the names of tower weights begin with, beside the tagger's own in one file.
TOWERS = "towers."


def to_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Serialise tensors as safetensors with the metadata in alphabetical order.

    The library writes metadata in an order that changes from process to process; here the header
    (a length of 8 bytes, little-endian, and JSON padded with spaces) is written once more, sorted,
    so that equal content gives equal bytes.
    """
    return b"".join(_parts(tensors, metadata))


def _parts(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> tuple[bytes, bytes, memoryview]:
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    raw = safetensors.torch.save(plain, metadata=dict(metadata))
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little"), text, memoryview(raw)[8 + length :]


def save_tensors(
    path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors and metadata as one safetensors file, atomically and byte-reproducibly."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.writelines(_parts(tensors, metadata))


def load_tensors(
    path: Path | str, wanted: Callable[[str], bool] = lambda _: True
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the ``wanted`` tensors of a safetensors file: (tensors on the CPU, metadata).

    Raises :class:`InputError` where there is no such file or it is damaged.
    """
    try:
        with safe_open(str(path), framework="pt") as stream:
            # Clones: slices of one buffer would pin the whole file in memory.
            names = [name for name in stream.keys() if wanted(name)]  # noqa: SIM118
            tensors = {name: stream.get_tensor(name).clone() for name in names}
            return tensors, dict(stream.metadata() or {})
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the train stage first") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from None


def load_weights(
    tagger: Tagger | CrossModalHasher, tensors: Mapping[str, Tensor], source: Path | str
) -> None:
    """Copy ``tensors`` into ``tagger``; InputError for a missing or extra name or another shape."""
    own = tagger.state_dict()
    for name in own:
        if name not in tensors:
            raise InputError(f"{source}: weight {name} is missing; the config is of another model")
    for name, tensor in tensors.items():
        if name not in own:
            raise InputError(f"{source}: extra weight {name}; the config is of another model")
        if tensor.shape != own[name].shape:
            raise InputError(
                f"{source}: weight {name} is {tuple(tensor.shape)} where the config says "
                f"{tuple(own[name].shape)}"
            )
    tagger.load_state_dict(dict(tensors))


def load_tagger(
    folder: Path | str, weights: str = "best.safetensors"
) -> tuple[Tagger | CrossModalHasher | None, float]:
    """Return the trained model of ``folder`` (evaluation mode) and β of the epoch it is from.

    The model is None where nothing is trained (``model.name: zeroshot``).

    ``folder`` holds ``config.json`` and the weights file, as the train stage wrote them. β comes
    from the weights' own metadata, so that ``last`` and the top files are used with theirs.
    Raises :class:`InputError` where a file is missing, damaged or does not fit.
    """
    folder = Path(folder)
    described, source = _config(folder)["model"], str(folder / "config.json")
    tagger: Tagger | CrossModalHasher
    if isinstance(described, dict) and described.get("name") in HASHERS:
        tagger = HASHERS[described["name"]](CrossModalConfig.from_dict(described, source))
    else:
        model = ModelConfig.from_dict(described, source)
        if model.name == "zeroshot":
            return None, 1.0
        tagger = Tagger(model)
    tensors, metadata = load_tensors(folder / weights, lambda name: not name.startswith(TOWERS))
    load_weights(tagger, tensors, folder / weights)
    try:
        scale = float(metadata["hash_scale"])
    except (KeyError, ValueError):
        raise InputError(f"{folder / weights}: metadata has no number hash_scale") from None
    return tagger.eval(), scale


def tuned_towers(folder: Path | str) -> dict[str, Any] | None:
    """Return what ``config.json`` says of towers that learnt with the model; None: frozen ones."""
    return _config(Path(folder)).get("towers")


def _config(folder: Path) -> dict[str, Any]:
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or "model" not in config:
        raise InputError(f"{folder / 'config.json'}: missing key model; run the train stage again")
    return config
