"""The whole training: outputs, selection, resume, memory."""

import csv
import dataclasses
import gc
import json
import os
import re
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from mmhash.codes import binarise, pack
from mmhash.errors import InputError
from mmhash.losses.hashing import balance
from mmhash.metrics.codes import code_metrics
from mmhash.models.config import AlignConfig, ClassifierConfig, FusionConfig, HashConfig
from mmhash.models.tagger import Tagger
from mmhash.models.weights import load_tagger, load_tensors
from mmhash.training import checkpoint, loop
from mmhash.training import epoch as epochs
from mmhash.training.checkpoint import HISTORY_COLUMNS
from mmhash.training.encode import encode
from mmhash.training.loop import train
from mmhash.training.selection import CODE_FIGURES, mean_average_precision

from .conftest import file_hashes, make_model, make_settings


class KilledError(Exception):
    """Stands for the death of the process."""


def history(folder: Path) -> list[dict[str, float]]:
    with (folder / "history.csv").open() as stream:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def test_it_learns_and_leaves_the_files_it_promises(bench):
    summary = bench.train(num_epochs=8)
    out = bench.folder / "run"
    labels = bench.data.features.labels[bench.data.val_rows]
    assert summary.best_val_mAP > labels.mean() + 0.4
    rows = history(out)
    assert tuple(rows[0]) == (*HISTORY_COLUMNS, *(f"val_{name}" for name in CODE_FIGURES))
    assert [row["epoch"] for row in rows] == list(range(8))
    assert rows == bench.rows
    assert rows[-1]["loss_classification"] < 0.7 * rows[0]["loss_classification"]
    config = json.loads((out / "config.json").read_text())
    assert config["categories"] == list(bench.data.categories)
    assert config["best_epoch"] == summary.best_epoch
    assert config["best_val_mAP"] == summary.best_val_mAP == max(r["val_mAP"] for r in rows)
    assert config["hash_scale"] == rows[summary.best_epoch]["hash_scale"]
    assert not bench.cache().exists()
    assert summary.optimizer_steps == 8 * 5
    assert rows[-1]["lr"] == 1e-6


def test_the_saved_best_reproduces_its_val_map_with_its_own_scale(bench):
    summary = bench.train()
    tagger, scale = load_tagger(bench.folder / "run")
    result = encode(tagger, bench.data.features, bench.data.val_rows, scale)
    labels = bench.data.features.labels[bench.data.val_rows]
    value = mean_average_precision(result["logits"], labels)
    assert value == pytest.approx(summary.best_val_mAP, abs=1e-9)
    figures = code_metrics(pack(binarise(result["h"])), result["h"])
    row = history(bench.folder / "run")[summary.best_epoch]
    for name in CODE_FIGURES:
        assert row[f"val_{name}"] == pytest.approx(figures[name], abs=1e-6)


def test_last_best_and_top_are_named_by_epoch_and_map(bench):
    bench.train(num_epochs=6, early_stopping_patience=99)
    out = bench.folder / "run"
    rows = history(out)
    ranked = sorted(rows, key=lambda row: (-row["val_mAP"], row["epoch"]))[:3]
    expected = {f"epoch{int(r['epoch']):03d}-mAP{r['val_mAP']:.4f}.safetensors" for r in ranked}
    names = {path.name for path in (out / "top").iterdir()}
    assert names == expected
    assert all(re.fullmatch(r"epoch\d{3}-mAP[01]\.\d{4}\.safetensors", name) for name in names)
    for row in ranked:
        name = f"epoch{int(row['epoch']):03d}-mAP{row['val_mAP']:.4f}.safetensors"
        _, metadata = load_tensors(out / "top" / name)
        assert float(metadata["hash_scale"]) == row["hash_scale"]
        assert float(metadata["val_mAP"]) == row["val_mAP"]
        assert int(metadata["epoch"]) == row["epoch"]
    best = f"epoch{int(ranked[0]['epoch']):03d}-mAP{ranked[0]['val_mAP']:.4f}.safetensors"
    assert (out / "best.safetensors").read_bytes() == (out / "top" / best).read_bytes()
    _, metadata = load_tensors(out / "last.safetensors")
    assert metadata["epoch"] == "5"


def test_a_deterministic_training_does_not_fill_memory_that_is_written_next(bench):
    seen = []
    filled = torch.utils.deterministic.fill_uninitialized_memory

    def look(_):
        seen.append(
            (
                torch.are_deterministic_algorithms_enabled(),
                torch.utils.deterministic.fill_uninitialized_memory,
            )
        )

    bench.train(num_epochs=1, on_epoch=look)
    assert seen == [(True, False)]
    assert torch.utils.deterministic.fill_uninitialized_memory == filled


