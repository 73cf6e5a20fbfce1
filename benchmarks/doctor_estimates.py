"""Are the doctor's estimates of time right? Estimated against measured, on six tasks.

    python benchmarks/doctor_estimates.py

Needs the sample's features (``dvc repro``). For each configuration the estimate is made first, then
the real training runs for the same number of epochs without early stopping. The extraction is
estimated and run on the sample's pictures. Prints one table and writes
``benchmarks/results/doctor_estimates-<machine>.json``.
"""

import sys
import tempfile
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import torch
from machine import machine_name

from mmhash.cli.estimates import extraction_seconds, training_seconds
from mmhash.data.coco import image_path
from mmhash.encoders.batch import extraction_batch
from mmhash.encoders.checkpoint import load_checkpoint
from mmhash.encoders.extract import extract
from mmhash.experiment import cross_modal_config, loss_weights, model_config, train_settings
from mmhash.features import load_features
from mmhash.files import read_table, write_json
from mmhash.params import load_params, parse_params
from mmhash.training.loop import train
from mmhash.training.settings import TrainingData

EPOCHS = 6
CONFIGURATIONS = {
    "64 bits, batch 32": {},
    "128 bits, layers of 2048 and 1024": {
        "hash": {"bits": 128},
        "fusion": {"mlp_dims": [2048, 1024]},
    },
    "MLP, batch 128": {"model": {"name": "mlp"}, "train": {"batch_size": 128}},
    "AGCH as published": {"model": {"name": "agch"}, "agch": {"num_epochs": 1}},
    "UCMFH as published": {"model": {"name": "ucmfh"}, "ucmfh": {"num_epochs": EPOCHS}},
}


def main() -> None:
    """Estimate, run, compare."""
    data = load_features(Path("features"), Path("data"))
    vectors, rows, val = data.features, data.training_rows(), data.rows("val")
    device = torch.device("cpu")
    found = {}
    for name, changes in CONFIGURATIONS.items():
        values = load_params().model_dump()
        for block, change in changes.items():
            values[block].update(change)
        values["train"].update(num_epochs=EPOCHS, early_stopping_patience=EPOCHS)
        params = parse_params(values)
        widths = vectors.image.shape[1], vectors.text.shape[1], len(data.categories)
        model = cross_modal_config(params, *widths) or model_config(params, *widths)
        weights, settings = loss_weights(params), train_settings(params, model)
        estimate = training_seconds(len(rows), len(val), model, weights, settings, device)
        with tempfile.TemporaryDirectory(prefix="mmhash-") as folder:
            start = time.perf_counter()
            train(
                TrainingData(vectors, rows, val, tuple(data.categories)),
                model,
                weights,
                settings,
                device=device,
                cache=Path(folder) / "cache",
                out=Path(folder) / "model",
            )
            found[f"training, {name}"] = (estimate, time.perf_counter() - start)
    found["extraction, tiny encoder"] = extraction()
    print("| | estimated s | measured s | ratio |\n| --- | --- | --- | --- |")
    for name, (estimate, measured) in found.items():
        print(f"| {name} | {estimate:.1f} | {measured:.1f} | {estimate / measured:.2f} |")
    machine = machine_name()
    rows_out = {
        name: {"estimated": e, "measured": m, "ratio": e / m} for name, (e, m) in found.items()
    }
    write_json(
        Path("benchmarks/results") / f"doctor_estimates-{machine}.json",
        {"data": "sample", "machine": machine, "rows": rows_out},
    )


def extraction() -> tuple[float, float]:
    """Return estimated and measured seconds of the sample's extraction."""
    params = load_params()
    images, root = read_table("data/images.parquet"), Path(params.dataset.root)
    towers = load_checkpoint("encoders/tiny-siglip", None, torch.device("cpu"))

    batch = extraction_batch(params.profile.extract_batch, towers)

    def extract_some(count: int, folder: Path) -> None:
        extract(
            images.slice(0, count),
            partial(image_path, root),
            towers,
            folder / "out",
            folder / "shards",
            batch=batch,
            workers=params.profile.num_workers,
        )

    estimate = extraction_seconds(images.num_rows, images.num_rows, extract_some)
    with tempfile.TemporaryDirectory(prefix="mmhash-") as folder:
        start = time.perf_counter()
        extract_some(images.num_rows, Path(folder))
        return estimate, time.perf_counter() - start


if __name__ == "__main__":
    main()
