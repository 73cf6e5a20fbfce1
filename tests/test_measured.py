import json
from pathlib import Path

import pytest

from mmhash.errors import InputError
from mmhash.measured import accuracy, evaluated_votes, moved_since, read_thresholds
from mmhash.params import Knn, load_params

FIGURES = {"mAP": 0.4, "mAP_low": 0.3, "mAP_high": 0.5}
CUTS = {"global": 0.3, "per_class": [0.1, 0.2]}
LOCK = """\
schema: '2.0'
stages:
  train:
    cmd: python stages/train.py
    params:
      params.yaml:
        knn:
          k: 1
  evaluate:
    cmd: python stages/evaluate.py
    params:
      params.yaml:
        knn:
          k: {k}
          distance: hamming
          head: hybrid
    outs:
    - path: metrics/eval.json
  plot:
    cmd: python stages/plot.py
"""


@pytest.fixture
def knn(repository: Path) -> Knn:
    return load_params(repository / "params.yaml").knn


def write(path: Path, value: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def test_the_accuracy_is_that_of_the_head_and_of_the_kind_of_prediction(tmp_path: Path) -> None:
    alone = {**FIGURES, "mAP": 0.35}
    write(
        tmp_path / "metrics/eval.json",
        {"test": {"knn": {**FIGURES, "CF1": 1}, "image_only": {"knn": alone}}},
    )
    assert accuracy(tmp_path, "knn", image_only=False) == FIGURES
    assert accuracy(tmp_path, "knn", image_only=True) == alone
    assert accuracy(tmp_path, "hybrid", image_only=False) is None
    assert accuracy(tmp_path / "elsewhere", "knn", image_only=False) is None


@pytest.mark.parametrize(
    "damaged",
    [
        "[]",
        "null",
        "{",
        '{"test": {"knn": {}}}',
        '{"test": 3}',
        '{"test": {"knn": {"mAP": 1}}}',
        '{"test": null}',
    ],
)
def test_damaged_figures_are_one_line(tmp_path: Path, damaged: str) -> None:
    write(tmp_path / "metrics/eval.json", damaged)
    with pytest.raises(InputError, match=r"metrics/eval.json: "):
        accuracy(tmp_path, "knn", image_only=False)


def test_thresholds_come_back_as_they_were_written(tmp_path: Path) -> None:
    cuts = {"knn": CUTS, "hybrid": {**CUTS, "knn_weight": 0.5}, "image_only": {"knn": CUTS}}
    write(tmp_path / "predictions/thresholds.json", cuts)
    assert read_thresholds(tmp_path) == cuts


@pytest.mark.parametrize(
    "damaged",
    [
        {},
        [],
        None,
        {"knn": {}},
        {"knn": {"global": "x", "per_class": [0.1]}},
        {"knn": {"global": 0.3, "per_class": []}},
        {"knn": {"global": 0.3, "per_class": [None]}},
        {"knn": CUTS, "classifier": 3},
        {"knn": CUTS, "hybrid": CUTS},
        {"knn": CUTS, "image_only": 3},
    ],
)
def test_damaged_thresholds_are_one_line(tmp_path: Path, damaged: object) -> None:
    write(tmp_path / "predictions/thresholds.json", damaged)
    with pytest.raises(InputError, match=r"thresholds.json: holds no thresholds of the votes"):
        read_thresholds(tmp_path)


def test_votes_with_other_settings_than_evaluates_are_told(tmp_path: Path, knn: Knn) -> None:
    write(tmp_path / "dvc.lock", LOCK.format(k=knn.k))
    assert evaluated_votes(tmp_path) == {"k": knn.k, "distance": "hamming"}
    assert moved_since(tmp_path, knn) == ""
    write(tmp_path / "dvc.lock", LOCK.format(k=7))
    assert moved_since(tmp_path, knn) == f"knn.k is {knn.k} and was 7 when evaluate ran"


@pytest.mark.parametrize(
    "lock", [None, "", "{", LOCK.split("    params")[0], "  evaluate:\n    - [\n"]
)
def test_where_nothing_is_known_nothing_is_told(tmp_path: Path, knn: Knn, lock: str | None) -> None:
    if lock is not None:
        write(tmp_path / "dvc.lock", lock)
    assert moved_since(tmp_path, knn) == ""
