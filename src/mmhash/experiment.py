"""From the blocks of ``params.yaml`` to the settings that the library's functions take."""

import os
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch

from mmhash.features import Dataset
from mmhash.files import digest, sha256_file
from mmhash.losses.total import LossWeights
from mmhash.models.config import (
    AlignConfig,
    ClassifierConfig,
    FusionConfig,
    HashConfig,
    ModelConfig,
    ModelName,
)
from mmhash.models.cross_modal import CrossModalConfig
from mmhash.models.hashers import HASHERS, method_settings
from mmhash.params import CROSS_MODAL, Params
from mmhash.ranks import ALONE, Ranks
from mmhash.training.end_to_end import EndToEnd
from mmhash.training.settings import TrainSettings


def cross_modal_config(
    params: Params, image_dim: int, text_dim: int, num_classes: int
) -> CrossModalConfig | None:
    """Return the cross-modal method for features of these widths; None: another method."""
    name = params.model.name
    if name not in HASHERS:
        return None
    return CrossModalConfig(
        name=name,
        image_dim=image_dim,
        text_dim=text_dim,
        bits=params.hash.bits,
        settings=method_settings(name, getattr(params, name).model_dump(), params.run.dataset),
        num_classes=num_classes,
        schedule=params.hash.schedule,
        scale_min=params.hash.scale_min,
        scale_max=params.hash.scale_max,
    )


def model_config(params: Params, image_dim: int, text_dim: int, num_classes: int) -> ModelConfig:
    """Return the architecture of the main method or its baselines for features of these widths.

    Raises :class:`mmhash.errors.InputError` where ``model.name`` is another method.
    """
    return ModelConfig(
        name=cast(ModelName, params.model.name),
        inputs=params.model.inputs,
        image_dim=image_dim,
        text_dim=text_dim,
        num_classes=num_classes,
        fusion=FusionConfig(**params.fusion.model_dump()),
        hash=HashConfig(**params.hash.model_dump()),
        classifier=ClassifierConfig(**params.classifier.model_dump()),
        align=AlignConfig(**params.align.model_dump()),
    )


def loss_weights(params: Params) -> LossWeights:
    """Return the ``loss`` block; its inner block ``hash_reg`` becomes plain fields."""
    values = params.loss.model_dump()
    return LossWeights(**values.pop("hash_reg"), **values)


def train_settings(
    params: Params, model: ModelConfig | CrossModalConfig | None = None
) -> TrainSettings:
    """Return the ``train`` block; a cross-modal method's own block goes before it.

    Such a method trains in float32, one batch an optimiser step, all its epochs. ``shallow`` is
    fitted at once, so that batches and epochs of these settings say nothing about it.
    """
    settings = TrainSettings(**params.train.model_dump())
    if not isinstance(model, CrossModalConfig):
        return settings
    if model.name == "shallow":
        return replace(settings, amp=False)
    epochs = model.settings["num_epochs"]
    return replace(
        settings,
        batch_size=model.settings["batch_size"],
        gradient_accumulation_steps=1,
        num_epochs=epochs,
        early_stopping_patience=epochs,
        amp=False,
    )


def run_name(params: Params) -> str:
    """Return what a training is called outside DVC: for a person to recognise, and unique to it.

    The name of the DVC experiment if there is one, else dataset and model (of the shallow methods
    the one at hand), with the bits of its code if it has one; behind it a digest of every block
    that has a say in the weights, so that a training started again has the same name and any other
    has another.
    """
    name: str = params.model.name
    if name == "shallow":
        name = params.shallow.method
    # Cross-modal methods have bits whatever the tagger's hash layer does; cca is real-valued.
    has_layer = params.hash.enabled or params.model.name in HASHERS
    hashed = has_layer and name not in ("mlp", "zeroshot", "cca")
    model = f"{name}-{params.hash.bits}bit" if hashed else name
    decisive = params.model_dump(
        include={"split", "features", "encoder", "model", "fusion", "hash", "classifier", "align"}
        | {"loss", "train", *CROSS_MODAL}
    )
    key = digest(params.run.dataset, params.dataset.model_dump(), decisive)[:8]
    return f"{os.environ.get('DVC_EXP_NAME') or f'{params.run.dataset}-{model}'}-{key}"


def learning_towers(
    params: Params, dataset: Dataset, device: torch.device, ranks: Ranks = ALONE
) -> EndToEnd | None:
    """Return the towers that learn with the tagger, or None with ``encoder.unfreeze`` none.

    See :func:`mmhash.unfreezing.towers_in_training`.
    """
    if params.encoder.unfreeze == "none":
        return None
    from mmhash.unfreezing import towers_in_training  # loads transformers, which takes seconds

    return towers_in_training(params, dataset, device, ranks)


def training_inputs(paths: list[Path], towers: EndToEnd | None) -> dict[str, str]:
    """Return the digests of all that a training reads, by name: files, and towers that learn."""
    found = {path.as_posix(): sha256_file(path) for path in paths}
    if towers is not None:
        found["data/manifest.json"] = sha256_file("data/manifest.json")  # of the pictures
        found["towers"] = digest(towers.described())
    return found
