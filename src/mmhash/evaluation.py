"""From neighbours and logits to the numbers of ``metrics/eval.json``.

Whatever is chosen or fitted for a head (:mod:`mmhash.heads`), its decision thresholds, the weight
of the hybrid, the calibration of its scores, is chosen on val and used for val and test alike.
"""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from mmhash.codes import binarise, pack
from mmhash.cost import latency_note
from mmhash.encoders.prototypes import cosine_scores
from mmhash.features import Dataset, features_for, load_features
from mmhash.heads import HEADS, choose_weight, mix, probabilities, scores_of
from mmhash.image_only import without_captions
from mmhash.index.kinds import build, indexed_items
from mmhash.metrics.bootstrap import bootstrap_map
from mmhash.metrics.calibration import calibrated, calibration_figures, fit_calibration
from mmhash.metrics.codes import code_metrics
from mmhash.metrics.multilabel import (
    classes_without_positive,
    macro_f1,
    multilabel_metrics,
    plausibility_note,
    rare_classes,
)
from mmhash.metrics.retrieval import (
    hamming_levels,
    metrics_from_levels,
    precision_recall_by_distance,
    retrieval_metrics,
)
from mmhash.metrics.tasks import CROSSING
from mmhash.metrics.thresholds import choose_thresholds
from mmhash.models.cross_modal import CrossModalHasher
from mmhash.models.tagger import Tagger
from mmhash.models.weights import tuned_towers
from mmhash.params import Params
from mmhash.retriever import Retriever, query_latency
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

    def tags(self, categories: list[str], n: int, head: str) -> pa.Table:
        """Return the ``n`` best classes of each image by ``head`` (of equals the lower class id).

        Raises InputError where the model does not have that head.
        """
        scores = scores_of(head, self.heads)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :n]
        return pa.table(
            {
                "image_id": self.image_id,
                "tags": [[categories[c] for c in row] for row in best],
                "scores": np.take_along_axis(scores, best, axis=1).tolist(),
            }
        )


def evaluated_dataset(params: Params, model: Path, device: torch.device) -> Dataset:
    """Return the data as ``model`` sees them, with the class vectors for zero-shot.

    Where towers learnt, image and class vectors are theirs: the class names are encoded here with
    ``zeroshot.prompts``, so that another prompt trains nothing again.
    """
    dataset = load_features(features_for(model), Path("data"), Path("data/prototypes.npy"))
    if tuned_towers(model) is None:
        return dataset
    from mmhash.tuned import class_vectors  # loads transformers, which takes seconds

    return replace(dataset, prototypes=class_vectors(params, model, dataset.categories, device))


def score_split(
    split: str,
    dataset: Dataset,
    tagger: Tagger | CrossModalHasher | None,
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


def with_hybrid(
    splits: dict[str, ScoredSplit],
) -> tuple[dict[str, ScoredSplit], float | None]:
    """Add the hybrid head to "val" and "test" and return it with the weight of the votes.

    The weight is chosen on val. Without a classifier there is nothing to mix: the splits come back
    as they are, with None.
    """
    val = splits["val"]
    if "classifier" not in val.heads:
        return splits, None
    weight = choose_weight(val.heads["knn"], val.heads["classifier"], val.labels)
    mixed = {}
    for name, scored in splits.items():
        hybrid = mix(scored.heads["knn"], scored.heads["classifier"], weight)
        heads = {**scored.heads, "hybrid": hybrid}
        mixed[name] = replace(scored, heads={head: heads[head] for head in HEADS if head in heads})
    return mixed, weight


def evaluate_head(
    head: str,
    scores: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
    rare: np.ndarray,
    *,
    mode: str,
    bootstrap_samples: int,
    bootstrap_seed: int,
) -> tuple[dict[str, dict[str, Any]], dict[str, Any], list[str]]:
    """Score one head on val and test with thresholds and a calibration from val.

    ``scores`` and ``labels`` hold (n, C) arrays under "val" and "test"; ``rare`` (C,) bool names
    the rare classes. Returns the figures by split, what was chosen on val
    (``{"global": t, "per_class": [...], "calibration": {"slope": a, "intercept": b}}``) and notes
    on figures that look wrong.

    Beside :func:`mmhash.metrics.multilabel.multilabel_metrics` the figures hold ``threshold``, the
    95 % bootstrap interval ``mAP_low``, ``mAP_high``; ECE, MCE and Brier, with the suffix
    ``_calibrated`` after the calibration; and F1_macro with both kinds of thresholds, whichever
    ``mode`` is in use: ``F1_macro_global`` and ``F1_macro_per_class``, each also with ``_rare`` and
    ``_frequent`` for the mean over these classes.
    """
    overall = choose_thresholds(scores["val"], labels["val"], "global")
    per_class = choose_thresholds(scores["val"], labels["val"], "per_class")
    slope, intercept = fit_calibration(scores["val"], labels["val"])
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
            **_calibration(scores[split], labels[split], slope, intercept),
        }
        for kind, cut in (("global", overall), ("per_class", per_class)):
            for group, value in macro_f1(scores[split], labels[split], cut, rare).items():
                name = f"F1_macro_{kind}" if group == "all" else f"F1_macro_{kind}_{group}"
                figures[split][name] = value
        note = plausibility_note(
            figures[split]["mAP"], figures[split]["mAP_chance"], f"{split} {head}"
        )
        notes += [note] if note else []
    chosen = {
        "global": overall,
        "per_class": per_class.tolist(),
        "calibration": {"slope": slope, "intercept": intercept},
    }
    return figures, chosen, notes