def test_two_runs_are_identical_whatever_was_drawn_before(bench):
    first = bench.train("a")
    torch.manual_seed(99)
    np.random.default_rng().random(3)
    state = torch.get_rng_state()
    second = bench.train("b")
    assert bench.files("a") == bench.files("b")
    assert first == second
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()
    bench.train("c", seed=2)
    assert bench.files("c")["best.safetensors"] != bench.files("a")["best.safetensors"]


@pytest.mark.parametrize("killed_after", [0, 2, 4])
def test_a_run_killed_between_epochs_ends_as_an_undisturbed_one(bench, killed_after):
    undisturbed = bench.train("whole", log_gradient_norms=True)
    rows = bench.rows

    def dies(row):
        if row["epoch"] == killed_after:
            raise KilledError

    with pytest.raises(KilledError):
        bench.train("cut", on_epoch=dies, log_gradient_norms=True)
    assert not (bench.folder / "cut").exists()
    resumed = bench.train("cut", log_gradient_norms=True)
    assert bench.files("cut") == bench.files("whole")
    assert resumed == undisturbed
    assert bench.rows == rows
    assert not bench.cache("cut").exists()


def test_a_run_killed_inside_an_epoch_and_inside_a_save_ends_the_same(bench, monkeypatch):
    bench.train("whole")
    real_forward, calls = Tagger.forward, []

    def dies_in_epoch_one(self, *arguments):
        calls.append(1)
        if len(calls) == 22:
            raise KilledError
        return real_forward(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Tagger, "forward", dies_in_epoch_one)
        with pytest.raises(KilledError):
            bench.train("cut")

    real_save, saves = checkpoint.save_tensors, []

    def dies_in_the_state(path, tensors, metadata):
        saves.append(path.name)
        if path.name == "state-003.safetensors":
            raise KilledError
        real_save(path, tensors, metadata)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_tensors", dies_in_the_state)
        with pytest.raises(KilledError):
            bench.train("cut")
    assert "state-000.safetensors" not in saves  # epoch 0 was not run again
    assert (bench.cache("cut") / "batch_size-8" / "state-002.safetensors").exists()
    bench.train("cut")
    assert bench.files("cut") == bench.files("whole")


def test_a_run_killed_while_it_writes_its_outputs_ends_the_same(bench, monkeypatch):
    bench.train("whole")

    def dies(*arguments):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("mmhash.training.checkpoint.write_json", dies)
        with pytest.raises(KilledError):
            bench.train("cut")
    bench.train("cut")
    assert bench.files("cut") == bench.files("whole")


SIGKILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [{src!r}, {here!r}]
import torch
torch.set_num_threads(1)
from conftest import Bench
def dies(row):
    if row["epoch"] == 1:
        os.kill(os.getpid(), signal.SIGKILL)
