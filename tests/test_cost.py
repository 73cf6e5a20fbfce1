import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE

import pytest
import torch

from mmhash.cost import latency_note, measured, peak_ram_mb, read_costs


def test_seconds_and_memory_go_to_the_cost_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with measured("train") as figures:
        figures["steps"] = 3
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written == [tmp_path / "metrics/cost/train.json"]
    cost = json.loads(written[0].read_text())
    assert cost["steps"] == 3
    assert cost["seconds"] >= 0
    assert 10 < cost["peak_ram_mb"] < 100_000
    assert read_costs() == {"train": cost}


def test_a_stage_that_failed_leaves_no_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZeroDivisionError), measured("train"):
        _ = 1 / 0
    assert read_costs() == {}


def test_peak_memory_rises_with_what_is_held_and_stays() -> None:
    before = peak_ram_mb()
    held = bytearray(b"1") * int(before * 1e6)
    risen = peak_ram_mb()
    assert risen > 1.3 * before
    del held
    assert peak_ram_mb() >= risen


def test_workers_at_the_same_time_are_added_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mmhash.cost.peak_ram_mb", lambda: 0.0)
    code = "held = bytearray(60_000_000); print('held', flush=True); import sys; sys.stdin.read()"
    with ExitStack() as stack, measured("extract_features"):
        for _ in range(3):
            command = [sys.executable, "-c", code]
            worker = stack.enter_context(subprocess.Popen(command, stdin=PIPE, stdout=PIPE))
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"held\n"
    assert read_costs()["extract_features"]["peak_ram_mb"] > 3 * 60


def test_a_process_without_workers_has_nothing_to_add_up() -> None:
    code = "from mmhash.cost import ram_with_workers_mb; print(ram_with_workers_mb())"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True
    )
    assert float(done.stdout) == 0


@pytest.mark.parametrize(("alert", "warned"), [(14.5, True), (16.0, False), (None, False)])
def test_gpu_memory_over_the_alert_warns(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    alert: float | None,
    warned: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 15_000_000_000)
    with measured("train", alert):
        pass
    assert read_costs()["train"]["peak_vram_mb"] == 15_000
    shown = capsys.readouterr().err
    assert ("train used 15.0 GB of GPU memory, over the alert of 14.5 GB" in shown) is warned
    assert bool(shown) is warned


def test_a_query_that_takes_over_ten_milliseconds_is_advised() -> None:
    slow = {"knn_query_ms_mean": 12.34, "knn_queries_per_second_batched": 456.7}
    assert latency_note(slow | {"knn_query_ms_mean": 10.0}) is None
    assert latency_note({"seconds": 3.0}) is None  # nothing was timed
    line = latency_note(slow)
    assert line is not None
    assert "12.3 ms" in line
    assert "457 a second" in line
    assert "index.kind=ivf" in line
