"""Real labels, synthetic features: image and caption vectors drawn from COCO's own label matrix.

Each class has a random direction c_k in a latent space of 128 dimensions. An image with the label
set Y is, in each modality,

    a = Σ_{k ∈ Y, seen} v_k c_k + σ n,        v_k log-normal (how well an object shows),
    x = tanh(g a W_1) W_2                     n standard normal, W_1 and W_2 fixed and random

An object is missing from the picture, or from the captions, never from both, each with the same
probability; v_k is common to both modalities; n is drawn anew for the picture and each caption. W_1
and W_2 are common, so that d_img ⊙ d_txt means something. Vectors are float16, not normalised.

What was fitted, to the figures of the project's first trial (test mAP, 256-d; ``--compare`` repeats
it): the spread of v, the gain g, and σ of level ``first``. σ of level ``second`` was fitted to the
second trial's head without hash as the plan has it. Nothing else, and before any mechanism was
tried; ``middle`` and ``third`` are further values of σ. The trial's description leaves open whether
the terms of the code were in its loss. With them (γ = 0.1) no setting that was tried came near its
middle row, without them ("plain mean BCE") every row of that trial is met; so the comparison trains
without.

    python benchmarks/synthetic_features.py --level first --dim 256 --out data/features
    python benchmarks/synthetic_features.py --compare
    python benchmarks/synthetic_features.py --pack data --labels labels.npz

The first writes a folder that ``run.dataset: features`` reads; the second trains on it and prints
the comparison. The third makes the file of labels and split that ``--labels``, or MMHASH_LABELS in
the environment, names for this and the other benchmarks with real labels, out of what the stages
before ``extract_features`` leave in ``data`` with ``run.dataset=coco2014``.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np

from mmhash.data.coco import label_matrix
from mmhash.features import Dataset
from mmhash.files import atomic_path, read_json, read_npy, read_table, write_json, write_npy
from mmhash.seeding import numpy_stream
from mmhash.training.batches import Features

LABELS = Path(
    os.environ.get(
        "MMHASH_LABELS", Path(__file__).resolve().parents[2] / "shared/real/coco-labels/labels.npz"
    )
)
SPLIT_NAMES = np.array(["train", "restval", "val", "test"])
LATENT = 128
HIDDEN = 1024
CHUNK = 4096
CAPTIONS = 5


@dataclass(frozen=True)
class World:
    """The constants of the generator but for the noise."""

    spread: float = 0.9  # standard deviation of log v
    missing: float = 0.1  # probability that a modality lacks an object
    gain: float = 0.5  # how far into the bends of tanh


LEVELS = {"first": 0.6, "middle": 1.5, "second": 2.3, "third": 3.0}  # σ, the length of the noise


def require_labels(path: Path) -> None:
    """End the program in one line where there is no such file."""
    if not path.is_file():
        sys.exit(
            f"error: {path}: no such file; name labels.npz with --labels, or make it from COCO: "
            "python benchmarks/synthetic_features.py --pack data --labels labels.npz"
        )


def pack_labels(data: Path, path: Path) -> None:
    """Write labels and split of the images in ``data`` to ``path``, for :func:`read_labels`."""
    images, split = (read_table(data / f"{name}.parquet") for name in ("images", "split"))
    labels = label_matrix(images, read_json(data / "categories.json"))
    place = {name: number for number, name in enumerate(SPLIT_NAMES.tolist())}
    with atomic_path(path) as part, part.open("wb") as stream:
        np.savez_compressed(
            stream,
            image_id=images["image_id"].to_numpy().astype(np.int32),
            split=np.array([place[name] for name in split["split"].to_pylist()], dtype=np.uint8),
            labels_packed=np.packbits(labels, axis=1),
        )


def read_labels(path: Path = LABELS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels (N, 80) uint8, split (N,) uint8 and image ids (N,) int64, by image id."""
    with np.load(path, allow_pickle=False) as stored:
        order = np.argsort(stored["image_id"], kind="stable")
        labels = np.unpackbits(stored["labels_packed"], axis=1)[:, :80][order]
        return labels, stored["split"][order], stored["image_id"][order].astype(np.int64)