def _calibration(
    scores: np.ndarray, labels: np.ndarray, slope: float, intercept: float
) -> dict[str, float]:
    after = calibration_figures(calibrated(scores, slope, intercept), labels)
    return calibration_figures(scores, labels) | {f"{k}_calibrated": v for k, v in after.items()}


def evaluate_retrieval(
    scored: ScoredSplit, retriever: Retriever
) -> tuple[dict[str, Any], pa.Table | None]:
    """Rank the whole index for each query of a split by distance.

    Returns the figures, and for codes the precision and recall within each Hamming distance. A mAP
    of the whole ranking that looks wrong is logged with what to check.
    """
    compared = scored.queries, scored.labels, indexed_items(retriever.index), retriever.labels
    curve = None
    if scored.hashed:
        levels = hamming_levels(*compared)
        figures = metrics_from_levels(*levels)
        curve = pa.table(precision_recall_by_distance(*levels))
    else:
        figures = retrieval_metrics(*compared)
    what = f"{scored.split} retrieval"
    note = plausibility_note(figures["mAP@all"], figures["mAP@all_chance"], what)
    if note:
        logger.warning("%s", note)
    return figures, curve


def evaluate_heads(
    splits: dict[str, ScoredSplit],
    retriever: Retriever,
    dataset: Dataset,
    settings: dict[str, Any],
    knn_weight: float | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return heads, codes and data of ``metrics/eval.json``, and ``predictions/thresholds.json``.

    ``splits`` holds "val" and "test"; ``settings`` is the ``evaluate`` block: ``thresholds``
    (global or per_class), ``bootstrap_samples`` and ``bootstrap_seed``; ``knn_weight`` that of the
    hybrid head, written beside its figures and thresholds. Figures that look wrong are logged with
    what to check.
    """
    rare = rare_classes(dataset.features.labels[dataset.training_rows()])
    figures, thresholds, notes = _every_head(splits, rare, settings, knn_weight)
    for note in notes:
        logger.warning("%s", note)
    test = splits["test"]
    figures["codes"] = code_metrics(test.queries, test.soft) if test.hashed else {}
    figures["data"] = {
        "database": len(retriever.labels),
        **{name: len(scored.labels) for name, scored in splits.items()},
        "classes": len(dataset.categories),
        **{
            f"{name}_classes_left_out": classes_without_positive(scored.labels, dataset.categories)
            for name, scored in splits.items()
        },
        "test_images_without_label": int((~test.labels.any(axis=1)).sum()),
        "rare_classes": [dataset.categories[c] for c in np.flatnonzero(rare)],
        "frequent_classes": [dataset.categories[c] for c in np.flatnonzero(~rare)],
    }
    return figures, thresholds


def headline(figures: dict[str, Any]) -> dict[str, float]:
    """Return the dozen figures that a comparison starts with, ``metrics/headline.json``.

    ``figures`` are those of ``metrics/eval.json``, of which they are copies: mAP of every head on
    test, that of the votes with its interval, F1 and P@5 too, mAP@50 of the codes, and of image to
    text and back where that was measured.
    """
    test, found = figures["test"], {"val_mAP_knn": figures["val"]["knn"]["mAP"]}
    found |= {f"mAP_{head}": test[head]["mAP"] for head in HEADS if head in test}
    found |= {f"{name}_knn": test["knn"][name] for name in ("mAP_low", "mAP_high", "F1_micro")}
    found["P@5_knn"] = test["knn"]["P@5"]
    found["retrieval_mAP@50"] = figures["retrieval"]["test"]["mAP@50"]
    for task in CROSSING:
        if task in figures["across"].get("test", {}):
            found[f"{task}_mAP@50"] = figures["across"]["test"][task]["mAP@50"]
    return found


def evaluate_image_only(
    dataset: Dataset,
    tagger: Tagger | CrossModalHasher,
    hash_scale: float,
    retriever: Retriever,
    settings: dict[str, Any],
    device: torch.device,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Score val and test without their captions, as :mod:`mmhash.image_only` stands in for them.

    Returns the figures of the heads under "val" and "test", and what was chosen on val for them, as
    :func:`evaluate_heads` does with captions, and logs likewise. The model must read pairs.
    """
    alone = without_captions(dataset)
    splits, knn_weight = with_hybrid(
        {
            split: score_split(split, alone, tagger, hash_scale, retriever, device)
            for split in ("val", "test")
        }
    )
    rare = rare_classes(dataset.features.labels[dataset.training_rows()])
    figures, thresholds, notes = _every_head(splits, rare, settings, knn_weight)
    for note in notes:
        logger.warning("image only, %s", note)
    return figures, thresholds


def _every_head(
    splits: dict[str, ScoredSplit],
    rare: np.ndarray,
    settings: dict[str, Any],
    knn_weight: float | None,
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Return :func:`evaluate_head` of each head: figures by split, what was chosen, notes."""
    figures: dict[str, Any] = {"val": {}, "test": {}}
    thresholds: dict[str, Any] = {}
    notes: list[str] = []
    labels = {name: scored.labels for name, scored in splits.items()}
    for head in splits["val"].heads:
        found, thresholds[head], more = evaluate_head(
            head,
            {name: scored.heads[head] for name, scored in splits.items()},
            labels,
            rare,
            mode=settings["thresholds"],
            bootstrap_samples=settings["bootstrap_samples"],
            bootstrap_seed=settings["bootstrap_seed"],
        )
        notes += more
        for name, values in found.items():
            figures[name][head] = values
    if knn_weight is not None:
        for entry in (figures["val"], figures["test"], thresholds):
            entry["hybrid"]["knn_weight"] = knn_weight
    return figures, thresholds, notes


def search_cost(
    retriever: Retriever, queries: np.ndarray, soft: np.ndarray | None = None
) -> dict[str, float]:
    """Time the index, the search that votes, and against codes the same search by cosine.

    ``queries`` and ``soft`` as in :meth:`mmhash.retriever.Retriever.score`. Keys as in
    :func:`mmhash.retriever.query_latency`: those of the index as they are; with the prefix ``knn_``
    those of the search that the ``knn`` block describes, for ``hamming`` the same readings; where
    the items have soft codes with ``cosine_`` those of an exhaustive search of them, and how many
    times faster the codes are: ``speedup_single`` and ``speedup_batched``. Logs what to do where a
    single query of the search that votes takes more than 10 ms.
    """
    index, k = retriever.index, retriever.k
    found = query_latency(index, queries, k)
    voting = found if retriever.searches_index_alone else retriever.latency(queries, soft)
    figures = found | {f"knn_{name}": value for name, value in voting.items()}
    note = latency_note(figures)
    if note:
        logger.warning("%s", note)
    if soft is None or retriever.soft is None:
        return figures
    cosine = query_latency(build(retriever.soft, device=retriever.device), soft, k)
    batched = "queries_per_second_batched"
    return {
        **figures,
        **{f"cosine_{name}": value for name, value in cosine.items()},
        "speedup_single": round(cosine["query_ms_mean"] / figures["query_ms_mean"], 2),
        "speedup_batched": round(figures[batched] / cosine[batched], 2),
    }
