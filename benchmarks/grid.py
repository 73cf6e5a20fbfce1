"""The 27-row grid at COCO's size against the plan's 472 hours.

    python benchmarks/grid.py --cache FOLDER
    python benchmarks/grid.py --cache FOLDER --full

COCO's real labels with synthetic features as in ``coco_size.py``, one seed. Rows that are equal by
construction are one experiment, and experiments that differ in the vote alone share one training
(``mmhash ablate grid``). Measured: one epoch of each kind of training (bits × fusion), with
validation and the state that is saved, two trainings at a time with one thread each; and one
experiment through DVC for what follows a training. From these the hours on 2 cores are
**extrapolated**, rather too many: all epochs of ``params.yaml``, though early stopping may end a
run sooner, and for each experiment all that DVC took for the first one. What is once for all,
reading the features, is left out. ``--full`` runs the grid instead, in a clone of
this checkout (what is committed), one experiment after another. Prints one table and writes it to
``benchmarks/results/``; ``ratio`` is the plan's hours over ours.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from coco_size import LEVEL, WIDTH, run
from machine import HERE, clone_environment, cloned, machine_name
from ruamel.yaml import YAML
from synthetic_features import LABELS, folder, open_folder, require_labels
from training_runs import PARAMS, train_tagger, with_overrides

from mmhash.ablations.catalogue import studies
from mmhash.experiments.plan import canonical, row_overrides
from mmhash.files import write_json
from mmhash.params import load_params

PLAN_HOURS, GOAL_HOURS = 472.0, 3.5
AT_ONCE = 2
SHAPE = ("hash.bits", "fusion.type")  # what changes the time of a step
EVALUATION = ("build_index", "evaluate")

Overrides = dict[str, Any]


def experiments() -> list[Overrides]:
    """Return the distinct settings of the grid's rows, without what cannot change a result."""
    study = studies("features")["grid"]
    values = load_params(PARAMS).model_dump()
    found = {}
    for row in study.rows:
        overrides = canonical(values, row_overrides(study, row, {}))
        found[str(overrides)] = overrides
    return list(found.values())


def trainings(settings: list[Overrides]) -> list[Overrides]:
    """Return the distinct trainings among ``settings``: without what stage train does not read."""
    blocks = YAML(typ="safe").load(HERE / "dvc.yaml")["stages"]["train"]["params"]
    found = {}
    for overrides in settings:
        read = {key: value for key, value in overrides.items() if key.split(".")[0] in blocks}
        found[str(read)] = read
    return list(found.values())


def shape(overrides: Overrides) -> Overrides:
    """Return the part of ``overrides`` that changes the time of a training step."""
    return {key: value for key, value in overrides.items() if key in SHAPE}


def epoch_seconds(features: Path, overrides: Overrides) -> float:
    """Return the seconds of a training of one epoch."""
    params = with_overrides(load_params(PARAMS), {**overrides, "train.num_epochs": 1})
    data = open_folder(features)
    start = time.perf_counter()
    train_tagger(data, params)
    return time.perf_counter() - start


def extrapolated(features: Path, scratch: Path) -> dict[str, Any]:
    """Measure the slices; return them and the hours that follow."""
    settings = experiments()
    distinct = trainings(settings)
    kinds = {str(shape(overrides)): shape(overrides) for overrides in distinct}
    with ProcessPoolExecutor(AT_ONCE, get_context("spawn")) as pool:
        taken = pool.map(partial(epoch_seconds, features), kinds.values())
        seconds = dict(zip(kinds, taken, strict=True))
    one = run(features, 1, scratch, EVALUATION[-1])
    after = sum(one["stages"][stage]["seconds"] for stage in EVALUATION) + one["dvc_seconds"]
    epochs = load_params(PARAMS).train.num_epochs
    training = epochs * sum(seconds[str(shape(overrides))] for overrides in distinct) / AT_ONCE
    evaluation = after * len(settings)  # the retrieval figures keep both cores busy
    return {
        "extrapolated": True,
        "epochs": epochs,
        "rows": len(studies("features")["grid"].rows),
        "experiments": len(settings),
        "trainings": len(distinct),
        "epoch_seconds": {
            ", ".join(f"{key} {value}" for key, value in kind.items()) or "defaults": round(
                seconds[name], 1
            )
            for name, kind in kinds.items()
        },
        "after_training_seconds": round(after, 1),
        "hours_trainings": round(training / 3600, 2),
        "hours_after_training": round(evaluation / 3600, 2),
        "hours": round((training + evaluation) / 3600, 2),
        "hours_one_after_another": round((AT_ONCE * training + evaluation) / 3600, 2),
    }


