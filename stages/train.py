"""train: fusion, hash layer and classifier on the stored features, or with the towers."""

import sys
from pathlib import Path

import _checkout  # noqa: F401

from mmhash.cost import measured
from mmhash.encoders.device import choose_device
from mmhash.errors import exit_code
from mmhash.experiment import (
    learning_towers,
    loss_weights,
    model_config,
    run_name,
    train_settings,
    training_inputs,
)
from mmhash.features import load_features
from mmhash.files import cache_dir, write_json
from mmhash.params import load_params
from mmhash.tracking import dvclive_log, trackers
from mmhash.training.checkpoint import training_key, write_untrained
from mmhash.training.loop import train
from mmhash.training.settings import TrainingData

INPUTS = [
    *(Path("features") / f"{name}.npy" for name in ("image", "text", "caption_offset", "image_id")),
    *(Path("data") / name for name in ("images.parquet", "categories.json", "split.parquet")),
]


def main() -> None:
    """Write ``model/``, ``dvclive/`` and ``metrics/train.json``."""
    params = load_params()
    tracked = trackers(params.tracking.model_dump(), run_name(params), params.model_dump())
    alert = params.profile.vram_alert_gb
    with measured("train", alert), dvclive_log("dvclive") as live, tracked as track:
        dataset = load_features(Path("features"), Path("data"))
        vectors = dataset.features
        model = model_config(
            params, vectors.image.shape[1], vectors.text.shape[1], len(dataset.categories)
        )
        if model.name == "zeroshot":
            write_untrained(Path("model"), model, tuple(dataset.categories))
            write_json("metrics/train.json", {"notes": ["model.name is zeroshot: no training"]})
            return
        weights, settings = loss_weights(params), train_settings(params)
        device = choose_device(params.profile.device)
        towers = learning_towers(params, dataset, device)
        checksums = training_inputs(INPUTS, towers)

        def log(row: dict[str, float]) -> None:
            live(row)
            track(row)

        summary = train(
            TrainingData(
                vectors, dataset.training_rows(), dataset.rows("val"), tuple(dataset.categories)
            ),
            model,
            weights,
            settings,
            device=device,
            cache=cache_dir("train", training_key(model, weights, settings, checksums, device)),
            out=Path("model"),
            on_epoch=log,
            towers=towers,
        )
        write_json("metrics/train.json", summary.to_dict())


if __name__ == "__main__":
    sys.exit(exit_code(main, "the next dvc repro goes on behind the last finished epoch"))
