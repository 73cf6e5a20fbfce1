"""One experiment through ``dvc exp run --temp``: the workspace stays as it is."""

import os
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path

from mmhash.errors import InputError
from mmhash.experiments.plan import Experiment, override_argument
from mmhash.experiments.records import TARGET

LAST_LINES = 15
PATIENCE_S = 60  # for DVC to clear away its copy of the checkout after an interruption


def command(experiment: Experiment) -> list[str]:
    """Return the command line of DVC."""
    settings = [
        part
        for key, value in experiment.overrides.items()
        for part in ("-S", override_argument(key, value))
    ]
    return [
        *(sys.executable, "-m", "dvc", "exp", "run", "--temp", "-n", experiment.name),
        *settings,
        TARGET,
    ]


def run_experiment(experiment: Experiment, root: Path, log: Path) -> None:
    """Run ``experiment`` from the current commit; what it says goes to ``log``.

    Raises :class:`InputError` where it fails, after its last lines on stderr. An interruption is
    passed on to DVC, which clears its copy away; the training's resume state stays.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    # Stages call `python`: it must be this one also where the environment is not activated.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603
            command(experiment),
            cwd=root,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches it through us alone, and as a whole
        )
        try:
            code = process.wait()
        except BaseException:
            _stop(process)
            raise
    if code != 0:
        with log.open(encoding="utf-8", errors="replace") as stream_back:
            sys.stderr.writelines(deque(stream_back, LAST_LINES))
        raise InputError(f"experiment {experiment.name} failed; all it said is in {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(PATIENCE_S)
            return
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return
