"""From the blocks of ``params.yaml`` to the settings that the library's functions take."""

from mmhash.losses.total import LossWeights
from mmhash.models.config import (
    AlignConfig,
    ClassifierConfig,
    FusionConfig,
    HashConfig,
    ModelConfig,
)
from mmhash.params import Params
from mmhash.training.settings import TrainSettings


def model_config(params: Params, image_dim: int, text_dim: int, num_classes: int) -> ModelConfig:
    """Return the architecture for features of these widths."""
    return ModelConfig(
        name=params.model.name,
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


def train_settings(params: Params) -> TrainSettings:
    """Return the ``train`` block."""
    return TrainSettings(**params.train.model_dump())
