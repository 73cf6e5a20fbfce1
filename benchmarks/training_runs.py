"""What the benchmarks share: train from overrides, encode, and vote.

Not a benchmark itself.
"""

import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
from scipy import sparse

from mmhash.codes import binarise, pack
from mmhash.experiment import loss_weights, model_config, train_settings
from mmhash.features import Dataset
from mmhash.index.kinds import build
from mmhash.index.search import neighbour_chunks
from mmhash.models.tagger import Tagger
from mmhash.models.weights import load_tagger
from mmhash.params import Params, load_params, parse_params
from mmhash.training.encode import encode
from mmhash.training.loop import TrainingSummary, train
from mmhash.training.selection import mean_average_precision
from mmhash.training.settings import TrainingData
from mmhash.voting import vote, weights

# (K, τ) of the votes that the benchmarks compare
GRID = [(20, 0.07)] + [(k, t) for k in (50, 200, 500, 1000) for t in (0.02, 0.03, 0.045, 0.07)]
PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"

mean_ap = mean_average_precision


def with_overrides(params: Params, overrides: dict[str, Any]) -> Params:
    """Return ``params`` with dotted keys replaced, checked as a whole again."""
    values = params.model_dump()
    for key, value in overrides.items():
        *blocks, last = key.split(".")
        target = values
        for block in blocks:
            target = target[block]
        target[last] = value
    return parse_params(values)


@dataclass
class Coded:
    """A trained model's view of the data, by split ("database", "val", "test").

    ``soft`` is h or z (n, width) float32, ``logits`` and ``labels`` (n, C).
    """

    tagger: Tagger
    hashed: bool
    epochs: int
    best_epoch: int
    soft: dict[str, np.ndarray] = field(default_factory=dict)
    logits: dict[str, np.ndarray] = field(default_factory=dict)
    labels: dict[str, np.ndarray] = field(default_factory=dict)


def train_tagger(
    data: Dataset, params: Params, state: Path | None = None
) -> tuple[Tagger, float, TrainingSummary]:
    """Train as ``params`` says; return the best tagger, its β and how the training went.

    A run that was killed goes on after its last epoch where ``state`` names a folder to keep it in.
    """
    features = data.features
    config = model_config(
        params, features.image.shape[1], features.text.shape[1], len(data.categories)
    )
    rows = TrainingData(features, data.training_rows(), data.rows("val"), tuple(data.categories))
    with tempfile.TemporaryDirectory(prefix="mmhash-") as name:
        scratch = Path(name)
        summary = train(
            rows,
            config,
            loss_weights(params),
            train_settings(params),
            device="cpu",
            cache=state or scratch / "cache",
            out=scratch / "model",
        )
        tagger, scale = load_tagger(scratch / "model")
    assert isinstance(tagger, Tagger)  # zero-shot has nothing to train
    return tagger, scale, summary


def train_and_encode(
    data: Dataset,
    overrides: dict[str, Any],
    splits: tuple[str, ...] = ("val", "test"),
    state: Path | None = None,
) -> Coded:
    """Train with ``params.yaml`` under ``overrides`` and encode the database and ``splits``.

    A run that was killed goes on after its last epoch where ``state`` names a folder to keep it in.
    """
    params = with_overrides(load_params(PARAMS), overrides)
    tagger, scale, summary = train_tagger(data, params, state)
    features = data.features
    coded = Coded(tagger, tagger.hash is not None, summary.epochs_run, summary.best_epoch)
    for split in ("database", *splits):
        where = data.database_rows() if split == "database" else data.rows(split)
        found = encode(tagger, features, where, scale)
        coded.soft[split] = found["h" if coded.hashed else "z"]
        coded.logits[split] = found["logits"]
        coded.labels[split] = features.labels[where]
    return coded


def vote_grid(
    items: np.ndarray, item_labels: np.ndarray, queries: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """Return the mAP of each (K, τ) of :data:`GRID`; codes are soft, (n, B)."""
    largest = max(k for k, _ in GRID)
    index = build(pack(binarise(items)))
    owners = sparse.csr_array(item_labels, dtype=np.float64)
    scores: dict[tuple[int, float], list[np.ndarray]] = {pair: [] for pair in GRID}
    for chunk in neighbour_chunks(index, pack(binarise(queries)), largest):
        for k, tau in GRID:
            scores[k, tau].append(vote(chunk, owners, weights(chunk, k, tau=tau)))
    return {
        f"{k},{tau}": round(mean_ap(np.concatenate(parts), labels), 5)
        for (k, tau), parts in scores.items()
    }
