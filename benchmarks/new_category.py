"""Are five pictures of a new category enough? The sample, with one category withheld from training.

    python benchmarks/new_category.py       # six trainings on the sample's features, some minutes
    python benchmarks/new_category.py giraffe --keep FOLDER

All pictures of a category, their captions and its label are left out of the sample (whose features
must be there: dvc repro), a model is trained on the rest and the database built. Then five pictures
of the category are added, drawn 20 times from those of train and restval with their first captions
and all their labels, and the pictures of val and test are scored, with and without the category, by
four rules:

``vote``     the plain vote;
``prior``    the vote, corrected for the prior of a usual category;
``nearest``  Bayes' rule with the nearest example in place of the mean over all of them;
``added``    what :mod:`mmhash.added_categories` does, with the mean.

The rule was chosen by its mean AP on val; the figures of test say what it is worth. Results:
``benchmarks/results/new_category.json``. ``--keep`` measures nothing: it leaves one such run, with
its evaluation, and ``list.csv`` with five pictures of the category, to try ``mmhash index`` on.
"""

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from mmhash.added_categories import added_scores, usual_share
from mmhash.codes import binarise, hamming, pack
from mmhash.data.coco import image_path
from mmhash.features import Dataset, load_features
from mmhash.files import read_json, read_npy, read_table, write_json, write_npy, write_table
from mmhash.index.kinds import build
from mmhash.models.weights import load_tagger
from mmhash.params import load_params
from mmhash.retriever import Retriever, knn_settings
from mmhash.seeding import numpy_stream
from mmhash.training.encode import encode

# chosen before anything was measured
CATEGORIES = ("toothbrush", "giraffe", "pizza", "umbrella", "stop sign", "skateboard")
EXAMPLES, DRAWS, NAMED = 5, 20, 5
SPLITS, RULES = ("val", "test"), ("vote", "prior", "nearest", "added")
COLUMNS = ("AUC", "AP", "named", "named_others")


