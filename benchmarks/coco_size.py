"""The whole pipeline at COCO's size: what each stage takes, in seconds and in memory.

    python benchmarks/coco_size.py --epochs 30 --cache FOLDER

COCO's real labels with synthetic features (``synthetic_features.py``, level ``third``):
123,287 × (image + 5 captions) × 768, of which 113,287 rows train and are searched, 5,000 are val
and 5,000 test. A clone of this checkout (what is committed) runs ``dvc exp run`` on them from
``fetch_data`` to ``plot``; the figures are those that the stages wrote to ``metrics/cost``. ``dvc``
is what is left of the wall clock: Python's start and imports in every stage, checksums, the cache.
Prints one table and writes it to ``benchmarks/results/``.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from machine import HERE, clone_environment, cloned, machine_name
from ruamel.yaml import YAML
from synthetic_features import LABELS, folder, require_labels

from mmhash.cost import read_costs
from mmhash.files import read_json, write_json

LEVEL, WIDTH = "third", 768
RAM_GOALS = {"extract_features": 4.0, "train": 6.0}  # GB
HEADS = ("knn", "classifier", "hybrid")


def run(features: Path, epochs: int, scratch: Path, last: str = "plot") -> dict[str, Any]:
    """Run the pipeline up to stage ``last`` on ``features`` in a fresh clone below ``scratch``.

    Returns figures by stage and in all.
    """
    clone = cloned(scratch)
    overrides = {
        "run.dataset": "features",
        "datasets.features.root": features.resolve(),
        "train.num_epochs": epochs,
    }
    settings = [part for key, value in overrides.items() for part in ("-S", f"{key}={value}")]
    command = ["dvc", "exp", "run", "-n", "coco-size", *settings, last]
    start = time.perf_counter()
    subprocess.run(command, cwd=clone, env=clone_environment(), check=True)
    seconds = time.perf_counter() - start
    found, order = read_costs(clone / "metrics/cost"), stage_names(clone)
    costs = {name: found[name] for name in order if name in found}
    trained, evaluated = (read_json(clone / f"metrics/{name}.json") for name in ("train", "eval"))
    return {
        "epochs": trained["epochs_run"],
        "val_mAP": {head: evaluated["val"][head]["mAP"] for head in HEADS},
        "test_mAP": {head: evaluated["test"][head]["mAP"] for head in HEADS},
        "seconds": round(seconds, 1),
        "dvc_seconds": round(seconds - sum(cost["seconds"] for cost in costs.values()), 1),
        "stages": costs,
    }


def stage_names(checkout: Path) -> list[str]:
    """Return the names of the stages in the order of ``dvc.yaml``."""
    return list(YAML(typ="safe").load(checkout / "dvc.yaml")["stages"])


def table(found: dict[str, Any]) -> str:
    """Return seconds and peak memory by stage as Markdown."""
    lines = ["| stage | seconds | peak RAM GB | goal |", "| --- | --- | --- | --- |"]
    for stage, cost in found["stages"].items():
        goal = f"≤ {RAM_GOALS[stage]:.0f}" if stage in RAM_GOALS else ""
        lines.append(
            f"| {stage} | {cost['seconds']:.1f} | {cost['peak_ram_mb'] / 1e3:.2f} | {goal} |"
        )
    lines.append(f"| dvc | {found['dvc_seconds']:.1f} | | |")
    lines.append(f"| all | {found['seconds']:.1f} | | |")
    return "\n".join(lines)


def main() -> None:
    """Draw the features where they are not there, run, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--epochs", type=int, default=30, help="train.num_epochs (30)")
    parser.add_argument("--cache", type=Path, help="folder that keeps the drawn features (1.2 GB)")
    parser.add_argument("--labels", type=Path, default=LABELS, help="labels.npz")
    arguments = parser.parse_args()
    require_labels(arguments.labels)
    with tempfile.TemporaryDirectory(prefix="mmhash-coco-size-") as scratch:
        cache = arguments.cache or Path(scratch)
        folder(LEVEL, WIDTH, cache, arguments.labels)
        found = run(cache / f"{LEVEL}-{WIDTH}", arguments.epochs, Path(scratch))
    print(table(found))
    heads = ", ".join(f"{head} {value:.4f}" for head, value in found["test_mAP"].items())
    print(f"\ntest mAP after {found['epochs']} epochs: {heads}")
    machine = machine_name()
    write_json(
        HERE / "benchmarks/results" / f"coco_size-{machine}.json",
        {"data": "real labels, synthetic features", "level": LEVEL, "width": WIDTH}
        | {"machine": machine, "ram_goals_gb": RAM_GOALS, **found},
    )


if __name__ == "__main__":
    main()
