"""Towers that learn in two processes: the files are those of one."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from mmhash.errors import InputError
from mmhash.losses.total import LossWeights
from mmhash.ranks import Ranks
from mmhash.training import loop

from ..encoders.conftest import (  # noqa: F401
    dataset,
    fixed_folder,
    locate,
    pictures,
)
from .conftest import make_data, make_model, make_settings
from .test_end_to_end import Problem, written

WORK = """
import dataclasses
from tests.training.test_end_to_end import Problem
from tests.training.test_end_to_end_in_ranks import SETTINGS
from mmhash.training.end_to_end import TowerStore

def mishaps(row):
    if mishap == "killed" and ranks.rank == 1 and row["epoch"] == 1:
        os.kill(os.getpid(), signal.SIGKILL)

def no_room(self, rows, captions):
    raise torch.OutOfMemoryError("CUDA out of memory")

if mishap == "no_room" and ranks.rank == 1:
    TowerStore.batch = no_room
validated, batch = [], TowerStore.batch

def watched(self, rows, captions):
    if not torch.is_grad_enabled():
        validated.append(rows.tolist())
    return batch(self, rows, captions)

TowerStore.batch = watched
problem = Problem(*map(Path, paths))
towers = dataclasses.replace(problem.towers, ranks=ranks)
summary = problem.train("both", towers, mishaps, device=device, **SETTINGS)
(problem.scratch / f"summary-{ranks.rank}").write_text(repr(summary))
(problem.scratch / f"validated-{ranks.rank}").write_text(repr(validated[-1:]))
assert problem.encoded == [problem.scratch / "both"]
"""
# Windows of three micro batches and two ranks: one of the two has more to do.
SETTINGS = {"batch_size": 4, "gradient_accumulation_steps": 3, "on_oom": "halve"}


@pytest.fixture
def paths(fixed_folder, dataset, tmp_path) -> list[Path]:  # noqa: F811
    images, located = dataset
    return [fixed_folder, written(images, tmp_path), located.args[0], tmp_path]


@pytest.fixture
def program(two_ranks):
    """The training of a problem in two processes."""
    return two_ranks(WORK, "mishap, *paths")


def test_a_killed_rank_costs_an_epoch_and_changes_no_byte(paths, two_ranks, device_of_two):
    program = two_ranks(WORK, "mishap, *paths", device_of_two)
    code, said = program.run("killed", *paths)
    assert code == 1
    assert [line for line in said if line.startswith("error: ")] == said[-1:]
    assert "process 2 of 2 was ended by SIGKILL" in said[-1]
    problem = Problem(*paths)
    state = problem.scratch / "both-cache" / "batch_size-4"
    assert list(state.glob("state-*.safetensors"))
    assert not (problem.scratch / "both").exists()
    code, said = program.run("none", *paths)
    assert code == 0, said
    assert any("continuing after epoch" in line for line in said)
    alone = problem.train("alone", device=device_of_two, **SETTINGS)
    assert problem.files("both") == problem.files("alone")
    for rank in (0, 1):
        assert (problem.scratch / f"summary-{rank}").read_text() == repr(alone)
        val = problem.data.val_rows.tolist()
        part = [val[:4], val[4:]][rank]  # of the two batches of val each rank takes one
        assert (problem.scratch / f"validated-{rank}").read_text() == repr([part])
    assert not (problem.scratch / "both-cache").exists()


def test_no_room_in_one_rank_is_one_line_with_advice(paths, program):
    code, said = program.run("no_room", *paths)
    assert code == 1
    assert [line for line in said if line.startswith("error: ")] == said[-1:]
    assert "train.batch_size=2" in said[-1]


def test_a_step_with_fewer_micro_batches_than_ranks_is_told(tmp_path, monkeypatch, caplog):
    def stop(*_):
        raise InputError("far enough")

    monkeypatch.setattr(loop, "_fit", stop)
    towers = SimpleNamespace(ranks=Ranks(rank=0, world=3))
    for micro_batches in (3, 2):
        settings = make_settings(gradient_accumulation_steps=micro_batches)
        with pytest.raises(InputError, match="far enough"):
            loop.train(
                make_data(),
                make_model(),
                LossWeights(),
                settings,
                device="cpu",
                cache=tmp_path / "cache",
                out=tmp_path / "out",
                towers=towers,
            )
        told = "3 processes share the 2 micro batches of a step" in caplog.text
        assert told == (micro_batches == 2)
