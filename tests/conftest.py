"""Fixtures that several test folders share."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
from ruamel.yaml import YAML

# Test processes run side by side, one a core: more threads each would only get in their way.
# Read when torch is loaded, so it stands before the first import of it, here and in subprocesses.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

# No test is timed: a busy machine is no fault. (Several test processes share the cores.)
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# A shell starts what it puts in the background with Ctrl-C ignored, and children inherit that;
# tests send Ctrl-C to processes of theirs, wherever the suite itself was started.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parents[1]

TWO_RANKS = """
import os, signal, sys, time
from pathlib import Path
import torch
from mmhash.errors import InputError, exit_code
from mmhash.ranks import joined, restarted

def main():
    if restarted(2):
        return
    with joined(torch.device("cpu")) as ranks:
        work(ranks, *sys.argv[1:])

def work(ranks, {names}):
{body}

sys.exit(exit_code(main, "run it again"))
"""


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real data, beside the checkout or named by MMHASH_REAL."""
    folder = Path(os.environ.get("MMHASH_REAL", REPOSITORY.parent / "shared" / "real"))
    if not folder.is_dir():
        pytest.skip("real data absent")
    return folder


class TwoRanks:
    """A program in two processes whose ranks do ``body``, Python that knows ``ranks``.

    The arguments of a start reach it as strings under ``names``.
    """

    def __init__(self, path: Path, body: str, names: str) -> None:
        self.path = path
        body = textwrap.indent(textwrap.dedent(body), "    ")
        path.write_text(TWO_RANKS.format(names=names, body=body))

    def start(self, *arguments: Path | str) -> subprocess.Popen[str]:
        """Start it; its stderr is a pipe."""
        path = f"{REPOSITORY / 'src'}{os.pathsep}{REPOSITORY}"
        return subprocess.Popen(
            [sys.executable, self.path, *arguments],
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: Path | str) -> tuple[int, list[str]]:
        """Return the exit code and the lines on stderr that are no progress bar."""
        process = self.start(*arguments)
        _, said = process.communicate(timeout=300)
        lines = said.replace("\r", "\n").splitlines()
        return process.returncode, [line for line in lines if line and "%|" not in line]


@pytest.fixture
def two_ranks(tmp_path: Path) -> Callable[[str, str], TwoRanks]:
    """Make a program of the source of its work and the names of its arguments."""
    return lambda body, names: TwoRanks(tmp_path / "program.py", body, names)


MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"

# All stages in one process: most of a stage's time here is the loading of libraries.
STAGES = """
import runpy, sys
sys.path.insert(0, f"{sys.argv[1]}/stages")
for stage in sys.argv[2:]:
    try:
        runpy.run_path(f"{sys.argv[1]}/stages/{stage}.py", run_name="__main__")
    except SystemExit as end:
        if end.code:
            sys.exit(f"{stage} failed")
"""


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a finished run on 90 drawn pictures; tests must leave its files alone.

    Its category person and the caption of each training picture end in :data:`MARKUP`.
    """
    from mmhash.data.sample.draw import draw_sample

    root = tmp_path_factory.mktemp("small") / "checkout"
    raw = root / "raw"
    draw_sample(raw, counts={"train": 50, "restval": 10, "val": 15, "test": 15}, workers=1)
    for file in (raw / "annotations").glob("*_train2014.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        for entry in content["annotations"]:
            if "caption" in entry:
                entry["caption"] += MARKUP
        file.write_text(json.dumps(content), encoding="utf-8")
    for file in (raw / "annotations").glob("instances_*.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        content["categories"][0]["name"] += MARKUP
        file.write_text(json.dumps(content), encoding="utf-8")

    yaml = YAML()
    values = yaml.load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    values["run"]["dataset"] = "coco2014"
    values["datasets"]["coco2014"].update(root="raw", strict_counts=False)
    values["datasets"]["coco2014"]["encoder"]["checkpoint"] = "encoders/tiny-siglip"
    values["hardware"]["auto"].update(device="cpu", num_workers=0)
    values["train"]["num_epochs"] = 3
    values["knn"]["k"] = 25
    values["evaluate"]["bootstrap_samples"] = 100
    with (root / "params.yaml").open("w", encoding="utf-8") as stream:
        yaml.dump(values, stream)
    (root / "data").mkdir()
    for name in ("encoders", "data/descriptors"):
        (root / name).symlink_to(REPOSITORY / name)

    every = yaml.load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    stages = [stage for stage in every if stage not in ("check_params", "plot")]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "GIT_"))}
    done = subprocess.run(
        [sys.executable, "-c", STAGES, str(REPOSITORY), *stages],
        cwd=root,
        env=clean,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return root
