import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from mmhash.errors import InputError
from mmhash.experiments import run
from mmhash.experiments.plan import Experiment

EXPERIMENT = Experiment("A2-16-bits-s1", {"hash.bits": 16, "fusion.mlp_dims": [32, 16]}, {})


def stand_in(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Run Python ``code`` in DVC's place."""
    monkeypatch.setattr(run, "command", lambda _: [sys.executable, "-c", code])


def test_dvc_is_asked_for_a_temporary_run_up_to_evaluate() -> None:
    arguments = run.command(EXPERIMENT)
    assert arguments[:2] == [sys.executable, "-m"]
    assert " ".join(arguments[2:]) == (
        "dvc exp run --temp -n A2-16-bits-s1 -S hash.bits=16 -S fusion.mlp_dims=[32, 16] evaluate"
    )


def test_what_it_says_goes_to_the_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in(monkeypatch, "import shutil; print('python is', shutil.which('python'))")
    run.run_experiment(EXPERIMENT, tmp_path, tmp_path / "logs" / "one.log")
    said = (tmp_path / "logs" / "one.log").read_text()
    assert said == f"python is {Path(sys.executable).parent / 'python'}\n"


def test_a_failure_shows_the_last_lines_and_the_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, "import sys; [print('line', i) for i in range(50)]; sys.exit(255)")
    with pytest.raises(InputError, match=r"experiment A2-16-bits-s1 failed; .*one\.log"):
        run.run_experiment(EXPERIMENT, tmp_path, tmp_path / "one.log")
    shown = capsys.readouterr().err.splitlines()
    assert shown == [f"line {i}" for i in range(50 - run.LAST_LINES, 50)]


def test_an_interruption_reaches_everything_that_was_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    inner = "import time; print('inner is up', flush=True); time.sleep(60)"
    stand_in(
        monkeypatch,
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {inner!r}], stdout=subprocess.PIPE)\n"
        "try:\n"
        "    print(child.stdout.readline().decode(), flush=True)  # not before it can be caught\n"
        "    child.wait()\n"
        "except KeyboardInterrupt:\n    child.wait(); print('cleared away')",
    )
    log = tmp_path / "one.log"

    def interrupt() -> None:
        while "inner is up" not in (log.read_text() if log.exists() else ""):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run.run_experiment(EXPERIMENT, tmp_path, log)
    assert "KeyboardInterrupt\ncleared away\n" in log.read_text()