Bench(Path({folder!r})).train("cut", on_epoch=dies)
"""


def test_sigkill_loses_no_finished_epoch(bench, repository):
    script = SIGKILLED.format(
        src=str(repository / "src"), here=str(Path(__file__).parent), folder=str(bench.folder)
    )
    process = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert (bench.cache("cut") / "batch_size-8" / "state-001.safetensors").exists()
    bench.train("cut")
    assert [row["epoch"] for row in bench.rows] == [0, 1, 2, 3, 4]
    bench.train("whole")
    assert bench.files("cut") == bench.files("whole")


def test_it_stops_early_when_val_map_no_longer_rises(bench):
    # A rate too small to move a float32 weight, and no BatchNorm: every epoch is the same.
    model = make_model(hash=HashConfig(bits=16, batch_norm=False, schedule="constant"))
    values = {"lr": 1e-15, "min_lr": 0.0, "num_epochs": 9, "early_stopping_patience": 3}
    summary = bench.train(model=model, **values)
    assert (summary.best_epoch, summary.epochs_run, summary.stopped_early) == (0, 4, True)
    assert len({row["val_mAP"] for row in history(bench.folder / "run")}) == 1
    assert not bench.train("full", num_epochs=3).stopped_early


def out_of_memory_above(limit, monkeypatch, from_call=0):
    real, calls = Tagger.forward, []

    def forward(self, image, *others):
        calls.append(len(image))
        if len(image) > limit and len(calls) > from_call:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, image, *others)

    monkeypatch.setattr(Tagger, "forward", forward)


BIG = {"batch_size": 32, "gradient_accumulation_steps": 1}


@pytest.fixture
def tiny_memory(monkeypatch):
    """A memory in which the 32 rows of a window make a difference."""
    monkeypatch.setattr(epochs, "ROWS_TOGETHER", 8)


@pytest.mark.usefixtures("tiny_memory")
def test_out_of_memory_stops_with_the_two_overrides(bench, monkeypatch):
    out_of_memory_above(10, monkeypatch)
    with pytest.raises(InputError) as caught:
        bench.train(**BIG)
    message = str(caught.value)
    assert "-S train.batch_size=16 -S train.gradient_accumulation_steps=2" in message
    assert "\n" not in message


@pytest.mark.parametrize("from_call", [0, 13])
@pytest.mark.usefixtures("tiny_memory")
def test_halving_equals_a_run_configured_with_that_batch(bench, monkeypatch, from_call):
    bench.train("small", batch_size=8, gradient_accumulation_steps=4)
    out_of_memory_above(10, monkeypatch, from_call)
    summary = bench.train("halved", on_oom="halve", **BIG)
    assert bench.files("halved") == bench.files("small")
    assert summary.out_of_memory_halvings == 2
    assert (summary.batch_size, summary.gradient_accumulation_steps) == (8, 4)
    assert "train.batch_size=8" in summary.notes[-1]


@pytest.fixture
def no_collector():
    """Nothing that refers to itself goes away unasked: when it would is a matter of chance."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def runs_that_refer_to_themselves(monkeypatch):
    """References to the runs that are made, as PyTorch's import of its compiler keeps the first."""
    made = []

    class Kept(epochs.Run):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.itself = self
            made.append(weakref.ref(self))

    monkeypatch.setattr(loop, "Run", Kept)
    return made


@pytest.mark.usefixtures("tiny_memory", "no_collector")
def test_a_run_without_memory_has_let_go_of_it_when_the_next_one_starts(bench, monkeypatch):
    made = runs_that_refer_to_themselves(monkeypatch)
    out_of_memory_above(10, monkeypatch)
    settings_used, alive = [], []
    real = loop.start

    def start(data, model, weights, settings, *others):
        settings_used.append(settings.batch_size)
        alive.extend(run for run in made if run() is not None)
        return real(data, model, weights, settings, *others)

    monkeypatch.setattr(loop, "start", start)
    bench.train(on_oom="halve", num_epochs=1, **BIG)
    assert settings_used == [32, 16, 8]
    assert not alive


@pytest.mark.usefixtures("tiny_memory")
def test_a_halved_run_is_resumed_with_its_batch(bench, monkeypatch):
    bench.train("small", batch_size=8, gradient_accumulation_steps=4)

    def dies(row):
        if row["epoch"] == 1:
            raise KilledError

    with monkeypatch.context() as short_of_memory:
        out_of_memory_above(10, short_of_memory)
        with pytest.raises(KilledError):
            bench.train("halved", on_epoch=dies, on_oom="halve", **BIG)
    summary = bench.train("halved", on_oom="halve", **BIG)
    assert bench.files("halved") == bench.files("small")
    assert summary.out_of_memory_halvings == 2


@pytest.mark.usefixtures("tiny_memory")
def test_memory_too_small_for_any_batch_is_said(bench, monkeypatch):
    out_of_memory_above(0, monkeypatch)
    with pytest.raises(InputError, match="batch_size=2, which cannot be halved"):
        bench.train(on_oom="halve", **BIG)


def test_a_broken_loss_keeps_the_last_good_epoch(bench, monkeypatch):
    calls = []

    def breaks(h):
        calls.append(1)  # in each epoch 5 times in training and 5 times on val
        return balance(h) * (float("inf") if len(calls) > 22 else 1.0)

    monkeypatch.setattr("mmhash.losses.total.balance", breaks)
    with pytest.raises(InputError, match=r"epoch 2, step 3 of 5.*term: balance"):
        bench.train()
    assert [row["epoch"] for row in bench.rows] == [0, 1]
    assert (bench.cache() / "batch_size-8" / "state-001.safetensors").exists()


def test_the_constant_cosine_term_is_announced_with_its_cure(bench, caplog):
    caplog.set_level("INFO")
    summary = bench.train(num_epochs=1)
    [note] = [note for note in summary.notes if "loss_cosine" in note]
    assert "constant" in note
    assert "align.projection" in note
    assert note in caplog.text
    aligned = make_model(align=AlignConfig(True))
    summary = bench.train("aligned", model=aligned, num_epochs=3)
    assert not any("loss_cosine" in note for note in summary.notes)
    cosine = [row["loss_cosine"] for row in history(bench.folder / "aligned")]
    assert cosine[-1] < 0.9 * cosine[0]


