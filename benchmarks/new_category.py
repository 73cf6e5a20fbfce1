"""Are five pictures of a new category enough? The sample, with one category withheld from training.

    python benchmarks/new_category.py       # six trainings on the sample's features, some minutes

All pictures of a category, their captions and its label are left out of the sample (whose features
must be there: dvc repro), a model is trained on the rest and the database built. Then five pictures
of the category are added, drawn 20 times from those of train and restval with their first captions
and all their labels, and the test pictures are scored, with and without the category: by the plain
vote, and as :mod:`mmhash.added_categories` does. Results: ``benchmarks/results/new_category.json``.
"""

import argparse
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
from mmhash.codes import binarise, pack
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


def main() -> None:
    """Measure every category and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("categories", nargs="*", default=CATEGORIES)
    chosen = parser.parse_args()
    found = {}
    for name in chosen.categories:
        with tempfile.TemporaryDirectory() as folder:
            run = withheld_run(Path(folder), name)
            found[name] = measure(run, name)
        write_json(ROOT / "benchmarks" / "results" / "new_category.json", found)
        print(name, found[name], flush=True)


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
        environment = os.environ | {"PYTHONPATH": str(folder / "src")}
        command = [sys.executable, f"stages/{stage}.py"]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return folder


def measure(run: Path, name: str) -> dict[str, Any]:
    """Return the mean figures over the draws, of the vote and of the added category's score."""
    dataset = load_features(ROOT / "features", ROOT / "data")
    column = dataset.categories.index(name)
    has = dataset.features.labels[:, column].astype(bool)
    test, database = dataset.rows("test"), dataset.database_rows()
    examples = database[has[database]]
    carries = has[test]
    queries, candidates = soft_codes(run, dataset, test), soft_codes(run, dataset, examples)
    others = np.delete(dataset.features.labels, column, axis=1)
    soft, labels = read_npy(run / "index" / "soft.npy"), read_npy(run / "index" / "labels.npy")
    stream = numpy_stream(0, "new category")
    figures: dict[str, list[list[float]]] = {"vote": [], "added": []}
    for _ in range(DRAWS):
        drawn = stream.choice(len(examples), EXAMPLES, replace=False)
        wider = np.zeros((len(labels) + EXAMPLES, labels.shape[1] + 1), dtype=np.uint8)
        wider[: len(labels), :-1] = labels
        wider[len(labels) :, :-1] = others[examples[drawn]]
        wider[len(labels) :, -1] = 1
        together = np.concatenate([soft, candidates[drawn].astype(soft.dtype)])
        for what, scores in scored(together, wider, queries).items():
            best = np.argsort(-scores, axis=1, kind="stable")[:, :NAMED]
            named = (best == labels.shape[1]).any(axis=1)
            new = scores[:, -1]
            figures[what].append(
                [
                    roc_auc_score(carries, new),
                    average_precision_score(carries, new),
                    named[carries].mean(),
                    named[~carries].mean(),
                ]
            )
    columns = ("AUC", "AP", "named", "named_others")
    return {
        "pictures": int(has.sum()),
        "test_pictures": int(carries.sum()),
        "chance_AP": round(float(carries.mean()), 4),
        **{
            what: dict(zip(columns, np.mean(rows, axis=0).round(4).tolist(), strict=True))
            for what, rows in figures.items()
        },
    }


def soft_codes(run: Path, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Return what the model of ``run`` makes of pictures with their first captions."""
    tagger, scale = load_tagger(run / "model")
    return encode(tagger, dataset.features, rows, scale)["h"]


def scored(soft: np.ndarray, labels: np.ndarray, queries: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores (n, C) of all categories, the last one by vote and as an added one."""
    settings = knn_settings(load_params(ROOT / "params.yaml").knn)
    index, rows = build(pack(binarise(soft))), np.arange(len(soft))
    retriever = Retriever(index, labels, rows, **settings, soft=soft)
    codes, built = pack(binarise(queries)), labels.shape[1] - 1
    usual = usual_share(labels, built)
    votes, added, done = [], [], 0
    for found, _, scores in retriever.votes(codes, queries):
        part = slice(done, done + len(found))
        done += len(found)
        own = added_scores(retriever, built, usual, found, codes[part], queries[part])
        votes.append(scores)
        added.append(np.concatenate([scores[:, :built], own], axis=1))
    return {"vote": np.concatenate(votes), "added": np.concatenate(added)}


if __name__ == "__main__":
    main()
