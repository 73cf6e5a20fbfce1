"""Towers that learn in two processes: the files are those of one."""

import os
import subprocess
import sys
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

PROGRAM = """
import os, signal, sys
from pathlib import Path
import torch
from mmhash.errors import InputError, exit_code
from mmhash.ranks import joined, restarted

*paths, mishap = sys.argv[1:]

def main():
    if restarted(2):
        return
    with joined(torch.device("cpu")) as ranks:
        work(ranks)

def work(ranks):
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
    problem = Problem(*map(Path, paths))
    towers = dataclasses.replace(problem.towers, ranks=ranks)
    summary = problem.train("both", towers=towers, on_epoch=mishaps, **SETTINGS)
    (problem.scratch / f"summary-{ranks.rank}").write_text(repr(summary))
    assert problem.encoded == [problem.scratch / "both"]

sys.exit(exit_code(main))
"""
# Windows of three micro batches and two ranks: one of the two has more to do.
SETTINGS = {"batch_size": 4, "gradient_accumulation_steps": 3, "on_oom": "halve"}


class Program:
    """The training of ``problem`` in two processes."""

    def __init__(self, paths: list[Path], repository: Path) -> None:
        self.paths, self.repository = paths, repository

    def run(self, mishap: str = "none") -> tuple[int, list[str]]:
        """Return the exit code and the lines on stderr that are no progress bar."""
        path = f"{self.repository / 'src'}{os.pathsep}{self.repository}"
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *self.paths, mishap],
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        lines = done.stderr.replace("\r", "\n").splitlines()
        bars = ("epoch/s", "s/epoch", "picture/s")
        return done.returncode, [s for s in lines if s and not any(bar in s for bar in bars)]


@pytest.fixture
def paths(fixed_folder, dataset, tmp_path) -> list[Path]:  # noqa: F811
    images, located = dataset
    return [fixed_folder, written(images, tmp_path), located.args[0], tmp_path]


def test_a_killed_rank_costs_an_epoch_and_changes_no_byte(paths, repository):
    program = Program(paths, repository)
    code, said = program.run("killed")
    assert code == 1
    assert [line for line in said if line.startswith("error: ")] == said[-1:]
    assert "process 2 of 2 was ended by SIGKILL" in said[-1]
    problem = Problem(*paths)
    state = problem.scratch / "both-cache" / "batch_size-4"
    assert list(state.glob("state-*.safetensors"))
    assert not (problem.scratch / "both").exists()
    code, said = program.run()
    assert code == 0, said
    assert any("continuing after epoch" in line for line in said)
    alone = problem.train("alone", **SETTINGS)
    assert problem.files("both") == problem.files("alone")
    for rank in (0, 1):
        assert (problem.scratch / f"summary-{rank}").read_text() == repr(alone)
    assert not (problem.scratch / "both-cache").exists()


def test_no_room_in_one_rank_is_one_line_with_advice(paths, repository):
    code, said = Program(paths, repository).run("no_room")
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