def complete(features: Path, scratch: Path) -> dict[str, Any]:
    """Run the whole grid through ``mmhash ablate``; return how long it took."""
    clone = cloned(scratch)
    environment = clone_environment() | {"PYTHONPATH": str(clone / "src")}
    command = [sys.executable, "-c", "from mmhash.cli.main import main; main()"]
    command += ["ablate", "grid", "--dataset", "features", "--seeds", "1"]
    command += ["-S", f"datasets.features.root={features.resolve()}"]
    start = time.perf_counter()
    subprocess.run(command, cwd=clone, env=environment, check=True)
    settings = experiments()
    return {
        "extrapolated": False,
        "rows": len(studies("features")["grid"].rows),
        "experiments": len(settings),
        "trainings": len(trainings(settings)),
        "hours": round((time.perf_counter() - start) / 3600, 2),
    }


def table(found: dict[str, Any]) -> str:
    """Return the hours as Markdown."""
    how = "extrapolated from slices" if found["extrapolated"] else "measured, one after another"
    lines = [
        "| | hours | the plan's 472 h / this |",
        "| --- | --- | --- |",
        f"| {found['rows']} rows, {found['trainings']} trainings, {found['experiments']} "
        f"experiments; {how} | {found['hours']:.2f} | {PLAN_HOURS / found['hours']:.0f} |",
        f"| goal on 2 cores | {GOAL_HOURS:.2f} | {PLAN_HOURS / GOAL_HOURS:.0f} |",
    ]
    if found["extrapolated"]:
        alone = found["hours_one_after_another"]
        lines.append(f"| one training at a time (`mmhash ablate`) | {alone:.2f} | |")
        lines += ["", "| one epoch, two trainings at a time | seconds |", "| --- | --- |"]
        lines += [f"| {kind} | {taken:.1f} |" for kind, taken in found["epoch_seconds"].items()]
        lines.append(f"| index, evaluation and dvc | {found['after_training_seconds']:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Draw the features where they are not there, measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--full", action="store_true", help="run the grid itself; hours")
    parser.add_argument("--cache", type=Path, help="folder that keeps the drawn features (1.2 GB)")
    parser.add_argument("--labels", type=Path, default=LABELS, help="labels.npz")
    arguments = parser.parse_args()
    require_labels(arguments.labels)
    with tempfile.TemporaryDirectory(prefix="mmhash-grid-") as scratch:
        cache = arguments.cache or Path(scratch)
        folder(LEVEL, WIDTH, cache, arguments.labels)
        measure = complete if arguments.full else extrapolated
        found = measure(cache / f"{LEVEL}-{WIDTH}", Path(scratch))
    print(table(found))
    machine = machine_name()
    write_json(
        HERE / "benchmarks/results" / f"grid-{machine}.json",
        {"data": "real labels, synthetic features", "level": LEVEL, "width": WIDTH}
        | {"machine": machine, "plan_hours": PLAN_HOURS, "goal_hours": GOAL_HOURS, **found}
        | {"ratio": round(PLAN_HOURS / found["hours"], 1)},
    )


if __name__ == "__main__":
    main()