def test_the_constant_cosine_term_is_announced_for_directions_alone_too(bench):
    summary = bench.train(model=make_model("direction_only"), num_epochs=1)
    assert any("constant" in note for note in summary.notes)


@pytest.mark.parametrize("inputs", ["image", "caption"])
def test_one_modality_alone_has_nothing_to_align(bench, inputs):
    summary = bench.train(model=make_model(inputs=inputs), num_epochs=1)
    assert not any("loss_cosine" in note for note in summary.notes)


def test_the_device_is_logged_and_recorded(bench, caplog):
    caplog.set_level("INFO")
    assert bench.train(num_epochs=1).device == "cpu"
    assert "training on cpu in float32" in caplog.text


def test_float16_on_a_cpu_is_announced_as_float32(bench, caplog):
    caplog.set_level("INFO")
    summary = bench.train(num_epochs=1)
    assert summary.precision == "float32"
    assert any("float16 needs CUDA" in note for note in summary.notes)
    assert "float16 needs CUDA" in caplog.text
    bench.train("off", num_epochs=1, amp=False)
    assert bench.files("off") == bench.files()


@pytest.mark.parametrize(
    "model",
    [
        make_model("mlp"),
        make_model(hash=HashConfig(enabled=False)),
        make_model(classifier=ClassifierConfig(False, False)),
        make_model(fusion=FusionConfig("concat_direction", (8, 4), 0.0, "gelu")),
    ],
    ids=["mlp", "no_hash", "no_bias", "concat_direction"],
)
def test_each_variant_trains(bench, model):
    summary = bench.train(model=model, num_epochs=3)
    out = bench.folder / "run"
    rows = history(out)
    assert rows[-1]["loss_classification"] < rows[0]["loss_classification"]
    tagger, scale = load_tagger(out)
    assert tagger.config == model
    assert scale == rows[summary.best_epoch]["hash_scale"]
    lines = (out / "h_histogram.csv").read_text().splitlines()
    assert lines[0] == "epoch,bin_left,bin_right,fraction"
    assert len(lines) == 1 + (3 * 40 if model.hash.enabled else 0)
    if not model.hash.enabled:
        assert {row["loss_hash"] for row in rows} == {0.0}
        assert tuple(rows[0]) == HISTORY_COLUMNS


def test_the_histogram_holds_fractions_of_each_epoch(bench):
    bench.train(num_epochs=2)
    with (bench.folder / "run" / "h_histogram.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for epoch in ("0", "1"):
        own = [row for row in rows if row["epoch"] == epoch]
        assert sum(float(row["fraction"]) for row in own) == pytest.approx(1)
        assert float(own[0]["bin_left"]) == -1
        assert float(own[-1]["bin_right"]) == 1


def test_classes_without_val_positives_are_named(bench):
    labels = bench.data.features.labels.copy()
    labels[bench.data.val_rows, 3] = 0
    features = dataclasses.replace(bench.data.features, labels=labels)
    summary = bench.train(data=dataclasses.replace(bench.data, features=features), num_epochs=1)
    assert summary.val_classes_without_positives == ["class 3"]


def test_stale_top_files_are_removed(bench):
    stale = bench.folder / "run" / "top" / "epoch099-mAP0.9999.safetensors"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")
    bench.train(num_epochs=1)
    assert not stale.exists()


def test_batch_norm_refuses_batches_of_one(bench):
    with pytest.raises(InputError, match="BatchNorm needs at least 2 rows"):
        bench.train(batch_size=1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_cuda_runs_are_identical_and_near_the_cpu(bench, dtype):
    cpu = bench.train("cpu", num_epochs=8)
    settings = make_settings(num_epochs=8, amp_dtype=dtype)

    def on_cuda(name, on_epoch=None):
        return train(
            *(bench.data, bench.model, bench.weights, settings),
            device="cuda",
            cache=bench.cache(name),
            out=bench.folder / name,
            on_epoch=on_epoch,
        )

    def dies(row):
        if row["epoch"] == 3:
            raise KilledError

    first = on_cuda("a")
    with pytest.raises(KilledError):
        on_cuda("b", dies)
    on_cuda("b")
    assert file_hashes(bench.folder / "a") == file_hashes(bench.folder / "b")
    assert first.precision == dtype
    assert first.best_val_mAP == pytest.approx(cpu.best_val_mAP, abs=0.05)
