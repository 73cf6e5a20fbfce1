"""Every kind of index, distance and voting through the stages, as ``-S`` would set them."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("kind", "distance", "voting"),
    [
        ("ivf", "cosine", "rank"),
        ("hnsw", "hybrid", "threshold"),
        ("multihash", "asymmetric", "uniform"),
    ],
)
def test_an_index_is_built_and_searched_as_the_parameters_say(
    finished_checkout: Path, shell, set_params, kind: str, distance: str, voting: str
) -> None:
    folder = finished_checkout
    hamming = np.load(folder / "predictions/test/knn.npy")
    set_params(folder, {"index": {"kind": kind}, "knn": {"distance": distance, "voting": voting}})
    for stage in ("build_index", "evaluate"):
        shell(folder, sys.executable, f"stages/{stage}.py")
    built = json.loads((folder / "metrics/index.json").read_text())
    assert (built["kind"], built["metric"], built["bits"]) == (kind, "hamming", 16)
    stored = (folder / "index/index.faiss").stat().st_size
    assert built["bytes_per_item"] == round(stored / built["items"], 3)
    cost = json.loads((folder / "metrics/cost/build_index.json").read_text())
    assert 0 < cost["index_build_seconds"] < cost["seconds"]
    figures = json.loads((folder / "metrics/eval.json").read_text())
    assert 0.8 < figures["retrieval"]["index_recall"] <= 1
    assert figures["test"]["knn"]["mAP"] > 0.3
    cost = json.loads((folder / "metrics/cost/evaluate.json").read_text())
    assert min(cost["knn_query_ms_mean"], cost["query_ms_mean"], cost["cosine_query_ms_mean"]) > 0
    assert not np.array_equal(np.load(folder / "predictions/test/knn.npy"), hamming)
