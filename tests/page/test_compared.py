import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from mmhash.page.compared import ablations, changed, experiments

nested = st.recursive(
    st.integers(0, 3), lambda inner: st.dictionaries(st.sampled_from("abcd"), inner), max_leaves=9
)


@given(nested)
def test_nothing_differs_from_itself(values: object) -> None:
    assert changed(values, values) == {}


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(
        command, cwd=root, check=True, capture_output=True, text=True
    ).stdout.strip()


def values_of(root: Path) -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load((root / "params.yaml").read_text())


def test_experiments_show_the_parameters_that_differ_and_their_figures(
    make_outputs: Callable[..., Any], repository: Path
) -> None:
    made = make_outputs()
    root = made.root
    shutil.copy(repository / "dvc.yaml", root)
    git(root, "init", "-q")
    git(root, "add", "params.yaml", "dvc.yaml", "metrics/eval.json")
    git(root, "commit", "-qm", "base")
    head = git(root, "rev-parse", "HEAD")
    text = (root / "params.yaml").read_text()
    assert experiments(made.run(), values_of(root))["absent"].startswith("This repository has no")

    def experiment(name: str, params: str | None) -> None:
        figures = json.loads((root / "metrics/eval.json").read_text())
        figures["test"]["knn"]["mAP"] = 0.4321
        made.json("metrics/eval.json", figures)
        (root / "params.yaml").write_text(params or text)
        if params is None:
            git(root, "rm", "-q", "--cached", "metrics/eval.json")
        git(root, "commit", "-qam", name)
        git(root, "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", "HEAD")
        git(root, "reset", "-q", "--hard", head)

    other = text.replace("bits: 64 ", "bits: 32 ").replace("hardware: auto", "hardware: cpu")
    other = other.replace("encoders/tiny-siglip ", "encoders/other ")  # of a dataset not used
    assert other.count("bits: 32") == 1
    experiment("shorter", other)
    experiment("broken", None)
    found = experiments(made.run(), values_of(root))
    assert [row["name"] for row in found["rows"]] == ["this run", "shorter"]
    assert found["unread"] == 1
    row = found["rows"][1]
    assert row["params"] == ["hash.bits=32"]
    assert row["commit"] == head[:10]
    assert row["figures"][found["columns"].index("mAP, KNN")] == 0.4321
    assert "absent" not in found


def test_without_a_repository_the_run_stands_alone(make_outputs: Callable[..., Any]) -> None:
    made = make_outputs()
    found = experiments(made.run(), values_of(made.root))
    assert [row["name"] for row in found["rows"]] == ["this run"]
    assert "cannot be read" in found["absent"]


def test_ablations_are_read_from_their_tables(repository: Path, tmp_path: Path) -> None:
    found = {study["id"]: study for study in ablations(repository / "reports/ablations")["studies"]}
    assert found["A1"]["title"] == "Fusion of image and text vectors"
    assert found["A1"]["origin"].startswith("Dataset: sample (synthetic")
    row = found["A1"]["rows"][0]
    assert row[:3] == ["hadamard_with_magnitude", "KNN", "mAP"]
    assert isinstance(row[4], float)
    assert row[6] is None  # the baseline has no difference to itself
    assert "bits" in found["E1"]["columns"]
    assert "mmhash ablate A1" in ablations(tmp_path)["mend"]
