"""Processes that torchrun starts: they find each other, agree, and end together."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from mmhash.ranks import ALONE, Ranks, joined, restarted

Run = Callable[[str], tuple[int, list[str]]]


@pytest.fixture
def run(two_ranks, tmp_path: Path) -> Run:
    """Exit code and lines on stderr of a program whose ranks do a piece of source."""
    return lambda body: two_ranks(body, "out").run(tmp_path)


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


def test_ranks_agree_send_and_take_turns(two_ranks, device_of_two: str, tmp_path: Path) -> None:
    program = two_ranks(
        """
        told = ranks.agree(lambda: {"rank": ranks.rank, "name": "ü" * 70})
        assert told == {"rank": 0, "name": "ü" * 70}, told
        tensor = torch.full((3,), float(ranks.rank), device=device)
        assert device == "cpu" or tensor.device.index == ranks.rank
        ranks.send(tensor, 1)
        assert tensor.tolist() == [1.0] * 3
        def draw():
            if ranks.first:
                time.sleep(0.3)
                (Path(out) / "drawn").write_text("x")
            return (Path(out) / "drawn").read_text()
        assert ranks.in_turn(draw) == "x"
        (Path(out) / f"done-{ranks.rank}").write_text(f"{ranks.world} {torch.get_num_threads()}")
        """,
        "out",
        device_of_two,
    )
    code, said = program.run(tmp_path)
    assert code == 0, said
    assert not said or device_of_two == "cuda"  # NCCL may have its say
    assert [(tmp_path / f"done-{rank}").read_text() for rank in (0, 1)] == ["2 1"] * 2


def test_more_ranks_than_gpus_are_refused(two_ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    code, said = two_ranks("raise AssertionError", "out", "cuda").run("nowhere")
    assert code == 1
    assert said == [
        "error: more processes than GPUs (0) on a machine; lower the hardware profile's processes"
    ]


@pytest.mark.parametrize("condition", ["True", "ranks.first"], ids=["both", "first"])
def test_an_error_ends_all_ranks_with_one_line(condition: str, run: Run) -> None:
    code, said = run(
        f"""
        ranks.wait()
        if {condition}:
            raise InputError("row 7 is wrong")
        ranks.wait()
        """,
    )
    assert (code, said) == (1, ["error: row 7 is wrong"])


def test_a_killed_rank_ends_the_others_with_one_line(run: Run) -> None:
    code, said = run(
        """
        ranks.wait()
        if not ranks.first:
            os.kill(os.getpid(), signal.SIGKILL)
        ranks.wait()
        """,
    )
    assert (code, len(said)) == (1, 1)
    assert said[0].startswith("error: process 2 of 2 was ended by SIGKILL")


BUSY = """
ranks.wait()
(Path(out) / f"{ranks.rank}.pid").write_text(str(os.getpid()))
while True:
    time.sleep(0.05)
"""


@pytest.fixture
def busy(two_ranks, tmp_path: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """Two ranks that never end, and are at it, with their process numbers."""
    process = two_ranks(BUSY, "out").start(tmp_path)
    paths = [tmp_path / f"{rank}.pid" for rank in (0, 1)]
    deadline = time.monotonic() + 180
    while not all(p.exists() and p.read_text() for p in paths) and time.monotonic() < deadline:
        time.sleep(0.02)
    return process, [int(path.read_text()) for path in paths]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_ctrl_c_ends_all_ranks_with_one_line(busy) -> None:
    process, pids = busy
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=180)
    assert (process.returncode, said.strip()) == (130, "interrupted: run it again")
    assert not any(map(alive, pids))


def test_ranks_do_not_outlive_the_program_that_started_them(busy) -> None:
    process, pids = busy
    process.kill()
    process.communicate(timeout=180)
    deadline = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, pids))
