"""The cross-modal methods at the sample's size and at COCO's: time and memory.

    python benchmarks/cross_modal.py --cache FOLDER

COCO's real labels with synthetic features of 768 values (``synthetic_features.py``, level
``third``), and as many of its rows as the sample has. Each method runs in a process of its own,
with its block of ``params.yaml``, what is published for COCO at that size, and 64 bits, so that its
peak memory is its own. Measured: a few training steps, from which the time of all epochs is
**extrapolated** (validation is left out); for the shallow methods the whole fit; and the
evaluation: codes of database and queries, retrieval with all figures. All is CPU time of one
thread, so a busy machine changes it little. The main method's training is in ``train.py``. Prints
one table and writes it to ``benchmarks/results/``.
"""

import argparse
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import torch
from coco_size import LEVEL, WIDTH
from machine import HERE, machine_name
from synthetic_features import LABELS, folder, open_folder, require_labels
from threadpoolctl import threadpool_limits
from training_runs import PARAMS, with_overrides

from mmhash.across import evaluate_across
from mmhash.experiment import cross_modal_config, loss_weights, train_settings
from mmhash.features import Dataset
from mmhash.files import write_json
from mmhash.models.cross_modal import CrossModalConfig, CrossModalHasher
from mmhash.models.shallow import fit_shallow
from mmhash.params import load_params
from mmhash.training.cross_modal import CrossModalRun
from mmhash.training.settings import TrainingData

STEPS = 10  # that are timed, after as many that warm up
SAMPLE = {"train": 3600, "val": 600, "test": 1000}  # rows of the sample
METHODS = {
    "AGCH": {"model.name": "agch"},
    "UCMFH as published": {"model.name": "ucmfh"},
    "UCMFH without leak": {
        "model.name": "ucmfh",
        "ucmfh.attention": "sample",
        "ucmfh.query": "single",
    },
    "CMFH": {"model.name": "shallow", "shallow.method": "cmfh"},
    "CCA + ITQ": {"model.name": "shallow", "shallow.method": "cca_itq"},
}


def of_size(data: Dataset, rows: dict[str, int] | None) -> Dataset:
    """Return ``data`` with only so many rows of each split (None: all); the others are unused."""
    if rows is None:
        return data
    kept = np.full(len(data.split), "unused", dtype=object)
    for split, count in rows.items():
        kept[data.rows(split)[:count]] = split
    return replace(data, split=kept)


def fitted(
    data: Dataset, config: CrossModalConfig, rows: np.ndarray
) -> tuple[CrossModalHasher, float]:
    """Fit a shallow method to all ``rows``; return it and the seconds."""
    features = data.features
    began = time.process_time()
    hasher = fit_shallow(config, *features.first_pairs(rows), features.labels[rows], 0)
    return hasher, time.process_time() - began


def measure(cache: Path, rows: dict[str, int] | None, overrides: dict[str, Any]) -> dict[str, Any]:
    """Measure one method at one size, in this process."""
    torch.set_num_threads(1)
    threadpool_limits(1)
    data = of_size(open_folder(cache), rows)
    params = with_overrides(load_params(PARAMS), overrides)
    features, train = data.features, data.training_rows()
    widths = features.image.shape[1], features.text.shape[1], len(data.categories)
    config = cross_modal_config(params, *widths)
    assert config is not None  # the overrides name such a method
    found: dict[str, Any] = {"epochs": None, "step_ms": None}
    if config.name == "shallow":
        hasher, seconds = fitted(data, config, train)
    else:
        settings = train_settings(params, config)
        rows_used = min(len(train), config.settings.get("train_rows") or len(train))
        steps = rows_used // settings.batch_size
        part = TrainingData(
            features, train[: STEPS * settings.batch_size], data.rows("val"), tuple(data.categories)
        )
        run = CrossModalRun(part, config, loss_weights(params), settings, torch.device("cpu"))
        run.steps(0, 1.0)
        began = time.process_time()
        run.steps(1, 1.0)
        taken = (time.process_time() - began) / STEPS
        found |= {"epochs": settings.num_epochs, "step_ms": round(1e3 * taken, 1)}
        seconds = taken * steps * settings.num_epochs
        hasher = run.hasher
    began = time.process_time()
    evaluate_across(hasher, data, 1.0, torch.device("cpu"))
    return found | {
        "training_minutes": round(seconds / 60, 2),
        "evaluation_seconds": round(time.process_time() - began, 1),
        "peak_ram_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }


def table(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| size | method | ms a step | epochs | training, minutes | evaluation, s | peak RAM GB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for size, methods in found.items():
        for method, row in methods.items():
            stepped = row["epochs"] is not None
            how = f"{row['training_minutes']:.1f} (extrapolated)"
            cells = [
                *(size, method),
                *((f"{row['step_ms']:.1f}", str(row["epochs"])) if stepped else ("", "")),
                how if stepped else f"{row['training_minutes']:.1f}",
                *(f"{row['evaluation_seconds']:.1f}", f"{row['peak_ram_gb']:.2f}"),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Draw the features where they are not there, measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cache", type=Path, help="folder that keeps the drawn features (1.2 GB)")
    parser.add_argument("--labels", type=Path, default=LABELS, help="labels.npz")
    arguments = parser.parse_args()
    require_labels(arguments.labels)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory(prefix="mmhash-cross-modal-") as scratch:
        cache = arguments.cache or Path(scratch)
        folder(LEVEL, WIDTH, cache, arguments.labels)
        for size, dataset, rows in (("sample", "sample", SAMPLE), ("COCO", "coco2014", None)):
            found[size] = {}
            for method, overrides in METHODS.items():
                with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                    settings = {"run.dataset": dataset, **overrides}
                    work = pool.submit(measure, cache / f"{LEVEL}-{WIDTH}", rows, settings)
                    found[size][method] = work.result()
    print(table(found))
    machine = machine_name()
    write_json(
        HERE / "benchmarks/results" / f"cross_modal-{machine}.json",
        {"data": "real labels, synthetic features", "level": LEVEL, "width": WIDTH}
        | {"machine": machine, "bits": load_params(PARAMS).hash.bits, "sizes": found},
    )


if __name__ == "__main__":
    main()