def _projection(dim: int, classes: int, seed: int) -> tuple[np.ndarray, ...]:
    """Return c (classes, LATENT), W_1 (LATENT, HIDDEN) and W_2 (HIDDEN, dim)."""
    draw = numpy_stream(seed, "synthetic", "projection")
    direction = draw.standard_normal((classes, LATENT))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    first = draw.standard_normal((LATENT, HIDDEN))
    second = numpy_stream(seed, "synthetic", "width", dim).standard_normal((HIDDEN, dim))
    return tuple(part.astype(np.float32) for part in (direction, first, second / np.sqrt(HIDDEN)))


def draw_chunk(
    labels: np.ndarray,
    sigma: float,
    world: World,
    parts: tuple[np.ndarray, ...],
    seed: int,
    at: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return image (n, dim) and text (n, CAPTIONS, dim) float16 of the rows of one chunk.

    ``labels`` (n, classes); ``at`` is the chunk's number, which alone with ``seed`` determines the
    draw.
    """
    direction, first, second = parts
    draw = numpy_stream(seed, "synthetic", "chunk", at)
    shape = labels.shape
    shows = labels * np.exp(world.spread * draw.standard_normal(shape, np.float32))
    chance = draw.random(shape, np.float32)
    seen = (shows * (chance >= world.missing), shows * (chance <= 1 - world.missing))
    deviation = np.float32(sigma / np.sqrt(LATENT))
    made = []
    for weight, copies in zip(seen, (1, CAPTIONS), strict=True):
        clean = (weight @ direction)[:, None]
        latent = clean + deviation * draw.standard_normal((len(labels), copies, LATENT), np.float32)
        x = np.tanh(np.float32(world.gain) * (latent.reshape(-1, LATENT) @ first)) @ second
        made.append(x.astype(np.float16))
    return made[0], made[1].reshape(len(labels), CAPTIONS, -1)


def write_folder(
    out: Path, sigma: float, dim: int, world: World = World(), seed: int = 0, labels: Path = LABELS
) -> None:
    """Write a feature folder (image, text, labels, image_id, split, categories), chunk by chunk."""
    positives, split, image_id = read_labels(labels)
    n, classes = positives.shape
    parts = _projection(dim, classes, seed)
    with (
        atomic_path(out / "image.npy") as image,
        atomic_path(out / "text.npy") as text,
        image.open("wb") as pictures,
        text.open("wb") as captions,
    ):
        streams = (pictures, captions)
        for stream, shape in zip(streams, ((n, dim), (n, CAPTIONS, dim)), strict=True):
            header = {"descr": "<f2", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)
        for at, start in enumerate(range(0, n, CHUNK)):
            rows = positives[start : start + CHUNK]
            blocks = draw_chunk(rows, sigma, world, parts, seed, at)
            for stream, block in zip(streams, blocks, strict=True):
                stream.write(block.tobytes())
    write_npy(out / "labels.npy", positives)
    write_npy(out / "image_id.npy", image_id)
    write_npy(out / "split.npy", split)
    write_json(out / "categories.json", [f"class {number}" for number in range(1, classes + 1)])


def open_folder(folder: Path) -> Dataset:
    """Open what :func:`write_folder` wrote, without the pipeline; the arrays are memory-mapped."""
    image, text = (read_npy(folder / name, mmap=True) for name in ("image.npy", "text.npy"))
    labels = read_npy(folder / "labels.npy")
    offset = np.arange(len(image) + 1, dtype=np.int64) * text.shape[1]
    return Dataset(
        features=Features(image, text.reshape(-1, text.shape[-1]), offset, labels),
        image_id=read_npy(folder / "image_id.npy"),
        split=SPLIT_NAMES[read_npy(folder / "split.npy")],
        categories=[f"class {number}" for number in range(1, labels.shape[1] + 1)],
        prototypes=None,
        meta={},
    )


# The first trial by its description: "plain mean BCE", so without the terms of the code; one seed.
TRIAL: dict[str, Any] = {
    "fusion.mlp_dims": [512, 256],
    "loss.hash_weight": 0.0,
    "train.lr": 1e-3,
    "train.batch_size": 512,
    "train.gradient_accumulation_steps": 1,
    "train.seed": 1,
}
PLAN: dict[str, Any] = {"classifier.prior_init": False, "hash.batch_norm": False}
NO_HASH: dict[str, Any] = {"hash.enabled": False}
# level, epochs, run, overrides, (head, K, tau, test mAP of the trial)
REFERENCE: list[tuple[str, int, str, dict[str, Any], list[tuple[str, int, float, float]]]] = [
    ("first", 6, "as written", PLAN, [("classifier", 0, 0, 0.066), ("knn", 20, 0.07, 0.050)]),
    (
        "first",
        6,
        "+ prior bias",
        {"hash.batch_norm": False},
        [("classifier", 0, 0, 0.872), ("knn", 20, 0.07, 0.826)],
    ),
    ("first", 6, "+ BatchNorm", {}, [("classifier", 0, 0, 0.933), ("knn", 20, 0.07, 0.882)]),
    ("first", 6, "no hash as written", NO_HASH | PLAN, [("classifier", 0, 0, 0.899)]),
    ("second", 12, "no hash as written", NO_HASH | PLAN, [("classifier", 0, 0, 0.800)]),
    ("second", 12, "no hash, prior bias", NO_HASH, [("classifier", 0, 0, 0.868)]),
    (
        "second",
        12,
        "prior bias + BatchNorm",
        {},
        [("classifier", 0, 0, 0.833), ("knn", 20, 0.07, 0.761), ("knn", 500, 0.03, 0.784)],
    ),
]
RESULT = Path(__file__).resolve().parent / "results/synthetic_features.json"


def compare(labels: Path, cache: Path) -> list[dict[str, Any]]:
    """Repeat both trials; return one row a figure: level, run, head, K, tau, trial, here."""
    from training_runs import mean_ap, train_and_encode, vote_grid

    rows = []
    data: dict[str, Dataset] = {}
    for level, epochs, name, overrides, figures in REFERENCE:
        if level not in data:
            data[level] = folder(level, 256, cache, labels)
        coded = train_and_encode(
            data[level], TRIAL | overrides | {"train.num_epochs": epochs}, ("test",)
        )
        truth, votes = coded.labels["test"], {}
        if any(head == "knn" for head, *_ in figures):
            base = (coded.soft["database"], coded.labels["database"])
            votes = vote_grid(*base, coded.soft["test"], truth)
        for head, k, tau, trial in figures:
            here = votes[f"{k},{tau}"] if head == "knn" else mean_ap(coded.logits["test"], truth)
            row = {"level": level, "run": name, "head": head, "k": k, "tau": tau}
            rows.append(row | {"trial": trial, "here": round(here, 4)})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the comparison as Markdown."""
    lines = [
        "| noise level | run | head | trial | here | difference |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        head = row["head"] if row["head"] != "knn" else f"KNN, K {row['k']}, τ {row['tau']}"
        lines.append(
            f"| {row['level']} | {row['run']} | {head} | {row['trial']:.3f} | {row['here']:.3f} | "
            f"{row['here'] - row['trial']:+.3f} |"
        )
    return "\n".join(lines)


def folder(level: str, dim: int, cache: Path, labels: Path = LABELS) -> Dataset:
    """Return the features of a level, drawn into ``cache`` at their first use."""
    out = cache / f"{level}-{dim}"
    if not (out / "categories.json").exists():  # the last file to be written
        write_folder(out, LEVELS[level], dim, labels=labels)
    return open_folder(out)


def main() -> None:
    """Write a feature folder, compare with the trials, or pack labels."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--level", choices=LEVELS, default="first")
    parser.add_argument("--dim", type=int, default=768, help="width of the vectors (768)")
    parser.add_argument("--out", type=Path, help="the folder to write")
    parser.add_argument("--labels", type=Path, default=LABELS, help="labels.npz")
    parser.add_argument("--compare", action="store_true", help="train, compare with the trials")
    parser.add_argument("--pack", type=Path, metavar="DATA", help="write labels.npz from DATA")
    arguments = parser.parse_args()
    if arguments.pack:
        pack_labels(arguments.pack, arguments.labels)
        return
    require_labels(arguments.labels)
    if arguments.compare:
        with tempfile.TemporaryDirectory(prefix="mmhash-synthetic-") as scratch:
            rows = compare(arguments.labels, Path(scratch))
        print(table(rows))
        constants = {"levels": LEVELS, "world": vars(World())}
        write_json(RESULT, {"data": "real labels, synthetic features", **constants, "rows": rows})
    elif arguments.out:
        write_folder(arguments.out, LEVELS[arguments.level], arguments.dim, labels=arguments.labels)
    else:
        parser.error("give --out FOLDER, --compare or --pack DATA")


if __name__ == "__main__":
    main()
