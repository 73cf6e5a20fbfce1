"""Stages in two processes on the CPU give the files that one process gives."""

import sys
from pathlib import Path

import pytest

from mmhash.data.sample.draw import draw_sample


@pytest.fixture
def drawn(checkout: Path, set_params) -> Path:
    """A checkout with 60 drawn pictures in COCO's format; towers learn for two epochs."""
    root = checkout / "pictures"
    draw_sample(root, counts={"train": 30, "restval": 10, "val": 10, "test": 10}, workers=1)
    coco = {"root": str(root), "strict_counts": False}
    coco["encoder"] = {"checkpoint": "encoders/tiny-siglip"}
    set_params(
        checkout,
        {
            "run": {"dataset": "coco2014", "hardware": "cpu"},
            "datasets": {"coco2014": coco},
            "hardware": {"cpu": {"num_workers": 0, "precision": "float32"}},
        },
    )
    return checkout


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_two_processes_write_what_one_writes(
    drawn: Path, shell, set_params, stages: tuple[str, ...]
) -> None:
    for stage in stages[: stages.index("encode_classes")]:
        shell(drawn, sys.executable, f"stages/{stage}.py")
    alone = files(drawn / "features"), (drawn / "metrics/features.json").read_bytes()
    set_params(drawn, {"hardware": {"cpu": {"processes": 2}}})
    shell(drawn, "rm", "-r", "features")
    shell(drawn, sys.executable, "stages/extract_features.py")
    assert (files(drawn / "features"), (drawn / "metrics/features.json").read_bytes()) == alone
    assert not list((drawn / ".cache/extract_features").glob("*/"))
