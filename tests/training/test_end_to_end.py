"""Training with towers that learn: the same loop on pictures and captions."""

import csv
import dataclasses
import gc
import json
import os
import signal
import subprocess
import sys
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch

from mmhash.encoders.checkpoint import load_checkpoint
from mmhash.encoders.pictures import decode_once
from mmhash.losses.total import LossWeights
from mmhash.models.config import AlignConfig, FusionConfig
from mmhash.models.tagger import Tagger
from mmhash.models.weights import TOWERS, load_tagger, load_tensors, tuned_towers
from mmhash.training import loop
from mmhash.training.batches import Features
from mmhash.training.end_to_end import EndToEnd, TowerStore
from mmhash.training.epoch import Run
from mmhash.training.loop import train
from mmhash.training.settings import TrainingData, training_precision

from ..encoders.conftest import (  # noqa: F401
    dataset,
    fixed_folder,
    folder,
    locate,
    naflex_folder,
    pictures,
)
from .conftest import file_hashes, make_model, make_settings

CPU = torch.device("cpu")
TRAINED, CLASSES, WIDTH = 24, 3, 32


class KilledError(Exception):
    """Stands for the death of the process."""


class Problem:
    """Thirty pairs from ten pictures, the last six val; their features are zeros nobody reads."""

    def __init__(self, checkpoint: Path, table: Path, root: Path, scratch: Path) -> None:
        images = pa.concat_tables([parquet.read_table(table)] * 3)
        counts = [len(captions) for captions in images["captions"].to_pylist()]
        offset = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        labels = np.random.default_rng(0).integers(0, 2, (30, CLASSES)).astype(np.uint8)
        labels[-3:] = np.eye(3, dtype=np.uint8)
        empty = np.zeros((30, WIDTH), np.float16), np.zeros((offset[-1], WIDTH), np.float16)
        self.data = TrainingData(
            Features(*empty, offset, labels),
            np.arange(TRAINED),
            np.arange(TRAINED, 30),
            ("a", "b", "c"),
        )
        self.scratch = scratch
        self.encoded: list[Path] = []
        load = partial(load_checkpoint, str(checkpoint), None)
        towers = load(CPU)
        self.towers = EndToEnd(
            load=load,
            checkpoint={"checkpoint": str(checkpoint), "fingerprint": towers.fingerprint},
            unfreeze="last_n",
            last_n=1,
            pictures=decode_once(images, partial(locate, root), towers.pixels, scratch / "pixels"),
            captions=pa.chunked_array(images["captions"].chunks).combine_chunks().flatten(),
            encode=self.encoded.append,
        )

    def run(self, towers=None, **values) -> Run:
        settings = make_settings(**values)
        precision = training_precision(settings, CPU)
        asked = (self.data, make_model(dim=WIDTH, classes=CLASSES), LossWeights(), settings)
        return Run(*asked, precision, CPU, towers or self.towers)

    def train(
        self,
        name="run",
        towers=None,
        on_epoch=None,
        model=None,
        device="cpu",
        compiled=False,
        **settings,
    ):
        defaults = {"num_epochs": 3, "lr_towers": 1e-3, "gradient_accumulation_steps": 1}
        return train(
            self.data,
            model or make_model(dim=WIDTH, classes=CLASSES),
            LossWeights(),
            make_settings(**(defaults | settings)),
            device=device,
            cache=self.scratch / f"{name}-cache",
            out=self.scratch / name,
            on_epoch=on_epoch,
            towers=towers or self.towers,
            compiled=compiled,
        )

    def files(self, name="run") -> dict[str, str]:
        return file_hashes(self.scratch / name)


def written(images: pa.Table, folder: Path) -> Path:  # noqa: F811
    parquet.write_table(images, folder / "images.parquet")
    return folder / "images.parquet"


@pytest.fixture
def problem(folder, dataset, tmp_path) -> Problem:  # noqa: F811
    """The problem on each kind of checkpoint in turn."""
    images, located = dataset
    return Problem(folder, written(images, tmp_path), located.args[0], tmp_path)


@pytest.fixture
def fixed_problem(fixed_folder, dataset, tmp_path) -> Problem:  # noqa: F811
    images, located = dataset
    return Problem(fixed_folder, written(images, tmp_path), located.args[0], tmp_path)


def store_of(towers: EndToEnd, labels: np.ndarray, autocast=None) -> TowerStore:
    return TowerStore(towers, labels, CPU, autocast)


