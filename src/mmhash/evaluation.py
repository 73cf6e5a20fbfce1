"""From neighbours and logits to the numbers of ``metrics/eval.json``.

A *head* is a way to score classes: ``knn`` (the neighbours vote), ``classifier`` (the sigmoid of
the network's logits) and ``zeroshot`` (the image against the text vector of each class name). Each
head's decision threshold is chosen on val and used for val and test alike.
"""

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from mmhash.codes import binarise, pack
from mmhash.encoders.prototypes import cosine_scores
from mmhash.features import Dataset
from mmhash.index.kinds import indexed_items
from mmhash.metrics.bootstrap import bootstrap_map
from mmhash.metrics.codes import code_metrics
from mmhash.metrics.multilabel import (
    classes_without_positive,
    multilabel_metrics,
    plausibility_note,
)
from mmhash.metrics.retrieval import (
    hamming_levels,
    metrics_from_levels,
    precision_recall_by_distance,
    retrieval_metrics,
)
from mmhash.metrics.thresholds import choose_thresholds
from mmhash.models.tagger import Tagger
from mmhash.retriever import Retriever
from mmhash.seeding import numpy_stream
from mmhash.training.encode import encode

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoredSplit:
    """A split with the class scores (n, C) of each head; ``queries`` as the index takes them."""

    split: str
    image_id: np.ndarray
    labels: np.ndarray
    soft: np.ndarray
    queries: np.ndarray
    hashed: bool
    neighbours: pa.Table
    heads: dict[str, np.ndarray] = field(default_factory=dict)

    def tags(self, categories: list[str], n: int) -> pa.Table:
        """Return the ``n`` best classes of each image by vote (of equals the lower class id)."""
        scores = self.heads["knn"]
        best = np.argsort(-scores, axis=1, kind="stable")[:, :n]
        return pa.table(
            {
                "image_id": self.image_id,
                "tags": [[categories[c] for c in row] for row in best],
                "scores": np.take_along_axis(scores, best, axis=1).tolist(),
            }
        )


def score_split(
    split: str,
    dataset: Dataset,
    tagger: Tagger | None,
    hash_scale: float,
    retriever: Retriever,
    device: torch.device,
) -> ScoredSplit:
    """Encode the images of ``split`` with their first caption and score them with every head.

    The zero-shot head exists where the features came with prototypes of the same width; its
    scores are cosines moved from [-1, 1] to [0, 1].
    """
    rows = dataset.rows(split)
    found = encode(tagger, dataset.features, rows, hash_scale, device=device)
    hashed = "h" in found
    soft = found["h"] if hashed else found["z"]
    queries = pack(binarise(soft)) if hashed else soft
    knn, neighbours = retriever.score(queries, soft if hashed else None)
    heads = {"knn": knn}
    if "logits" in found:
        heads["classifier"] = probabilities(found["logits"])
    if dataset.prototypes is not None:
        images = np.asarray(dataset.features.image[rows], dtype=np.float32)
        heads["zeroshot"] = (1 + cosine_scores(images, dataset.prototypes)) / 2
    image_id = dataset.image_id[rows]
    return ScoredSplit(
        split=split,
        image_id=image_id,
        labels=dataset.features.labels[rows],
        soft=soft,
        queries=queries,
        hashed=hashed,
        neighbours=neighbours.add_column(0, "image_id", pa.array(image_id)),
        heads=heads,
    )


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the sigmoid of logits (n, C) as float32, without overflow for large negatives."""
    positive = np.exp(-np.abs(logits.astype(np.float64)))
    return (np.where(logits >= 0, 1.0, positive) / (1.0 + positive)).astype(np.float32)


def evaluate_head(
    head: str,
    scores: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
    *,
    mode: str,
    bootstrap_samples: int,
    bootstrap_seed: int,
) -> tuple[dict[str, dict[str, Any]], dict[str, Any], list[str]]:
    """Score one head on val and test with a threshold from val.

    ``scores`` and ``labels`` hold (n, C) arrays under "val" and "test". Returns the figures by
    split (with ``threshold`` and the 95 % bootstrap interval ``mAP_low``, ``mAP_high``), the
    thresholds ``{"global": t, "per_class": [...]}``, and notes on figures that look wrong.
    """
    overall = choose_thresholds(scores["val"], labels["val"], "global")
    per_class = choose_thresholds(scores["val"], labels["val"], "per_class")
    figures: dict[str, dict[str, Any]] = {}
    notes = []
    for split in ("val", "test"):
        found = multilabel_metrics(
            scores[split], labels[split], overall, per_class if mode == "per_class" else None
        )
        low, high = bootstrap_map(
            scores[split],
            labels[split],
            bootstrap_samples,
            numpy_stream(bootstrap_seed, "bootstrap", head, split),
        )
        figures[split] = {
            "mAP": found.pop("mAP"),
            "mAP_low": low,
            "mAP_high": high,
            **found,
            "threshold": overall,
        }
        note = plausibility_note(
            figures[split]["mAP"], figures[split]["mAP_chance"], f"{split} {head}"
        )
        notes += [note] if note else []
    return figures, {"global": overall, "per_class": per_class.tolist()}, notes


def evaluate_retrieval(
    scored: ScoredSplit, retriever: Retriever
) -> tuple[dict[str, Any], pa.Table | None]:
    """Rank the whole index for each query of a split by distance.

    Returns the figures, and for codes the precision and recall within each Hamming distance.
    """
    database = indexed_items(retriever.index)
    if not scored.hashed:
        return retrieval_metrics(scored.queries, scored.labels, database, retriever.labels), None
    levels = hamming_levels(scored.queries, scored.labels, database, retriever.labels)
    return metrics_from_levels(*levels), pa.table(precision_recall_by_distance(*levels))


def evaluate_heads(
    splits: dict[str, ScoredSplit],
    retriever: Retriever,
    dataset: Dataset,
    settings: dict[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return heads, codes and data of ``metrics/eval.json``, and ``predictions/thresholds.json``.

    ``splits`` holds "val" and "test"; ``settings`` is the ``evaluate`` block: ``thresholds``
    (global or per_class), ``bootstrap_samples`` and ``bootstrap_seed``. Figures that look wrong
    are logged with what to check.
    """
    figures: dict[str, Any] = {"val": {}, "test": {}}
    thresholds = {}
    labels = {name: scored.labels for name, scored in splits.items()}
    for head in splits["val"].heads:
        scores = {name: scored.heads[head] for name, scored in splits.items()}
        found, thresholds[head], notes = evaluate_head(
            head,
            scores,
            labels,
            mode=settings["thresholds"],
            bootstrap_samples=settings["bootstrap_samples"],
            bootstrap_seed=settings["bootstrap_seed"],
        )
        for name, values in found.items():
            figures[name][head] = values
        for note in notes:
            logger.warning("%s", note)
    test = splits["test"]
    figures["codes"] = code_metrics(test.queries, test.soft) if test.hashed else {}
    figures["data"] = {
        "database": len(retriever.labels),
        **{name: len(scored.labels) for name, scored in splits.items()},
        "classes": len(dataset.categories),
        "test_classes_left_out": classes_without_positive(test.labels, dataset.categories),
        "test_images_without_label": int((~test.labels.any(axis=1)).sum()),
    }
    return figures, thresholds
