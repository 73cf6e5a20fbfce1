"""Does the embedded sample separate methods? Mean and deviation of test mAP over five fixed seeds.

Run it after ``dvc repro`` with ``run.dataset: sample``; it reads ``features/`` and ``data/``:

    python benchmarks/sample_methods.py

Trains the MLP baseline and the main method at 32, 64 and 128 bits, with the plan as written
(``PLAN_AS_WRITTEN`` of :mod:`mmhash.ablations.main_method`; 200 epochs) and with the defaults of
params.yaml (30 epochs at most), and prints one table. Runs that stand in the results with the same
parameters and features are kept; ``--again`` repeats them. It writes
``benchmarks/results/sample_methods.json`` and puts the table between the marks in README.md.
Each seed changes initial weights, dropout, order and captions.
"""

import json
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import torch
from training_runs import train_tagger, with_overrides

from mmhash.ablations.main_method import PLAN_AS_WRITTEN
from mmhash.codes import binarise, pack
from mmhash.encoders.prototypes import cosine_scores
from mmhash.evaluation import score_split
from mmhash.features import Dataset, load_features
from mmhash.files import digest, read_json, sha256_file, write_json, write_text
from mmhash.index.kinds import build
from mmhash.metrics.multilabel import multilabel_metrics
from mmhash.params import Params, load_params
from mmhash.progress import track
from mmhash.retriever import Retriever, knn_settings
from mmhash.training.encode import encode

SEEDS = (1, 2, 3, 4, 5)  # fixed before any method was run
METHODS: dict[str, dict[str, Any]] = {
    "MLP": {"model.name": "mlp"},
    **{f"{bits} bits": {"hash.bits": bits} for bits in (32, 64, 128)},
}
SETTINGS: dict[str, dict[str, Any]] = {
    # 3,600 pictures give 57 optimiser steps an epoch where COCO gives 1,771, and the bottleneck
    # as the plan has it needs some thousands to leave chance: so more epochs, none cut short.
    "plan as written": {
        **PLAN_AS_WRITTEN,
        "train.num_epochs": 200,
        "train.early_stopping_patience": 200,
    },
    "defaults": {},
}
RESULT = Path("benchmarks/results/sample_methods.json")
MARKS = ("<!-- sample-methods:begin -->", "<!-- sample-methods:end -->")


def dataset() -> Dataset:
    """Return the sample's features with labels, split and prototypes."""
    return load_features(Path("features"), Path("data"), Path("data/prototypes.npy"))


def task_params(task: tuple[str, str, int]) -> Params:
    """Return the parameters of one setting, method and seed."""
    setting, method, seed = task
    overrides = {**SETTINGS[setting], **METHODS[method], "train.seed": seed}
    return with_overrides(load_params(), overrides)


def task_key(task: tuple[str, str, int]) -> str:
    """Return a digest of what a run is made from: its parameters and the features."""
    params = task_params(task).model_dump()
    blocks = ("model", "fusion", "hash", "classifier", "align", "loss", "train", "knn")
    features = [sha256_file(path) for path in sorted(Path("features").glob("*.npy"))]
    return digest({block: params[block] for block in blocks}, features)[:16]


def run(task: tuple[str, str, int]) -> dict[str, Any]:
    """Train and evaluate one method with one seed; return its test mAP by head."""
    torch.set_num_threads(1)  # two trainings side by side, one core each
    setting, method, seed = task
    params = task_params(task)
    data, device = dataset(), torch.device("cpu")
    vectors = data.features
    tagger, scale, summary = train_tagger(data, params)
    found = encode(tagger, vectors, data.database_rows(), scale)
    items = pack(binarise(found["h"])) if "h" in found else found["z"]
    retriever = Retriever(
        build(items),
        vectors.labels[found["row"]],
        data.image_id[found["row"]],
        **knn_settings(params.knn),
        soft=found.get("h"),
    )
    scored = score_split("test", data, tagger, scale, retriever, device)
    return {
        "setting": setting,
        "method": method,
        "seed": seed,
        "key": task_key(task),
        "epochs": summary.epochs_run,
        **{
            head: multilabel_metrics(scored.heads[head], scored.labels, 0.5)["mAP"]
            for head in ("knn", "classifier")
        },
    }