def test_a_batch_is_what_the_towers_make_of_the_drawn_captions_and_pictures(problem):
    labels = problem.data.features.labels
    store = store_of(problem.towers, labels)
    rows, captions = store.index(np.array([4, 27, 0])), store.index(np.array([9, 1, 30]))
    image, text, told = store.batch(rows, captions)
    towers = problem.towers.load(CPU)
    expected = towers.encode_images(problem.towers.pictures.rows(rows.numpy()))
    torch.testing.assert_close(image.detach(), expected, atol=1e-5, rtol=1e-5)
    words = [problem.towers.captions[int(c)].as_py() for c in captions]
    torch.testing.assert_close(text.detach(), towers.encode_texts(words), atol=1e-5, rtol=1e-5)
    assert torch.equal(told, torch.from_numpy(labels[[4, 27, 0]]).float())
    assert image.requires_grad
    assert text.requires_grad
    # The pooled outputs and not the joint embeddings, whose length is 1.
    assert image.norm(dim=1).std() > 1e-3
    with torch.no_grad():
        assert not store.batch(rows, captions)[0].requires_grad
    unit = store_of(dataclasses.replace(problem.towers, normalise=True), labels)
    torch.testing.assert_close(unit.batch(rows, captions)[1].norm(dim=1), torch.ones(3))


def test_autocast_rounds_the_products_and_leaves_the_weights_float32(problem):
    store = store_of(problem.towers, problem.data.features.labels, torch.bfloat16)
    exact = store_of(problem.towers, problem.data.features.labels)
    rows = store.index(np.arange(4))
    image, reference = store.batch(rows, rows)[0], exact.batch(rows, rows)[0]
    assert image.dtype == torch.float32
    assert not torch.equal(image, reference)
    torch.testing.assert_close(image, reference, atol=0.2, rtol=0.1)
    assert {parameter.dtype for parameter in store.learning.values()} == {torch.float32}


@pytest.mark.parametrize("which", ["last_n", "all"])
def test_the_learning_weights_are_saved_and_frozen_ones_keep_their_bytes(problem, which):
    towers = dataclasses.replace(problem.towers, unfreeze=which)
    summary = problem.train(towers=towers, num_epochs=2)
    store = store_of(towers, problem.data.features.labels)
    original = {name: p.detach() for name, p in towers.load(CPU).model.named_parameters()}
    tensors, _ = load_tensors(problem.scratch / "run" / "best.safetensors")
    tagger, _ = load_tagger(problem.scratch / "run")
    assert tensors.keys() - tagger.state_dict().keys() == {TOWERS + n for n in store.learning}
    # A bias of the keys moves no attention: its gradient is zero but for rounding.
    for name in store.learning:
        assert not torch.equal(tensors[TOWERS + name], original[name]) or "k_proj.bias" in name
    assert summary.parameters == sum(
        tensor.numel() for tensor in (*store.learning.values(), *tagger.parameters())
    )
    told = tuned_towers(problem.scratch / "run")
    assert told["unfreeze"] == which
    assert told["fingerprint"] == towers.checkpoint["fingerprint"]
    assert problem.encoded == [problem.scratch / "run"]


def test_frozen_layers_are_the_same_after_an_epoch(problem):
    run = problem.run(num_epochs=2, lr_towers=0.1)
    model = run.store._towers.model
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    run.epoch(0)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == run.store.learning.keys()


def test_each_group_has_its_own_rate_of_the_same_shape(fixed_problem):
    run = fixed_problem.run(lr=1e-2, lr_towers=1e-4, num_epochs=2, min_lr=1e-3)
    seen, step = [], run.optimizer.step
    first, last = (len(group["params"]) for group in run.optimizer.param_groups)
    assert (first, last) == (len(list(run.tagger.parameters())), len(run.store.learning))

    def records(*arguments, **named):
        seen.append([group["lr"] for group in run.optimizer.param_groups])
        return step(*arguments, **named)

    run.optimizer.step = records
    run.epoch(0)
    run.epoch(1)
    rates = np.array(seen)
    assert len(rates) == 2 * run.steps_per_epoch > 2
    np.testing.assert_allclose(rates[:, 1] / rates[:, 0], 1e-2, rtol=1e-12)
    assert rates[-1].tolist() == pytest.approx([1e-3, 1e-5])


def test_a_rate_of_its_own_moves_the_towers_more(fixed_problem):
    shifts = []
    for rate in (1e-5, 1e-3):
        run = fixed_problem.run(lr_towers=rate)
        before = [p.detach().clone() for p in run.store.learning.values()]
        run.epoch(0)
        after = run.store.learning.values()
        shifts.append(max((a - b).abs().max().item() for a, b in zip(after, before, strict=True)))
    assert shifts[1] > 20 * shifts[0]


