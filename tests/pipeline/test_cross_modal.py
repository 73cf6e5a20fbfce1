"""The cross-modal methods through the stages, as ``-S`` would set them."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mmhash.metrics.tasks import TASKS

SMALL = {
    "agch": {"hidden": 64, "graph_dims": [32], "num_epochs": 3, "batch_size": 16},
    "ucmfh": {"hidden": 64, "num_epochs": 3, "batch_size": 16},
    "shallow": {"method": "cca_itq"},
}


@pytest.mark.parametrize("name", SMALL)
def test_a_method_trains_indexes_evaluates_and_plots(
    finished_checkout: Path, shell, set_params, name: str
) -> None:
    folder = finished_checkout
    set_params(folder, {"model": {"name": name}, name: SMALL[name]})
    for stage in ("train", "build_index", "evaluate", "plot"):
        shell(folder, sys.executable, f"stages/{stage}.py")
    figures = json.loads((folder / "metrics/eval.json").read_text())
    across = figures["across"]["test"]
    for task in TASKS:
        found = across[task]
        assert found["mAP@all_worst"] <= found["mAP@all"] <= found["mAP@all_best"]
        assert found["queries"] == 12
        assert found["database"] == 96
    assert across["image_to_text"]["mAP@all"] > across["image_to_text"]["mAP@all_chance"]
    # the index holds the codes of whole pairs, so tags come from the same search as ever
    assert figures["retrieval"]["test"]["mAP@all"] == across["fused_to_fused"]["mAP@all"]
    assert set(figures["test"]) == {"knn"}
    assert np.load(folder / "predictions/test/knn.npy").shape == (12, 6)
    leak = figures["across"]["leak"]
    leaks = name == "ucmfh"  # as published
    assert all((share > 0) == leaks for share in leak.values()), leak
    assert ("health" in figures["across"]) == (name == "agch")
    summary = json.loads((folder / "metrics/train.json").read_text())
    assert summary["train_rows"] == 96


def test_real_vectors_are_indexed_by_cosine(finished_checkout: Path, shell, set_params) -> None:
    folder = finished_checkout
    set_params(folder, {"model": {"name": "shallow"}, "shallow": {"method": "cca"}})
    for stage in ("train", "build_index", "evaluate", "plot"):
        shell(folder, sys.executable, f"stages/{stage}.py")
    assert json.loads((folder / "metrics/index.json").read_text())["metric"] == "cosine"
    figures = json.loads((folder / "metrics/eval.json").read_text())
    assert figures["across"]["test"]["image_to_text"]["mAP@all"] > 0.3


def test_the_main_method_retrieves_across_modalities_when_asked(
    finished_checkout: Path, shell, set_params
) -> None:
    folder = finished_checkout
    set_params(folder, {"model": {"name": "full"}, "evaluate": {"across": "always"}})
    for stage in ("train", "build_index", "evaluate"):
        shell(folder, sys.executable, f"stages/{stage}.py")
    figures = json.loads((folder / "metrics/eval.json").read_text())
    assert figures["across"]["test"]["fused_to_fused"]["mAP@all"] == pytest.approx(
        figures["retrieval"]["test"]["mAP@all"]
    )
    assert figures["across"]["test"]["image_to_text"]["mAP@all"] > 0


def test_a_classifier_that_a_method_lacks_is_refused_in_one_line(
    finished_checkout: Path, shell, set_params
) -> None:
    folder = finished_checkout
    set_params(folder, {"model": {"name": "agch"}, "knn": {"head": "classifier"}})
    done = shell(folder, sys.executable, "stages/check_params.py", check=False)
    set_params(folder, {"knn": {"head": "knn"}})
    assert done.returncode == 1
    assert "needs a trained classifier, and model.name = agch" in done.stderr
    assert "Traceback" not in done.stderr
