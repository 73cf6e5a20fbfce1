"""A miniature checkout: the files of this repository on 120 feature rows; stages take seconds."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from ..conftest import change_params

ROOT = Path(__file__).resolve().parents[2]
OVERRIDES = {
    "run": {"dataset": "features"},
    "datasets": {"features": {"root": "data/features/raw"}},
    "fusion": {"mlp_dims": [32, 16]},
    "hash": {"bits": 16},
    "train": {"num_epochs": 3, "lr": 0.01},
    "evaluate": {"bootstrap_samples": 100},
    "knn": {"k": 5},
}

# What no stage reads; tables of the sample's ablations would be taken for the miniature's own.
LEFT_OUT = ("tests/", "benchmarks/", "scripts/", "reports/")

STAGES = tuple(
    YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
)


def write_features(root: Path, seed: int = 0) -> None:
    """120 rows in six classes, two vectors each around their class, 96 train / 12 val / 12 test."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    labels = (rng.random((120, 6)) < 0.3).astype(np.uint8)
    labels[np.arange(120), np.arange(120) % 6] = 1
    centres = rng.normal(size=(6, 8))
    for name in ("image", "text"):
        vectors = labels @ centres + 0.3 * rng.normal(size=(120, 8))
        np.save(root / f"{name}.npy", vectors.astype(np.float32))
    split = np.repeat(np.array([0, 1, 2, 3], dtype=np.uint8), [72, 24, 12, 12])
    np.save(root / "labels.npy", labels)
    np.save(root / "image_id.npy", np.arange(1000, 1120, dtype=np.int64))
    np.save(root / "split.npy", split)
    (root / "categories.json").write_text('["a", "b", "c", "d", "e", "f"]\n')


def environment() -> dict[str, str]:
    """The environment of a user whose virtual environment is active, with plain git settings."""
    identity = {
        f"GIT_{role}_{field}": value
        for role in ("AUTHOR", "COMMITTER")
        for field, value in (("NAME", "t"), ("EMAIL", "t@example.org"))
    }
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "GIT_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**clean, **identity, "PATH": path, "DVC_NO_ANALYTICS": "1"}


def run(folder: Path, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command in ``folder`` and return it with its output."""
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    if check:
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done


def make_checkout(folder: Path) -> Path:
    """Copy what git would track of this repository to ``folder`` and commit it there."""
    listed = run(ROOT, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.stdout.split("\0")):
        if name.startswith(LEFT_OUT) or not (ROOT / name).is_file():
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    (folder / "dvc.lock").unlink(missing_ok=True)
    change_params(folder, OVERRIDES)
    write_features(folder / "data" / "features" / "raw")
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-q", "-m", "start")
    return folder


@pytest.fixture
def shell() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command in a folder; a failure fails the test with the command's output."""
    return run


@pytest.fixture
def stages() -> tuple[str, ...]:
    """The names of all stages, in the order of dvc.yaml."""
    return STAGES


@pytest.fixture
def user_environment() -> dict[str, str]:
    """The environment in which a user's commands run."""
    return environment()


@pytest.fixture
def set_params() -> Callable[[Path, dict], None]:
    """Change values in a checkout's params.yaml."""
    return change_params


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A committed checkout in which nothing has run."""
    return make_checkout(tmp_path / "checkout")


@pytest.fixture
def second_checkout(tmp_path: Path) -> Path:
    """Another one, in another folder."""
    return make_checkout(tmp_path / "elsewhere" / "checkout")


@pytest.fixture(scope="module")
def finished_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which every stage has run; tests must leave its outputs alone."""
    folder = make_checkout(tmp_path_factory.mktemp("finished") / "checkout")
    for stage in STAGES:
        run(folder, sys.executable, f"stages/{stage}.py")
    return folder