def test_the_alignment_term_has_a_gradient_and_no_note_says_otherwise(fixed_problem):
    quiet = fixed_problem.train(num_epochs=1)
    assert not any("loss_cosine" in note for note in quiet.notes)
    only_cosine = LossWeights(bce_weight=0.0, hash_weight=0.0)
    run = fixed_problem.run(lr_towers=1e-3)
    run.weights = only_cosine
    rows = [run.epoch(epoch)[0]["loss_cosine"] for epoch in range(3)]
    assert rows[2] < rows[0] - 1e-3


def test_gradient_checkpointing_gives_the_same_files(problem, device):
    problem.train("kept", device=device)
    again = dataclasses.replace(problem.towers, gradient_checkpointing=True)
    problem.train("again", towers=again, device=device)
    assert problem.files("kept") == problem.files("again")


@pytest.mark.parametrize("which", ["last_n", "all"])
def test_towers_learn_the_same_twice_on_each_device_and_near_the_cpu(problem, which, device):
    # No dropout, whose draws on a GPU are not those of a CPU, and float32 on both.
    fusion = FusionConfig(mlp_dims=(16,), dropout=0.0)
    model = make_model(dim=WIDTH, classes=CLASSES, fusion=fusion)
    towers = dataclasses.replace(problem.towers, unfreeze=which)
    losses = {}
    for name, place in (("cpu", "cpu"), ("once", device), ("twice", device)):
        rows: list[dict[str, float]] = []
        problem.train(name, towers, rows.append, model, place, amp=False)
        losses[name] = np.array([[row["loss"], row["val_loss"]] for row in rows])
    assert problem.files("once") == problem.files("twice")
    # Adam makes steps of full length of gradients that are rounding noise, as before BatchNorm: a
    # relative change of 1e-6 in one layer moved these losses by up to .025.
    np.testing.assert_allclose(losses["once"], losses["cpu"], rtol=0.1)
    assert losses["once"][-1, 0] < 0.8 * losses["once"][0, 0]


def test_a_compiled_step_learns_with_the_towers_as_a_plain_one(fixed_problem, device, monkeypatch):
    torch._dynamo.reset()
    if device == "cpu":  # traced as ever, then run as it is: no C++ compiler
        compile_ = torch.compile
        options = {"backend": "eager", "dynamic": False}
        monkeypatch.setattr(torch, "compile", lambda f, **_: compile_(f, **options))
    plain, compiled = [], []
    for name, rows in (("plain", plain), ("compiled", compiled)):
        fixed_problem.train(
            name,
            on_epoch=rows.append,
            device=device,
            compiled=name == "compiled",
            amp=False,
            batch_size=5,
            gradient_accumulation_steps=3,
        )
    for expected, found in zip(plain, compiled, strict=True):
        assert found["loss"] == pytest.approx(expected["loss"], rel=0.1)


def test_dropout_inside_the_towers_follows_from_the_micro_batch_alone(fixed_problem):
    run = fixed_problem.run()

    def drawn(epoch, micro, before=0):
        torch.manual_seed(before)
        run._dropout(epoch, [micro])
        return torch.nn.functional.dropout(torch.ones(99))

    with torch.random.fork_rng():
        first = drawn(0, (8, 16))
        assert torch.equal(first, drawn(0, (8, 16), before=1))
        assert not torch.equal(first, drawn(0, (0, 8)))
        assert not torch.equal(first, drawn(1, (8, 16)))


@pytest.mark.parametrize(("killed_after", "inputs"), [(0, "both"), (2, "both"), (0, "image")])
def test_a_killed_run_ends_with_the_bytes_of_an_undisturbed_one(
    problem, killed_after, inputs, device
):
    # With the image alone no gradient reaches the text tower: it has no moments to be saved.
    model = make_model(dim=WIDTH, classes=CLASSES, inputs=inputs)
    undisturbed = problem.train("whole", model=model, device=device)

    def dies(row):
        if row["epoch"] == killed_after:
            raise KilledError

    with pytest.raises(KilledError):
        problem.train("cut", on_epoch=dies, model=model, device=device)
    resumed = problem.train("cut", model=model, device=device)
    assert problem.files("cut") == problem.files("whole")
    assert resumed == undisturbed
    assert not (problem.scratch / "cut-cache").exists()


SIGKILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [{src!r}, {root_of_tests!r}]
import torch
torch.set_num_threads(1)
from tests.training.test_end_to_end import Problem
def dies(row):
    if row["epoch"] == 1:
        os.kill(os.getpid(), signal.SIGKILL)
