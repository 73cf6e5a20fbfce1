import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmhash.errors import InputError
from mmhash.page.source import open_run, rounded


def test_a_checkout_without_a_run_is_one_clear_line(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"params.yaml: no such file"):
        open_run(tmp_path)
    shutil.copy(repository / "params.yaml", tmp_path)
    with pytest.raises(InputError, match=r"eval.json: no such file: no run .* dvc repro") as caught:
        open_run(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_dataset_is_that_of_the_run_and_not_what_params_say_now(
    make_outputs: Callable[..., Any],
) -> None:
    made = make_outputs()
    made.json("data/manifest.json", {"dataset": "sample"})
    run = made.run()
    assert run.params.run.dataset == "coco2014"
    assert run.dataset == "sample"
    assert "says nothing" in run.dataset_line or "say nothing about COCO" in run.dataset_line


def test_the_votes_are_those_that_were_measured_and_not_what_params_say_now(
    make_outputs: Callable[..., Any],
) -> None:
    made = make_outputs()
    now = made.run().params.knn
    assert made.run().votes == now.model_dump()
    lock = "stages:\n  evaluate:\n    params:\n      params.yaml:\n        knn:\n          k: 7\n"
    (made.root / "dvc.lock").write_text(lock)
    assert made.run().votes == {**now.model_dump(), "k": 7}


@pytest.mark.parametrize("text", ["[]", "null", "3"])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("metrics/eval.json", "figures"),
        ("model/config.json", "method"),
        ("index/meta.json", "bits"),
    ],
)
def test_what_is_no_object_is_one_line(
    make_outputs: Callable[..., Any], name: str, read: str, text: str
) -> None:
    made = make_outputs()
    (made.root / name).parent.mkdir(exist_ok=True)
    (made.root / name).write_text(text)
    with pytest.raises(InputError, match=f"{name}: holds no JSON object"):
        getattr(made.run(), read)


def test_arrays_that_do_not_fit_each_other_are_named(make_outputs: Callable[..., Any]) -> None:
    made = make_outputs()
    np.save(made.root / "predictions/test/knn.npy", np.zeros((3, 6), dtype=np.float32))
    with pytest.raises(InputError, match=r"knn.npy has shape \(3, 6\), must be \(30, 6\)"):
        _ = made.run().scores
    np.save(made.root / "predictions/test/soft.npy", np.zeros((30, 4), dtype=np.float16))
    with pytest.raises(InputError, match=r"soft.npy has shape .* run evaluate again"):
        _ = made.run().soft


def test_thresholds_of_each_class_take_the_place_of_the_common_one(
    make_outputs: Callable[..., Any],
) -> None:
    made = make_outputs()
    assert (made.run().cuts["knn"] == 0.5).all()
    text = (made.root / "params.yaml").read_text()
    (made.root / "params.yaml").write_text(
        text.replace("thresholds: global", "thresholds: per_class")
    )
    assert made.run().cuts["knn"].tolist() == [0.45] * 6


def test_rounded_gives_plain_json_without_nan() -> None:
    found = rounded({"a": np.array([0.123456, np.nan]), "b": [1, (2.55555, "x")]}, 3)
    assert found == {"a": [0.123, None], "b": [1, [2.556, "x"]]}