def reference(data: Dataset) -> dict[str, float]:
    """Return the test mAP of constant scores (chance) and of zero-shot on the picture alone."""
    rows = data.rows("test")
    labels = data.features.labels[rows]
    assert data.prototypes is not None
    images = np.asarray(data.features.image[rows], dtype=np.float32)
    figures = multilabel_metrics(
        np.clip((1 + cosine_scores(images, data.prototypes)) / 2, 0, 1), labels, 0.5
    )
    return {"chance": figures["mAP_chance"], "zero-shot": figures["mAP"]}


def table(rows: list[dict[str, Any]], known: dict[str, float]) -> str:
    """Return the Markdown table: mean ± standard deviation of test mAP over the seeds."""

    def cell(setting: str, method: str, head: str) -> str:
        values = [row[head] for row in rows if (row["setting"], row["method"]) == (setting, method)]
        return f"{mean(values):.3f} ± {stdev(values):.3f}"

    lines = [
        "| | KNN, plan as written | classifier, plan as written | KNN, defaults | "
        "classifier, defaults |",
        "| --- | --- | --- | --- | --- |",
        f"| chance | {known['chance']:.3f} | | | |",
        f"| zero-shot (picture only, nothing trained) | {known['zero-shot']:.3f} | | | |",
    ]
    for method in ("32 bits", "64 bits", "128 bits", "MLP"):
        cells = [
            cell(setting, method, head) for setting in SETTINGS for head in ("knn", "classifier")
        ]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def gaps(rows: list[dict[str, Any]], known: dict[str, float]) -> list[tuple[str, float, float]]:
    """Return each claimed order of the plan as written: name, mean gap, smallest gap by seed."""

    def by_seed(method: str, head: str) -> np.ndarray:
        values = {
            row["seed"]: row[head]
            for row in rows
            if (row["setting"], row["method"]) == ("plan as written", method)
        }
        return np.array([values[seed] for seed in SEEDS])

    knn = {bits: by_seed(f"{bits} bits", "knn") for bits in (32, 64, 128)}
    pairs = {
        "zero-shot − chance": np.array([known["zero-shot"] - known["chance"]]),
        "64-bit KNN − zero-shot": knn[64] - known["zero-shot"],
        "MLP − 64-bit KNN": by_seed("MLP", "classifier") - knn[64],
        "64 − 32 bits, KNN": knn[64] - knn[32],
        "128 − 64 bits, KNN": knn[128] - knn[64],
    }
    return [(name, float(gap.mean()), float(gap.min())) for name, gap in pairs.items()]


def main() -> None:
    """Run all trainings, two at a time, and write the results."""
    if read_json("data/manifest.json")["dataset"] != "sample":
        sys.exit("error: the features here are not the sample's; run dvc repro with dataset sample")
    tasks = [(s, m, seed) for s in SETTINGS for m in METHODS for seed in SEEDS]
    known = reference(dataset())
    kept = {}
    if RESULT.is_file() and "--again" not in sys.argv:
        kept = {row["key"]: row for row in read_json(RESULT)["runs"]}
    todo = [task for task in tasks if task_key(task) not in kept]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for row in track(pool.map(run, todo), len(todo), "trainings"):
            kept[row["key"]] = row
    rows = [kept[task_key(task)] for task in tasks]
    text = table(rows, known)
    order = gaps(rows, known)
    text += "\n\n| order, plan as written | mean gap in test mAP | smallest of the seeds |\n"
    text += "| --- | --- | --- |\n"
    text += "\n".join(f"| {name} | {middle:+.3f} | {low:+.3f} |" for name, middle, low in order)
    print(text)
    result = {
        "data": "sample (synthetic pictures drawn by this repository), 1,000 test pictures",
        "seeds": SEEDS,
        "machine": f"{platform.machine()}, one thread a training, torch {torch.__version__}",
        **known,
        "runs": rows,
    }
    write_json(RESULT, json.loads(json.dumps(result)))
    readme = Path("README.md").read_text(encoding="utf-8")
    before, _, rest = readme.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    write_text("README.md", f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}")
    if min(middle for _, middle, _ in order) <= 0:
        sys.exit("the sample does not separate the methods as it should")


if __name__ == "__main__":
    main()
