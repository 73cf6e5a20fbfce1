"""Stages in two processes on the CPU leave the files that one process leaves."""

import sys
from pathlib import Path

import pytest

from mmhash.data.sample.draw import draw_sample

from .conftest import change_params, make_checkout, run

LEFT = {
    "extract_features": ["features", "metrics/features.json"],
    "train": ["model", "metrics/train.json", "dvclive/metrics.json"],
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with 60 drawn pictures in COCO's format, indexed; towers learn for two epochs."""
    checkout = make_checkout(tmp_path_factory.mktemp("drawn") / "checkout")
    root = checkout / "pictures"
    draw_sample(root, counts={"train": 30, "restval": 10, "val": 10, "test": 10}, workers=1)
    coco = {"root": str(root), "strict_counts": False}
    changes = {
        "run": {"dataset": "coco2014", "hardware": "cpu"},
        "datasets": {"coco2014": coco | {"encoder": {"checkpoint": "encoders/tiny-siglip"}}},
        "hardware": {"cpu": {"num_workers": 0, "precision": "float32"}},
        "encoder": {"unfreeze": "last_n", "last_n": 1},
        "train": {"num_epochs": 2, "lr_towers": 0.001},
    }
    change_params(checkout, changes)
    for stage in ("fetch_data", "index_coco", "download_karpathy_split"):
        run(checkout, sys.executable, f"stages/{stage}.py")
    return checkout


def files(checkout: Path, names: list[str]) -> dict[str, bytes]:
    """Return the contents of files, and of all files in folders."""
    found = {}
    for name in names:
        path = checkout / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                found[file.relative_to(checkout).as_posix()] = file.read_bytes()
    return found


def test_two_processes_leave_what_one_leaves(drawn: Path) -> None:
    for stage, names in LEFT.items():
        left = []
        for processes in (2, 1):  # one last: the next stage reads its files
            change_params(drawn, {"hardware": {"cpu": {"processes": processes}}})
            for name in names:
                run(drawn, "rm", "-rf", name)
            run(drawn, sys.executable, f"stages/{stage}.py")
            left.append(files(drawn, names))
        assert left[0] == left[1]
        assert left[0].keys() > set(names[1:])
    assert not list((drawn / ".cache").glob("*_features/*/"))
    assert not list((drawn / ".cache/train").glob("*/"))
