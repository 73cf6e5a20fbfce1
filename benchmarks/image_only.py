"""What may stand in for a caption that is not given: mAP on val of each candidate.

    python benchmarks/image_only.py

On the finished run of this checkout (``dvc repro``): the images of val, with in place of their
captions' vectors those of each candidate, scored by the neighbours and by the classifier. The
choice stands in :mod:`mmhash.image_only`; test is not looked at. Prints one table and writes it to
``benchmarks/results/``.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
from machine import HERE

import mmhash
from mmhash.codes import binarise, pack
from mmhash.features import Dataset, load_features
from mmhash.files import write_json
from mmhash.heads import probabilities
from mmhash.index.vectors import unit_rows
from mmhash.metrics.ranking import average_precision
from mmhash.trained import TrainedRun
from mmhash.training.batches import Features
from mmhash.training.encode import encode


def nearest_mean(
    similarity: np.ndarray, captions: np.ndarray, k: int, magnitude: float | None = None
) -> np.ndarray:
    """Return the mean direction of the ``k`` most similar captions at their mean magnitude."""
    near = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    length = np.linalg.norm(captions, axis=1)
    mean = unit_rows(unit_rows(captions)[near].mean(axis=1))
    return mean * (length[near].mean(axis=1, keepdims=True) if magnitude is None else magnitude)


def candidates(dataset: Dataset) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a name and text vectors (n, D_t) for the images of val."""
    image, text = dataset.features.first_pairs(dataset.rows("val"))
    train_image, train_text = dataset.features.first_pairs(dataset.training_rows())
    magnitude = float(np.linalg.norm(train_text, axis=1).mean())
    yield "their own captions", text
    yield "zero", np.zeros_like(text)
    yield "mean of all training captions", np.tile(train_text.mean(axis=0), (len(image), 1))
    if image.shape[1] == text.shape[1]:
        yield "the image's vector", image
        yield "the image's direction, mean magnitude", unit_rows(image) * magnitude
        across = unit_rows(image) @ unit_rows(train_text).T
        for k in (1, 10, 50):
            yield f"{k} nearest captions", nearest_mean(across, train_text, k, magnitude)
    if dataset.prototypes is not None:
        cosine = unit_rows(image) @ dataset.prototypes.T
        for tau in (0.2, 0.1, 0.05, 0.02):
            weight = np.exp((cosine - cosine.max(axis=1, keepdims=True)) / tau)
            mean = unit_rows(weight @ dataset.prototypes)
            yield f"class prompts, softmax tau {tau}", mean * magnitude
    alike = unit_rows(image) @ unit_rows(train_image).T
    for k in (1, 3, 5, 10, 20, 50):
        yield f"captions of the {k} nearest pictures", nearest_mean(alike, train_text, k)


def scored(run: TrainedRun, dataset: Dataset, text: np.ndarray) -> dict[str, float]:
    """Return the mAP on val of both heads with ``text`` (n, D_t) in place of the captions."""
    rows = dataset.rows("val")
    image, labels = dataset.features.image[rows], dataset.features.labels[rows]
    pairs = Features(image, np.ascontiguousarray(text), np.arange(len(rows) + 1), labels)
    model, scale = run.model
    found = encode(model, pairs, np.arange(len(rows)), scale, device=run.device)
    votes, _ = run.database.retriever.score(pack(binarise(found["h"])), found["h"])
    return {
        head: round(float(np.nanmean(average_precision(scores, labels))), 4)
        for head, scores in (("knn", votes), ("classifier", probabilities(found["logits"])))
    }


def main() -> None:
    """Print the table and write it."""
    run = mmhash.load(HERE)
    dataset = load_features(HERE / "features", HERE / "data", HERE / "data" / "prototypes.npy")
    table = {}
    print(f"{'in place of the caption':<42}{'knn':>8}{'classifier':>12}")
    for name, text in candidates(dataset):
        table[name] = scored(run, dataset, text)
        print(f"{name:<42}{table[name]['knn']:>8.3f}{table[name]['classifier']:>12.3f}")
    write_json(HERE / "benchmarks" / "results" / "image_only.json", {"val_mAP": table})


if __name__ == "__main__":
    main()