problem = Problem(*map(Path, [{folder!r}, {table!r}, {root!r}, {scratch!r}]))
problem.train("cut", on_epoch=dies)
"""


def test_sigkill_loses_no_finished_epoch(fixed_folder, dataset, tmp_path, repository):  # noqa: F811
    images, located = dataset
    script = SIGKILLED.format(
        src=str(repository / "src"),
        root_of_tests=str(repository),
        folder=str(fixed_folder),
        table=str(written(images, tmp_path)),
        root=str(located.args[0]),
        scratch=str(tmp_path),
    )
    process = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert (tmp_path / "cut-cache" / "batch_size-8" / "state-001.safetensors").exists()
    problem = Problem(fixed_folder, written(images, tmp_path), located.args[0], tmp_path)
    epochs = []
    problem.train("cut", on_epoch=lambda row: epochs.append(row["epoch"]))
    problem.train("whole")
    assert epochs == [0, 1, 2]
    assert problem.files("cut") == problem.files("whole")


def test_a_kill_while_the_data_set_is_encoded_costs_no_epoch(fixed_problem, monkeypatch):
    def dies(out):
        raise KilledError

    fixed_problem.train("whole")
    with pytest.raises(KilledError):
        fixed_problem.train("cut", towers=dataclasses.replace(fixed_problem.towers, encode=dies))

    def trains_again(*arguments):
        raise AssertionError("an epoch was run again")

    monkeypatch.setattr(Run, "epoch", trains_again)
    fixed_problem.train("cut")
    assert fixed_problem.files("cut") == fixed_problem.files("whole")


def test_the_run_has_let_go_of_its_memory_when_the_data_set_is_encoded(fixed_problem, monkeypatch):
    made, alive = [], []

    class Kept(Run):  # refers to itself, as PyTorch's import of its compiler keeps the first run
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.itself = self
            made.append(weakref.ref(self))

    def encode(_):
        alive.extend(run() is not None for run in made)

    monkeypatch.setattr(loop, "Run", Kept)
    gc.collect()
    gc.disable()  # when it would come by itself is a matter of chance
    try:
        towers = dataclasses.replace(fixed_problem.towers, encode=encode)
        fixed_problem.train(towers=towers, num_epochs=1)
    finally:
        gc.enable()
    assert alive == [False]


def test_halving_equals_a_run_configured_with_that_batch(fixed_problem, monkeypatch):
    fixed_problem.train("small", batch_size=4, gradient_accumulation_steps=2)
    real = TowerStore.batch

    def batch(self, rows, captions):
        if len(rows) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, rows, captions)

    monkeypatch.setattr(TowerStore, "batch", batch)
    summary = fixed_problem.train("halved", on_oom="halve", gradient_accumulation_steps=1)
    assert summary.out_of_memory_halvings == 1
    assert fixed_problem.files("halved") == fixed_problem.files("small")


def test_it_stops_early_and_keeps_the_best_three(fixed_problem):
    values = {"lr": 1e-15, "lr_towers": 1e-15, "min_lr": 0.0, "num_epochs": 9}
    model = make_model(dim=WIDTH, classes=CLASSES)
    steady = dataclasses.replace(model.hash, batch_norm=False, schedule="constant")
    model = dataclasses.replace(model, hash=steady)
    summary = fixed_problem.train(model=model, early_stopping_patience=3, **values)
    assert (summary.best_epoch, summary.epochs_run, summary.stopped_early) == (0, 4, True)
    out = fixed_problem.scratch / "run"
    assert len(list((out / "top").iterdir())) == 3
    with (out / "history.csv").open() as stream:
        assert len({row["val_mAP"] for row in csv.DictReader(stream)}) == 1


def test_frozen_training_says_nothing_of_towers(fixed_problem):
    problem = fixed_problem
    rng = np.random.default_rng(0)
    features = dataclasses.replace(
        problem.data.features,
        image=rng.normal(size=(30, WIDTH)).astype(np.float16),
        text=rng.normal(size=problem.data.features.text.shape).astype(np.float16),
    )
    out = problem.scratch / "frozen"
    summary = train(
        dataclasses.replace(problem.data, features=features),
        make_model(dim=WIDTH, classes=CLASSES, align=AlignConfig(False)),
        LossWeights(),
        make_settings(num_epochs=1),
        device="cpu",
        cache=problem.scratch / "frozen-cache",
        out=out,
    )
    assert any("loss_cosine is a constant" in note for note in summary.notes)
    assert tuned_towers(out) is None
    assert "towers" not in json.loads((out / "config.json").read_text())
    tensors, _ = load_tensors(out / "best.safetensors")
    assert tensors.keys() == Tagger(load_tagger(out)[0].config).state_dict().keys()
