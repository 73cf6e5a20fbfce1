import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from mmhash.errors import InputError
from mmhash.experiments.plan import Experiment
from mmhash.experiments.records import Checkout, Records

PIPELINE = {
    "stages": {
        "fetch": {
            "cmd": "python fetch.py",
            "deps": ["fetch.py", "data/${run.dataset}.json"],
            "params": ["run.dataset"],
            "outs": ["features"],
        },
        "train": {
            "cmd": "python train.py",
            "deps": ["train.py", "features/image.npy"],
            "params": ["train", "hash.bits"],
            "outs": ["model"],
        },
        "build_index": {"cmd": "python index.py", "deps": ["model"], "outs": ["index"]},
        "evaluate": {
            "cmd": "python evaluate.py",
            "deps": ["index", "evaluate.py"],
            "params": ["knn"],
            "outs": ["predictions"],
            "metrics": [{"metrics/eval.json": {"cache": False}}],
        },
        "plot": {"cmd": "python plot.py", "deps": ["predictions", "plot.py"], "params": ["plots"]},
    }
}
VALUES: dict[str, Any] = {
    "run": {"dataset": "sample"},
    "train": {"seed": 1, "lr": 1e-6},
    "hash": {"bits": 64},
    "knn": {"k": 20},
    "plots": {"dpi": 90},
}
SOURCES = ("fetch.py", "train.py", "evaluate.py", "plot.py", "data/sample.json")
Run = Callable[..., str]


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    command = ["git", *identity, *arguments]
    return subprocess.run(
        command, cwd=root, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the pipeline; DVC's cache is the folder ``cache`` beside it."""
    root = tmp_path / "checkout"
    for name in SOURCES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{name}\n")
    with (root / "dvc.yaml").open("w") as stream:
        YAML().dump(PIPELINE, stream)
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "start")
    monkeypatch.setattr(Checkout, "cache", tmp_path / "cache")
    return root


