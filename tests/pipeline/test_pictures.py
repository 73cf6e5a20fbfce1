"""The chain on pictures: 310 real COCO photographs, and small drawn samples that go wrong."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest


def coco_params(root: Path) -> dict:
    return {
        "run": {"dataset": "coco2014"},
        "datasets": {
            "coco2014": {
                "root": str(root),
                "strict_counts": False,
                "encoder": {"checkpoint": "encoders/tiny-siglip"},
            }
        },
        "hardware": {"auto": {"num_workers": 0}},
    }


def test_the_whole_chain_runs_on_310_real_photographs(
    checkout: Path, shell, set_params, real_data: Path, stages: tuple[str, ...]
) -> None:
    root = real_data / "coco-mini"
    before = {file: file.stat().st_mtime_ns for file in root.rglob("*")}
    set_params(checkout, coco_params(root))
    for stage in stages:
        shell(checkout, sys.executable, f"stages/{stage}.py")

    split = pq.read_table(checkout / "data/split.parquet")["split"].to_pylist()
    assert Counter(split) == {"train": 34, "restval": 196, "val": 35, "test": 45}
    images = pq.read_table(checkout / "data/images.parquet").to_pylist()
    expected_labels: dict[int, set[int]] = {row["image_id"]: set() for row in images}
    expected_captions: dict[int, list[str]] = {row["image_id"]: [] for row in images}
    for folder in ("train2014", "val2014"):
        instances = json.loads((root / f"annotations/instances_{folder}.json").read_text())
        for annotation in instances["annotations"]:
            expected_labels[annotation["image_id"]].add(annotation["category_id"])
        captions = json.loads((root / f"annotations/captions_{folder}.json").read_text())
        for annotation in captions["annotations"]:
            expected_captions[annotation["image_id"]].append(annotation["caption"])
    assert len(images) == 310
    for row in images:
        assert set(row["category_ids"]) == expected_labels[row["image_id"]]
        assert row["captions"] == expected_captions[row["image_id"]]

    assert np.load(checkout / "features/image.npy").shape == (310, 128)
    assert np.load(checkout / "index/image_id.npy").shape == (230,)
    figures = json.loads((checkout / "metrics/eval.json").read_text())
    assert figures["test"]["knn"]["images"] == 45
    assert figures["data"]["database"] == 230
    assert {file: file.stat().st_mtime_ns for file in root.rglob("*")} == before


@pytest.fixture
def drawn(checkout: Path, set_params) -> Path:
    """A checkout with 60 drawn pictures in COCO's format as its coco2014 folder."""
    from mmhash.data.sample.draw import draw_sample

    root = checkout / "pictures"
    draw_sample(root, counts={"train": 30, "restval": 10, "val": 10, "test": 10}, workers=1)
    set_params(checkout, coco_params(root))
    return checkout


def fails(checkout: Path, environment: dict[str, str], stage: str) -> str:
    """Run a stage that must fail; return its one line."""
    done = subprocess.run(
        [sys.executable, f"stages/{stage}.py"],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in done.stderr
    assert len(lines) == 1, done.stderr
    return lines[0]


def annotations(checkout: Path, kind: str) -> Path:
    return checkout / "pictures" / "annotations" / f"{kind}_train2014.json"


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def first_picture(checkout: Path) -> Path:
    return sorted((checkout / "pictures/images/train2014").glob("*.jpg"))[0]


def test_bad_pictures_and_annotations_are_one_line_and_leave_outputs_alone(
    drawn: Path, shell, user_environment: dict[str, str], stages: tuple[str, ...]
) -> None:
    for stage in stages[: stages.index("train")]:
        shell(drawn, sys.executable, f"stages/{stage}.py")
    outputs = [*(drawn / "features").iterdir(), *(drawn / "data").glob("*.*")]
    before = {file: file.read_bytes() for file in outputs}

    picture = first_picture(drawn)
    whole = picture.read_bytes()
    picture.write_bytes(whole[: len(whole) // 2])
    line = fails(drawn, user_environment, "extract_features")
    assert picture.name in line
    assert "on_bad_image" in line
    picture.write_bytes(whole)

    path = annotations(drawn, "captions")
    text = path.read_text()
    edit(path, lambda content: content["annotations"][0].update(caption="   "))
    assert "caption" in fails(drawn, user_environment, "index_coco")
    path.write_text(text)

    path = annotations(drawn, "instances")
    text = path.read_text()
    edit(path, lambda content: content["annotations"][0].update(image_id=987654321))
    assert "987654321" in fails(drawn, user_environment, "index_coco")
    path.write_text(text)
    edit(path, lambda content: content["images"].append(content["images"][0]))
    assert "stands already" in fails(drawn, user_environment, "index_coco")
    path.write_text(text[: len(text) // 2])
    assert path.name in fails(drawn, user_environment, "index_coco")
    path.write_text(text)

    split = drawn / "pictures" / "dataset_coco.json"
    text = split.read_text()
    edit(split, lambda content: content["images"][0].update(cocoid=123456789))
    assert "123456789" in fails(drawn, user_environment, "download_karpathy_split")
    split.write_text(text)

    weights = drawn / "encoders/tiny-siglip/model.safetensors"
    kept = weights.read_bytes()
    weights.unlink()
    assert "model.safetensors" in fails(drawn, user_environment, "extract_features")
    weights.write_bytes(kept)

    assert {file: file.read_bytes() for file in outputs} == before


def test_an_extraction_that_is_killed_goes_on_and_ends_with_the_same_bytes(
    drawn: Path, shell, user_environment: dict[str, str], stages: tuple[str, ...]
) -> None:
    for stage in stages[: stages.index("encode_classes")]:
        shell(drawn, sys.executable, f"stages/{stage}.py")
    undisturbed = {file.name: file.read_bytes() for file in (drawn / "features").iterdir()}
    for blow in (signal.SIGINT, signal.SIGKILL):
        shell(drawn, "rm", "-r", "features")
        process = subprocess.Popen(
            [sys.executable, "stages/extract_features.py"],
            cwd=drawn,
            env=user_environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        state = drawn / ".cache" / "extract_features"
        deadline = time.monotonic() + 60
        while not (state.is_dir() and list(state.iterdir())) and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(blow)
        process.communicate(timeout=60)
        shell(drawn, sys.executable, "stages/extract_features.py")
        resumed = {file.name: file.read_bytes() for file in (drawn / "features").iterdir()}
        assert resumed == undisturbed