def main() -> None:
    """Measure every category and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("categories", nargs="*", default=CATEGORIES)
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="leave one category's run there"
    )
    chosen = parser.parse_args()
    if chosen.keep:
        keep(chosen.keep, chosen.categories[0])
        return
    found = {}
    for name in chosen.categories:
        with tempfile.TemporaryDirectory() as folder:
            run = withheld_run(Path(folder), name)
            found[name] = measure(run, name)
        write_json(ROOT / "benchmarks" / "results" / "new_category.json", found)
        print(name, found[name], flush=True)
    print(table(found))


def table(found: dict[str, Any]) -> str:
    """Return the means over the categories, on val and test, as Markdown."""
    lines = [
        f"| rule | {' | '.join(f'{split} {name}' for split in SPLITS for name in COLUMNS)} |",
        f"| --- |{' ---: |' * len(SPLITS) * len(COLUMNS)}",
    ]
    for rule in RULES:
        means = [
            np.mean([figures[split][rule][name] for figures in found.values()])
            for split in SPLITS
            for name in COLUMNS
        ]
        lines.append(f"| {rule} | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    return "\n".join(lines)


def withheld_run(folder: Path, name: str) -> Path:
    """Train in ``folder`` without the pictures of category ``name`` and build the index there."""
    for part in ("src", "stages", "data/descriptors"):
        shutil.copytree(ROOT / part, folder / part)
    shutil.copy2(ROOT / "params.yaml", folder)
    categories = read_json(ROOT / "data" / "categories.json")
    place = [category["name"] for category in categories].index(name)
    images = read_table(ROOT / "data" / "images.parquet")
    number = categories.pop(place)["id"]
    stays = np.array([number not in ids for ids in images["category_ids"].to_pylist()])
    write_table(folder / "data" / "images.parquet", images.filter(stays))
    split = read_table(ROOT / "data" / "split.parquet")
    write_table(folder / "data" / "split.parquet", split.filter(stays))
    write_json(folder / "data" / "categories.json", categories)
    prototypes = read_npy(ROOT / "data" / "prototypes.npy")
    write_npy(folder / "data" / "prototypes.npy", np.delete(prototypes, place, axis=0))

    features = {part: read_npy(ROOT / "features" / f"{part}.npy") for part in ("image", "text")}
    ids, offset = (read_npy(ROOT / "features" / f"{p}.npy") for p in ("image_id", "caption_offset"))
    rows = np.flatnonzero(np.isin(ids, images["image_id"].to_numpy()[stays]))
    texts = np.concatenate([np.arange(offset[row], offset[row + 1]) for row in rows])
    counts = np.diff(offset)[rows]
    out = folder / "features"
    write_npy(out / "image.npy", features["image"][rows])
    write_npy(out / "text.npy", features["text"][texts])
    write_npy(out / "image_id.npy", ids[rows])
    write_npy(out / "caption_offset.npy", np.append(0, np.cumsum(counts)).astype(offset.dtype))
    shutil.copy2(ROOT / "features" / "meta.json", out)
    for stage in ("train", "build_index"):
        run_stage(folder, stage)
    return folder


def run_stage(folder: Path, stage: str) -> None:
    """Run the script of a stage in ``folder``, with the code that lies there."""
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    command = [sys.executable, f"stages/{stage}.py"]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


def keep(folder: Path, name: str) -> None:
    """Leave the run without category ``name`` in ``folder``, evaluated, and five of its pictures.

    The pictures stand in ``list.csv`` with their labels and first captions: the first of train and
    restval, in the order of the database.
    """
    folder.mkdir(parents=True)
    withheld_run(folder, name)
    shutil.copytree(ROOT / "encoders", folder / "encoders")
    (folder / "data" / "sample").symlink_to(ROOT / "data" / "sample", target_is_directory=True)
    shutil.copy2(ROOT / "data" / "manifest.json", folder / "data")
    run_stage(folder, "evaluate")
    dataset = load_features(ROOT / "features", ROOT / "data")
    database = dataset.database_rows()
    has = dataset.features.labels[database, dataset.categories.index(name)].astype(bool)
    rows = {
        row["image_id"]: row for row in read_table(ROOT / "data" / "images.parquet").to_pylist()
    }
    names = {entry["id"]: entry["name"] for entry in read_json(ROOT / "data" / "categories.json")}
    root = ROOT / load_params(ROOT / "params.yaml").dataset.root
    with (folder / "list.csv").open("w", encoding="utf-8", newline="") as stream:
        lines = csv.writer(stream)
        lines.writerow(["file", "labels", "caption"])
        for number in dataset.image_id[database[has][:EXAMPLES]].tolist():
            row = rows[number]
            labels = ";".join(names[category] for category in row["category_ids"])
            path = image_path(root, row["folder"], row["file_name"])
            lines.writerow([path, labels, row["captions"][0]])


def measure(run: Path, name: str) -> dict[str, Any]:
    """Return the mean figures over the draws, by split and rule."""
    dataset = load_features(ROOT / "features", ROOT / "data")
    column = dataset.categories.index(name)
    has = dataset.features.labels[:, column].astype(bool)
    database = dataset.database_rows()
    examples = database[has[database]]
    rows = {split: dataset.rows(split) for split in SPLITS}
    queries = {split: soft_codes(run, dataset, rows[split]) for split in SPLITS}
    candidates = soft_codes(run, dataset, examples)
    others = np.delete(dataset.features.labels, column, axis=1)
    soft, labels = read_npy(run / "index" / "soft.npy"), read_npy(run / "index" / "labels.npy")
    stream = numpy_stream(0, "new category")
    figures: dict[tuple[str, str], list[list[float]]] = {}
    for _ in range(DRAWS):
        drawn = stream.choice(len(examples), EXAMPLES, replace=False)
        wider = np.zeros((len(labels) + EXAMPLES, labels.shape[1] + 1), dtype=np.uint8)
        wider[: len(labels), :-1] = labels
        wider[len(labels) :, :-1] = others[examples[drawn]]
        wider[len(labels) :, -1] = 1
        together = np.concatenate([soft, candidates[drawn].astype(soft.dtype)])
        for split in SPLITS:
            carries = has[rows[split]]
            votes, by_rule = scored(together, wider, queries[split])
            for rule, new in by_rule.items():
                scores = np.concatenate([votes, new[:, None]], axis=1)
                best = np.argsort(-scores, axis=1, kind="stable")[:, :NAMED]
                named = (best == labels.shape[1]).any(axis=1)
                figures.setdefault((split, rule), []).append(
                    [
                        roc_auc_score(carries, new),
                        average_precision_score(carries, new),
                        named[carries].mean(),
                        named[~carries].mean(),
                    ]
                )
    found: dict[str, Any] = {"pictures": int(has.sum())}
    for split in SPLITS:
        carries = has[rows[split]]
        chance = round(float(carries.mean()), 4)
        found[split] = {"pictures": int(carries.sum()), "chance_AP": chance}
        for rule in RULES:
            means = np.mean(figures[split, rule], axis=0).round(4).tolist()
            found[split][rule] = dict(zip(COLUMNS, means, strict=True))
    return found


def soft_codes(run: Path, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Return what the model of ``run`` makes of pictures with their first captions."""
    tagger, scale = load_tagger(run / "model")
    return encode(tagger, dataset.features, rows, scale)["h"]


def scored(
    soft: np.ndarray, labels: np.ndarray, queries: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the votes (n, C) of the categories of the training, and the last one's score by rule.

    The rules (n,) are those of the module's docstring; ``labels`` (M, C + 1) belong to ``soft``.
    """
    settings = knn_settings(load_params(ROOT / "params.yaml").knn)
    codes, asked = pack(binarise(soft)), pack(binarise(queries))
    retriever = Retriever(build(codes), labels, np.arange(len(soft)), **settings, soft=soft)
    built = labels.shape[1] - 1
    usual = usual_share(labels, built)
    votes, added, done = [], [], 0
    for found, _, scores in retriever.votes(asked, queries):
        part = slice(done, done + len(found))
        done += len(found)
        own = added_scores(retriever, built, usual, found, asked[part], queries[part])
        votes.append(scores)
        added.append(own[:, 0])
    everything = np.concatenate(votes).astype(np.float64)
    vote, mean = everything[:, -1], np.concatenate(added).astype(np.float64)
    share = labels[:, -1].mean()
    prior = max(usual, share)
    kernel = np.exp(
        -hamming(asked, codes[labels[:, -1] > 0]) / (8 * codes.shape[1]) / retriever.tau
    )
    return everything[:, :-1], {
        "vote": vote,
        "prior": _times_odds(vote, prior / share * (1 - share) / (1 - prior)),
        "nearest": _times_odds(mean, kernel.max(axis=1) / kernel.mean(axis=1)),
        "added": mean,
    }


def _times_odds(p: np.ndarray, factor: float | np.ndarray) -> np.ndarray:
    """Return the probabilities whose odds are ``factor`` times those of ``p``."""
    return factor * p / (factor * p + 1 - p)


if __name__ == "__main__":
    main()
