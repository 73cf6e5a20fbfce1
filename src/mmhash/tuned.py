"""The towers behind a trained model: those of the checkpoint, with the weights that they learnt."""

from pathlib import Path

import numpy as np
import torch

from mmhash.encoders.checkpoint import Towers, find_checkpoint, fingerprint, load_checkpoint
from mmhash.encoders.device import choose_precision
from mmhash.encoders.prototypes import prototypes
from mmhash.errors import InputError
from mmhash.models.weights import TOWERS, load_tensors, tuned_towers
from mmhash.params import Params


def class_vectors(
    params: Params, model: Path, categories: list[str], device: torch.device
) -> np.ndarray:
    """Return the unit text vector of each class name (C, D_t) by the towers of ``model``."""
    towers = trained_towers(params, model, device)
    return prototypes(towers.encode_texts, categories, params.zeroshot.prompts)


def trained_towers(
    params: Params, model: Path, device: torch.device, *, compile_towers: bool = False
) -> Towers:
    """Return the towers of the run that ``params`` describes, trained in the folder ``model``."""
    source = params.dataset.encoder
    assert source is not None  # the schema sees to it
    return load_towers(
        model,
        source.checkpoint,
        source.revision,
        device,
        source.max_num_patches,
        precision=choose_precision(params.profile.precision, device),
        compile_towers=compile_towers,
    )


def load_towers(
    folder: Path | str,
    checkpoint: str,
    revision: str | None,
    device: torch.device,
    max_num_patches: int | None = None,
    *,
    precision: torch.dtype = torch.float32,
    compile_towers: bool = False,
) -> Towers:
    """Return the towers whose vectors the model in ``folder`` takes.

    Those of ``checkpoint``; where towers learnt too, with the weights of the best epoch in place of
    its own. See :func:`mmhash.encoders.checkpoint.load_checkpoint` for the other arguments. Raises
    :class:`InputError` for another checkpoint than the one that was trained.
    """
    folder = Path(folder)
    trained, tuned = tuned_towers(folder), None
    if trained is not None:
        found, _ = find_checkpoint(checkpoint, revision)
        if fingerprint(found) != trained["fingerprint"]:
            at = f" at {trained['revision']}" if trained["revision"] else ""
            raise InputError(
                f"{folder / 'config.json'}: the towers were trained from checkpoint "
                f"{trained['checkpoint']}{at}, and {checkpoint} holds other weights; name that "
                "one, or train again"
            )
        tensors, _ = load_tensors(folder / "best.safetensors", lambda name: name.startswith(TOWERS))
        tuned = {name.removeprefix(TOWERS): tensor for name, tensor in tensors.items()}
    return load_checkpoint(
        checkpoint,
        revision,
        device,
        max_num_patches,
        precision=precision,
        compile_towers=compile_towers,
        tuned=tuned,
    )
