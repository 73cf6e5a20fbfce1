"""train: fusion, hash layer and classifier on the stored features, or with the towers."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _checkout  # noqa: F401
import torch

from mmhash.cost import measured
from mmhash.encoders.device import choose_device
from mmhash.errors import exit_code
from mmhash.experiment import (
    cross_modal_config,
    learning_towers,
    loss_weights,
    model_config,
    run_name,
    train_settings,
    training_inputs,
)
from mmhash.features import load_features
from mmhash.files import cache_dir, write_json
from mmhash.models.cross_modal import CrossModalConfig
from mmhash.params import Params, load_params
from mmhash.ranks import ALONE, Ranks, joined, restarted
from mmhash.tracking import dvclive_log, trackers
from mmhash.training.checkpoint import training_key, write_untrained
from mmhash.training.closed_form import fit_closed_form
from mmhash.training.loop import train
from mmhash.training.settings import TrainingData

INPUTS = [
    *(Path("features") / f"{name}.npy" for name in ("image", "text", "caption_offset", "image_id")),
    *(Path("data") / name for name in ("images.parquet", "categories.json", "split.parquet")),
]


Log = Callable[[dict[str, float]], None]


def fit(
    params: Params, device: torch.device, ranks: Ranks, log: Log | None = None
) -> dict[str, Any]:
    """Train into ``model/``; return what goes to ``metrics/train.json``."""
    dataset = load_features(Path("features"), Path("data"))
    vectors = dataset.features
    categories = tuple(dataset.categories)
    widths = vectors.image.shape[1], vectors.text.shape[1], len(categories)
    model = cross_modal_config(params, *widths) or model_config(params, *widths)
    if model.name == "zeroshot":
        write_untrained(Path("model"), model, categories)
        return {"notes": ["model.name is zeroshot: no training"]}
    data = TrainingData(vectors, dataset.training_rows(), dataset.rows("val"), categories)
    if isinstance(model, CrossModalConfig) and model.name == "shallow":
        return fit_closed_form(data, model, params.train.seed, Path("model"))
    weights, settings = loss_weights(params), train_settings(params, model)
    towers = learning_towers(params, dataset, device, ranks)
    checksums = training_inputs(INPUTS, towers)
    compiled = params.profile.compile
    key = training_key(model, weights, settings, checksums, device, compiled)
    summary = train(
        data,
        model,
        weights,
        settings,
        device=device,
        cache=Path(ranks.agree(lambda: str(cache_dir("train", key)))),
        out=Path("model"),
        on_epoch=log,
        towers=towers,
        compiled=compiled,
    )
    return summary.to_dict()


def record(params: Params, device: torch.device, ranks: Ranks) -> None:
    """Train, and write down what the training was like and what it cost."""
    tracked = trackers(params.tracking.model_dump(), run_name(params), params.model_dump())
    alert = params.profile.vram_alert_gb
    with measured("train", alert), dvclive_log("dvclive") as live, tracked as track:

        def log(row: dict[str, float]) -> None:
            live(row)
            track(row)

        write_json("metrics/train.json", fit(params, device, ranks, log))


def main() -> None:
    """Write ``model/``, ``dvclive/`` and ``metrics/train.json``."""
    params = load_params()
    device = choose_device(params.profile.device)
    # With frozen towers one process takes seconds: the others would only wait for it.
    shared = params.encoder.unfreeze != "none"
    if shared and restarted(params.profile.processes):
        return
    with joined(device) as ranks:
        if ranks.first:
            record(params, device, ranks if shared else ALONE)
        elif shared:
            fit(params, device, ranks)


if __name__ == "__main__":
    sys.exit(exit_code(main, "the next dvc repro goes on behind the last finished epoch"))
