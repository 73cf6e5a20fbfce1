"""The stages as a user runs them: through DVC, killed, and with bad input."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

OUTPUTS = ("data", "features", "model", "index", "predictions", "plots", "metrics", "dvclive")


CHECK = {"check_params"}  # runs, for half a second, whenever params.yaml changes


def stages_that_ran(output: str) -> set[str]:
    """The names behind DVC's "Running stage"."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def contents(folder: Path) -> dict[str, bytes]:
    """Every output file with its bytes, the cost readings left out."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for name in OUTPUTS
        for file in sorted((folder / name).rglob("*"))
        if file.is_file() and not {"cost", "raw"} & set(file.relative_to(folder).parts)
    }


def test_a_clone_runs_once_reruns_what_a_parameter_touches_and_takes_results_back(
    checkout: Path, shell
) -> None:
    first = shell(checkout, "dvc", "repro")
    assert len(stages_that_ran(first.stdout)) == 10
    reference = contents(checkout)
    figures = json.loads((checkout / "metrics/eval.json").read_text())
    assert figures["test"]["knn"]["mAP"] > 0.3
    few = json.loads((checkout / "metrics/headline.json").read_text())
    assert few["mAP_knn"] == figures["test"]["knn"]["mAP"]
    assert few["retrieval_mAP@50"] == figures["retrieval"]["test"]["mAP@50"]

    again = shell(checkout, "dvc", "repro")
    assert "Data and pipelines are up to date." in again.stdout
    assert (
        shell(checkout, "git", "status", "--porcelain", "--", "params.yaml", "dvc.yaml").stdout
        == ""
    )
    shell(checkout, "git", "add", "-A")
    shell(checkout, "git", "commit", "-q", "-m", "first run")

    bits = shell(checkout, "dvc", "exp", "run", "-S", "hash.bits=32")
    assert stages_that_ran(bits.stdout) == CHECK | {"train", "build_index", "evaluate", "plot"}
    difference = shell(checkout, "dvc", "metrics", "diff", "--md")
    assert "test.knn.mAP" in difference.stdout
    table = shell(checkout, "dvc", "exp", "show", "--only-changed", "--md")
    assert "hash.bits" in table.stdout

    before = contents(checkout)
    refused = shell(checkout, "dvc", "exp", "run", "-S", "hash.bits=60", check=False)
    assert refused.returncode != 0
    assert "hash.bits = 60: must be 16, 32, 64, 128 or 256" in refused.stdout + refused.stderr
    assert contents(checkout) == before

    back = shell(checkout, "dvc", "exp", "run", "-S", "hash.bits=16")
    assert stages_that_ran(back.stdout) <= CHECK
    assert contents(checkout) == reference

    neighbours = shell(checkout, "dvc", "exp", "run", "-S", "knn.k=7")
    assert stages_that_ran(neighbours.stdout) == CHECK | {"evaluate", "plot"}
    looks = shell(checkout, "dvc", "exp", "run", "-S", "knn.k=5", "-S", "plots.dpi=50")
    assert stages_that_ran(looks.stdout) == CHECK | {"plot"}
    assert stages_that_ran(shell(checkout, "dvc", "repro").stdout) <= CHECK

    # A copy without raw data and without this folder's resume state: both come through DVC_ROOT.
    # Its folds are drawn from raw data, and no picture is encoded again for them.
    override = [f"-Ssplit.{value}" for value in ("protocol=kfold", "fold=1", "seed=1")]
    away = shell(checkout, "dvc", "exp", "run", "--temp", "-n", "elsewhere", *override)
    after_split = {"download_karpathy_split", "train", "build_index", "evaluate", "plot"}
    assert stages_that_ran(away.stdout) == CHECK | after_split
    assert "elsewhere" in shell(checkout, "dvc", "exp", "list", "--name-only").stdout


def test_a_clone_and_the_temporary_copy_of_another_give_the_same_bytes(
    checkout: Path, second_checkout: Path, shell
) -> None:
    shell(checkout, "dvc", "repro")
    shell(second_checkout, "dvc", "exp", "run", "--temp", "-n", "away")  # its run cache is empty
    shell(second_checkout, "dvc", "exp", "apply", "away")
    one, two = contents(checkout), contents(second_checkout)
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []
    assert (checkout / "dvc.lock").read_bytes() == (second_checkout / "dvc.lock").read_bytes()


def run_stages(checkout: Path, shell, *names: str) -> None:
    for name in names:
        shell(checkout, sys.executable, f"stages/{name}.py")


BEFORE_TRAINING = (
    "fetch_data",
    "index_coco",
    "download_karpathy_split",
    "extract_features",
    "encode_classes",
)


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_a_training_that_is_stopped_goes_on_and_ends_with_the_same_bytes(
    checkout: Path, shell, user_environment: dict[str, str], set_params, blow: signal.Signals
) -> None:
    set_params(checkout, {"train": {"num_epochs": 40, "early_stopping_patience": 40}})
    run_stages(checkout, shell, *BEFORE_TRAINING, "train")
    undisturbed = contents(checkout)
    for name in ("model", "dvclive"):
        shell(checkout, "rm", "-r", name)

    process = subprocess.Popen(
        [sys.executable, "stages/train.py"],
        cwd=checkout,
        env=user_environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    state = checkout / ".cache" / "train"
    deadline = time.monotonic() + 60
    while not list(state.glob("*/*/state-*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(blow)
    _, errors = process.communicate(timeout=60)
    if blow is signal.SIGINT:
        assert process.returncode == 130
        assert errors.splitlines()[-1].startswith("interrupted: the next dvc repro goes on")
    else:
        assert process.returncode == -signal.SIGKILL
    assert not (checkout / "model").exists()

    resumed = shell(checkout, sys.executable, "stages/train.py")
    assert "continuing after epoch" in resumed.stderr
    assert contents(checkout) == undisturbed
    assert not list(state.glob("*/*/state-*.safetensors"))


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        ("fetch_data", {"hash": {"bits": 60}}, "hash.bits = 60: must be 16, 32, 64, 128 or 256"),
        ("evaluate", {"knn": {"k": 0}}, "knn.k = 0: must be greater than or equal to 1"),
        ("evaluate", {"knn": {"k": 5000}}, "knn.k is 5000 but the index holds 96 items"),
        ("fetch_data", {"datasets": {"features": {"root": "nowhere"}}}, "nowhere"),
        ("fetch_data", {"run": {"dataset": "coco2014"}}, "annotations_trainval2014.zip"),
    ],
)
def test_a_wrong_parameter_is_one_line_and_leaves_earlier_outputs_alone(
    finished_checkout: Path,
    user_environment: dict[str, str],
    set_params,
    stage: str,
    changes: dict,
    message: str,
) -> None:
    before = contents(finished_checkout)
    text = (finished_checkout / "params.yaml").read_text()
    set_params(finished_checkout, changes)
    try:
        done = subprocess.run(
            [sys.executable, f"stages/{stage}.py"],
            cwd=finished_checkout,
            env=user_environment,
            capture_output=True,
            text=True,
        )
    finally:
        (finished_checkout / "params.yaml").write_text(text)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("error: ")
    assert message in errors[0]
    assert contents(finished_checkout) == before


def test_nan_in_brought_features_is_named_with_file_and_row(
    checkout: Path, user_environment: dict[str, str]
) -> None:
    path = checkout / "data/features/raw/image.npy"
    image = np.load(path)
    image[17, 3] = np.nan
    np.save(path, image)
    done = subprocess.run(
        [sys.executable, "stages/index_coco.py"],
        cwd=checkout,
        env=user_environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "image.npy: row 17 holds NaN" in done.stderr
    assert not (checkout / "data/images.parquet").exists()


def test_the_no_hash_baseline_runs_through_to_the_plots(checkout: Path, shell, set_params) -> None:
    set_params(checkout, {"model": {"name": "mlp"}})
    run_stages(checkout, shell, *BEFORE_TRAINING, "train", "build_index", "evaluate", "plot")
    figures = json.loads((checkout / "metrics/eval.json").read_text())
    assert figures["codes"] == {}
    assert json.loads((checkout / "index/meta.json").read_text())["metric"] == "cosine"
    assert 0 < figures["test"]["knn"]["mAP"] <= 1
    assert (checkout / "plots/bit_balance.csv").read_text() == "rank,bit,ones\n"


def test_zero_shot_trains_nothing_and_runs_through_to_the_plots(
    checkout: Path, shell, set_params, user_environment: dict[str, str]
) -> None:
    set_params(checkout, {"model": {"name": "zeroshot"}})
    run_stages(checkout, shell, *BEFORE_TRAINING, "train", "build_index", "evaluate", "plot")
    figures = json.loads((checkout / "metrics/eval.json").read_text())
    assert set(figures["test"]) == {"knn"}  # features that are brought have no prototypes
    tables = {path.name: path.read_text() for path in (checkout / "plots").glob("*.csv")}
    assert len(tables["classes_hybrid.csv"].splitlines()) == 1
    assert len(tables["classes_knn.csv"].splitlines()) == 7
    set_params(checkout, {"knn": {"head": "hybrid"}})
    done = subprocess.run(
        [sys.executable, "stages/evaluate.py"],
        cwd=checkout,
        env=user_environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "knn.head = hybrid needs a trained classifier" in done.stderr


def test_the_head_that_is_named_makes_the_tags_and_no_other_figure_moves(
    checkout: Path, shell, set_params
) -> None:
    run_stages(checkout, shell, *BEFORE_TRAINING, "train", "build_index", "evaluate")
    before = contents(checkout)
    set_params(checkout, {"knn": {"head": "hybrid"}})
    run_stages(checkout, shell, "evaluate")
    after = contents(checkout)
    moved = {name for name in before if before[name] != after[name]}
    assert moved == {f"predictions/{split}/tags.parquet" for split in ("val", "test")}
    figures = json.loads(after["metrics/eval.json"])
    weight = figures["val"]["hybrid"]["knn_weight"]
    assert json.loads(after["predictions/thresholds.json"])["hybrid"]["knn_weight"] == weight


def test_tracking_shows_the_history_and_changes_no_output(
    checkout: Path, shell, set_params, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(checkout))  # no W&B settings of the person who runs the tests
    run_stages(checkout, shell, *BEFORE_TRAINING, "train")
    without = contents(checkout)
    assert not (checkout / ".cache/tracking").exists()
    set_params(checkout, {"tracking": {"tensorboard": True, "wandb": True}})
    for _ in range(2):  # a training that is run again replaces what it showed before
        run_stages(checkout, shell, "check_params", "train")
    assert contents(checkout) == without
    [folder] = (checkout / ".cache/tracking/tensorboard").iterdir()
    assert folder.name.startswith("features-full-16bit-")
    events = EventAccumulator(str(folder))
    events.Reload()
    with (checkout / "model/history.csv").open() as stream:
        history = list(csv.DictReader(stream))
    assert {"epoch", *events.Tags()["scalars"]} == set(history[0])
    for name in events.Tags()["scalars"]:
        values = [event.value for event in events.Scalars(name)]
        assert values == pytest.approx([float(row[name]) for row in history], rel=1e-6)
    assert len(list((checkout / ".cache/tracking/wandb").glob("*/wandb/offline-run-*"))) == 1


def test_thresholds_do_not_move_when_the_test_set_changes(checkout: Path, shell) -> None:
    everything = (*BEFORE_TRAINING, "train", "build_index", "evaluate")
    run_stages(checkout, shell, *everything)
    thresholds = (checkout / "predictions/thresholds.json").read_bytes()
    scores = json.loads((checkout / "metrics/eval.json").read_text())["test"]["knn"]
    folder = checkout / "data/features/raw"
    image, labels = np.load(folder / "image.npy"), np.load(folder / "labels.npy")
    test = np.load(folder / "split.npy") == 3
    image[test], labels[test] = image[test][::-1], np.roll(labels[test], 1, axis=1)
    np.save(folder / "image.npy", image)
    np.save(folder / "labels.npy", labels)
    run_stages(checkout, shell, *everything)
    changed = json.loads((checkout / "metrics/eval.json").read_text())["test"]["knn"]
    assert changed["mAP"] != scores["mAP"]
    assert (checkout / "predictions/thresholds.json").read_bytes() == thresholds