def store(root: Path, data: bytes, suffix: str = "") -> str:
    """Put ``data`` into the cache as DVC does."""
    name = md5(data) + suffix
    path = root.parent / "cache" / "files" / "md5" / name[:2] / name[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return name


def ran(root: Path, name: str, values: dict[str, Any], baseline: str = "HEAD") -> str:
    """Leave what DVC leaves of an experiment that has run; return its ref."""
    item = store(root, f"scores of {name}".encode())
    listing = json.dumps([{"relpath": "test/knn.npy", "md5": item}]).encode()
    folder = store(root, listing, ".dir")
    stages = {}
    for stage, entry in PIPELINE["stages"].items():
        deps = [path.replace("${run.dataset}", values["run"]["dataset"]) for path in entry["deps"]]
        found: dict[str, Any] = {"cmd": entry["cmd"]}
        found["deps"] = [
            {"path": path, "hash": "md5", "md5": md5((root / path).read_bytes())}
            if (root / path).is_file()
            else {"path": path, "hash": "md5", "md5": "0" * 32}
            for path in deps
        ]
        params = {}
        for key in entry.get("params", []):
            value: Any = values
            for part in key.split("."):
                value = value[part]
            params[key] = value
        if params:
            found["params"] = {"params.yaml": params}
        found["outs"] = [{"path": out, "md5": folder} for out in entry.get("outs", [])]
        stages[stage] = found
    base = git(root, "rev-parse", baseline)
    git(root, "checkout", "-q", "--detach", base)
    with (root / "dvc.lock").open("w") as stream:
        YAML().dump({"schema": "2.0", "stages": stages}, stream)
    (root / "metrics").mkdir(exist_ok=True)
    (root / "metrics/eval.json").write_text(json.dumps({"name": name}))
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", name)
    ref = f"refs/exps/{base[:2]}/{base[2:]}/{name}"
    git(root, "update-ref", ref, "HEAD")
    git(root, "checkout", "-q", "main")
    return ref


def changed(**blocks: dict[str, Any]) -> dict[str, Any]:
    return {key: {**block, **blocks.get(key, {})} for key, block in VALUES.items()}


def find(root: Path, name: str = "base-s1", values: dict[str, Any] = VALUES) -> str | None:
    found = Records(Checkout(root)).find(Experiment(name, {"train.seed": 1}, values))
    return None if found is None else found.name


def test_an_experiment_with_the_same_inputs_is_found_and_read(root: Path) -> None:
    ran(root, "base-s1", VALUES)
    record = Records(Checkout(root)).find(Experiment("base-s1", {"train.seed": 1}, VALUES))
    assert record is not None
    assert record.metrics("metrics/eval.json") == {"name": "base-s1"}
    files = record.files("evaluate", "predictions")
    assert files["test/knn.npy"].read_bytes() == b"scores of base-s1"


def test_one_under_another_name_is_found_by_its_inputs(root: Path) -> None:
    ran(root, "other-s1", changed(knn={"k": 5}))
    assert find(root) is None
    ran(root, "third", VALUES)
    assert find(root) == "third"


@pytest.mark.parametrize(
    "values",
    [changed(train={"seed": 2}), changed(train={"lr": 2e-6}), changed(knn={"k": 5})],
)
def test_other_parameters_are_another_experiment(root: Path, values: dict[str, Any]) -> None:
    ran(root, "base-s1", VALUES)
    assert find(root, values=values) is None


def test_parameters_that_no_stage_before_evaluate_reads_do_not_count(root: Path) -> None:
    ran(root, "base-s1", VALUES)
    assert find(root, values=changed(plots={"dpi": 200})) == "base-s1"


@pytest.mark.parametrize(
    ("source", "expected"),
    [("train.py", None), ("data/sample.json", None), ("plot.py", "base-s1")],
)
def test_changed_code_or_data_of_a_needed_stage_count(
    root: Path, source: str, expected: str | None
) -> None:
    ran(root, "base-s1", VALUES)
    (root / source).write_text("changed\n")
    assert find(root) == expected


def test_a_new_dependency_counts(root: Path) -> None:
    ran(root, "base-s1", VALUES)
    text = (root / "dvc.yaml").read_text().replace("- train.py", "- train.py\n    - fetch.py")
    (root / "dvc.yaml").write_text(text)
    assert find(root) is None


def test_it_is_found_whatever_commit_it_hangs_on_and_the_current_one_first(root: Path) -> None:
    old = ran(root, "base-s1", VALUES)
    (root / "README.md").write_text("for readers\n")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "readme")
    experiment = Experiment("base-s1", {"train.seed": 1}, VALUES)
    found = Records(Checkout(root)).find(experiment)
    assert found is not None
    assert found.ref == old
    new = ran(root, "base-s1", VALUES)
    found = Records(Checkout(root)).find(experiment)
    assert found is not None
    assert found.ref == new != old


def test_results_that_left_the_cache_are_no_results(root: Path) -> None:
    ran(root, "base-s1", VALUES)
    for path in (root.parent / "cache").rglob("*"):
        if path.is_file() and path.read_bytes() == b"scores of base-s1":
            path.unlink()
    assert find(root) is None


def test_clearing_takes_the_name_on_this_commit_alone(root: Path) -> None:
    ran(root, "base-s1", VALUES)
    kept = ran(root, "base-s2", VALUES)
    records = Records(Checkout(root))
    records.clear("base-s1")
    assert git(root, "for-each-ref", "--format=%(refname)", "refs/exps") == kept


def test_changed_files_are_those_that_can_change_a_result(root: Path) -> None:
    assert Checkout(root).changed_files() == []
    ran(root, "base-s1", VALUES)
    (root / "reports").mkdir()
    for name in ("dvc.lock", "reports/A1.md"):
        (root / name).write_text("written by a run\n")
    git(root, "add", "-A")
    assert Checkout(root).changed_files() == []
    (root / "train.py").write_text("changed\n")
    assert Checkout(root).changed_files() == ["train.py"]


def test_a_folder_without_git_or_pipeline_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"git rev-parse: .*not a git repository"):
        Checkout(tmp_path)
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "start")
    with pytest.raises(InputError, match=r"dvc\.yaml: no such file"):
        Checkout(tmp_path)
