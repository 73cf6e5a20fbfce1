"""evaluate: the neighbours vote, the classifier predicts; metrics on val and test."""

import sys
from pathlib import Path

import _checkout  # noqa: F401
import numpy as np

from mmhash.across import evaluate_across
from mmhash.cost import measured
from mmhash.encoders.device import choose_device
from mmhash.errors import exit_code
from mmhash.evaluation import (
    evaluate_heads,
    evaluate_image_only,
    evaluate_retrieval,
    evaluated_dataset,
    headline,
    score_split,
    search_cost,
    with_hybrid,
)
from mmhash.files import write_json, write_npy, write_table
from mmhash.image_only import reads_pairs
from mmhash.models.weights import load_tagger
from mmhash.params import load_params
from mmhash.retriever import open_retriever

OUT = Path("predictions")


def main() -> None:
    """Write ``predictions/``, ``metrics/eval.json`` and ``metrics/headline.json``."""
    params = load_params()
    knn = params.knn
    with measured("evaluate", params.profile.vram_alert_gb) as cost:
        device = choose_device(params.profile.device)
        dataset = evaluated_dataset(params, Path("model"), device)
        tagger, hash_scale = load_tagger(Path("model"))
        retriever = open_retriever(knn, Path("index"), device.type)
        splits = {
            split: score_split(split, dataset, tagger, hash_scale, retriever, device)
            for split in ("val", "test")
        }
        splits, knn_weight = with_hybrid(splits)
        tags = {
            split: scored.tags(dataset.categories, knn.top_n_tags, knn.head)
            for split, scored in splits.items()
        }
        figures, thresholds = evaluate_heads(
            splits, retriever, dataset, params.evaluate.model_dump(), knn_weight
        )
        if params.dataset.encoder is not None and reads_pairs(tagger):  # else nobody can ask so
            alone, thresholds["image_only"] = evaluate_image_only(
                dataset, tagger, hash_scale, retriever, params.evaluate.model_dump(), device
            )
            for split, values in alone.items():
                figures[split]["image_only"] = values
        figures["retrieval"] = {"index_recall": retriever.recall(splits["val"].queries)}
        for split, scored in splits.items():
            folder = OUT / split
            figures["retrieval"][split], curve = evaluate_retrieval(scored, retriever)
            if curve is not None:
                write_table(folder / "precision_recall_by_distance.parquet", curve)
            write_npy(folder / "image_id.npy", scored.image_id)
            write_npy(folder / "labels.npy", scored.labels)
            for head, scores in scored.heads.items():
                write_npy(folder / f"{head}.npy", scores)
            if scored.hashed:
                write_npy(folder / "soft.npy", scored.soft.astype(np.float16))
            write_table(folder / "neighbours.parquet", scored.neighbours)
            write_table(folder / "tags.parquet", tags[split])
        always = params.evaluate.across == "always"
        figures["across"], curves, sheet = evaluate_across(
            tagger, dataset, hash_scale, device, always
        )
        write_table(OUT / "test" / "across_sheet.parquet", sheet)
        for split, curve in curves.items():
            write_table(OUT / split / "across_by_distance.parquet", curve)
        write_json(OUT / "thresholds.json", thresholds)
        write_json("metrics/eval.json", figures)
        write_json("metrics/headline.json", headline(figures))
        test = splits["test"]
        cost.update(search_cost(retriever, test.queries, test.soft))


if __name__ == "__main__":
    sys.exit(exit_code(main))
