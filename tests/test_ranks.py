"""Processes that torchrun starts: they find each other, agree, and end together."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
import torch

from mmhash.ranks import ALONE, Ranks, joined, restarted

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
import torch
from mmhash.errors import InputError, exit_code
from mmhash.ranks import joined, restarted

OUT = Path(sys.argv[1])

def main():
    if restarted(2):
        return
    with joined(torch.device("cpu")) as ranks:
        work(ranks)

def work(ranks):
{body}

sys.exit(exit_code(main, "run it again"))
"""


def start(folder: Path, repository: Path, body: str) -> subprocess.Popen[str]:
    """Start a program whose two ranks do ``body``."""
    path = folder / "program.py"
    path.write_text(PROGRAM.format(body=textwrap.indent(textwrap.dedent(body), "    ")))
    return subprocess.Popen(
        [sys.executable, path, folder],
        env=os.environ | {"PYTHONPATH": str(repository / "src"), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, repository: Path, body: str) -> tuple[int, str]:
    """Return exit code and stderr of a program whose two ranks do ``body``."""
    process = start(folder, repository, body)
    _, said = process.communicate(timeout=180)
    return process.returncode, said


def test_one_process_is_alone_and_starts_no_other() -> None:
    assert not restarted(1)
    with joined(torch.device("cpu")) as ranks:
        assert ranks is ALONE
    assert ALONE.first
    assert ALONE.share([3, 1, 2]) == [3, 1, 2]
    assert ALONE.agree(lambda: "mine") == "mine"
    assert ALONE.in_turn(lambda: 5) == 5
    ALONE.wait()


def test_items_are_dealt_so_that_each_has_one_owner() -> None:
    dealt = [Ranks(rank, 3).share(range(8)) for rank in range(3)]
    assert dealt == [[0, 3, 6], [1, 4, 7], [2, 5]]


def test_ranks_agree_send_and_take_turns(tmp_path: Path, repository: Path) -> None:
    code, said = run(
        tmp_path,
        repository,
        """
        told = ranks.agree(lambda: {"rank": ranks.rank, "name": "ü" * 70})
        assert told == {"rank": 0, "name": "ü" * 70}, told
        tensor = torch.full((3,), float(ranks.rank))
        ranks.send(tensor, 1)
        assert tensor.tolist() == [1.0] * 3
        def draw():
            if ranks.first:
                time.sleep(0.3)
                (OUT / "drawn").write_text("x")
            return (OUT / "drawn").read_text()
        assert ranks.in_turn(draw) == "x"
        (OUT / f"done-{ranks.rank}").write_text(f"{ranks.world} {torch.get_num_threads()}")
        """,
    )
    assert (code, said) == (0, "")
    assert [(tmp_path / f"done-{rank}").read_text() for rank in (0, 1)] == ["2 1"] * 2


@pytest.mark.parametrize("condition", ["True", "ranks.first"], ids=["both", "first"])
def test_an_error_ends_all_ranks_with_one_line(
    condition: str, tmp_path: Path, repository: Path
) -> None:
    code, said = run(
        tmp_path,
        repository,
        f"""
        ranks.wait()
        if {condition}:
            raise InputError("row 7 is wrong")
        ranks.wait()
        """,
    )
    assert (code, said.strip()) == (1, "error: row 7 is wrong")


def test_a_killed_rank_ends_the_others_with_one_line(tmp_path: Path, repository: Path) -> None:
    code, said = run(
        tmp_path,
        repository,
        """
        ranks.wait()
        if not ranks.first:
            os.kill(os.getpid(), signal.SIGKILL)
        ranks.wait()
        """,
    )
    assert code == 1
    assert said.strip().startswith("error: process 2 of 2 was ended by SIGKILL")
    assert said.strip().count("\n") == 0


BUSY = """
ranks.wait()
(OUT / f"{ranks.rank}.pid").write_text(str(os.getpid()))
while True:
    time.sleep(0.05)
"""


def busy(folder: Path, repository: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """Start two ranks that never end; return when they are at it, with their process numbers."""
    process = start(folder, repository, BUSY)
    paths = [folder / f"{rank}.pid" for rank in (0, 1)]
    deadline = time.monotonic() + 180
    while not all(p.exists() and p.read_text() for p in paths) and time.monotonic() < deadline:
        time.sleep(0.02)
    return process, [int(path.read_text()) for path in paths]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_ctrl_c_ends_all_ranks_with_one_line(tmp_path: Path, repository: Path) -> None:
    process, pids = busy(tmp_path, repository)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=180)
    assert (process.returncode, said.strip()) == (130, "interrupted: run it again")
    assert not any(map(alive, pids))


def test_ranks_do_not_outlive_the_program_that_started_them(
    tmp_path: Path, repository: Path
) -> None:
    process, pids = busy(tmp_path, repository)
    process.kill()
    process.communicate(timeout=180)
    deadline = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, pids))
