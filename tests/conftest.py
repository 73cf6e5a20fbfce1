"""Fixtures that several test folders share."""

import contextlib
import os
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from ruamel.yaml import YAML

# Test processes run side by side, one a core: more threads each would only get in their way.
# Read when torch is loaded, so it stands before the first import of it, here and in subprocesses.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

# cuBLAS reads it at its first use in a process, which is often before that of a training.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

# No test is timed: a busy machine is no fault. (Several test processes share the cores.)
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# A shell starts what it puts in the background with Ctrl-C ignored, and children inherit that;
# tests send Ctrl-C to processes of theirs, wherever the suite itself was started.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parents[1]

BROWSER = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome", "chrome")
        if (path := shutil.which(name))
    ),
    None,
)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="Chromium absent")

TWO_RANKS = """
import os, signal, sys, time
from pathlib import Path
import torch
from mmhash.errors import InputError, exit_code
from mmhash.ranks import joined, restarted

def main():
    if restarted(2):
        return
    with joined(torch.device(device)) as ranks:
        work(ranks, *sys.argv[1:])

device = "{device}"

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


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    """Each device in turn: what a test asks of CUDA, the CPU has shown anywhere."""
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return str(request.param)


class TwoRanks:
    """A program in two processes whose ranks do ``body``, Python that knows ``ranks``.

    It knows ``device`` too, that of the ranks: "cpu", or "cuda" for a GPU each. The arguments of a
    start reach it as strings under ``names``.
    """

    def __init__(self, path: Path, body: str, names: str, device: str) -> None:
        self.path = path
        body = textwrap.indent(textwrap.dedent(body), "    ")
        path.write_text(TWO_RANKS.format(names=names, body=body, device=device))

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
def two_ranks(tmp_path: Path) -> Callable[..., TwoRanks]:
    """Make a program of the source of its work, the names of its arguments, and its device."""
    return lambda body, names, device="cpu": TwoRanks(tmp_path / "program.py", body, names, device)


@pytest.fixture(params=["cpu", "cuda"])
def device_of_two(request: pytest.FixtureRequest) -> str:
    """Each device that two ranks can have in turn: the CPU that they share, or a GPU each."""
    import torch

    if request.param == "cuda" and torch.cuda.device_count() < 2:
        pytest.skip("fewer than two CUDA devices")
    return str(request.param)


NAMES = ["cat", "dog", "fire hydrant"]  # categories of make_run


def soft_codes(seed: int, n: int, bits: int = 16) -> Any:
    """Return soft codes (n, bits) float32."""
    import numpy as np

    return np.random.default_rng(seed).uniform(-1, 1, (n, bits)).astype(np.float32)


def _make_run(root: Path, kind: str = "flat", captions: str = "first", seed: int = 0) -> Path:
    """What a run leaves as far as the database goes: data/, model/ and index/ of 30 images.

    Codes have 16 bits. With ``captions`` all every image has two items. Ids are 100 to 129; the
    data set has an image 500 besides.
    """
    import numpy as np
    import pyarrow as pa

    from mmhash.changes import Contents, write_contents
    from mmhash.codes import binarise, pack
    from mmhash.files import write_json, write_table

    each = 2 if captions == "all" else 1
    rng = np.random.default_rng(seed)
    soft = rng.uniform(-1, 1, (30 * each, 16)).astype(np.float32)
    ids = np.arange(100, 130, dtype=np.int64)
    contents = Contents(
        items=pack(binarise(soft)),
        soft=soft.astype(np.float16),
        labels=np.repeat(rng.integers(0, 2, (30, len(NAMES)), dtype=np.uint8), each, axis=0),
        image_id=np.repeat(ids, each),
        caption=np.tile(np.arange(each, dtype=np.int32), 30) - (captions == "mean"),
        meta={"kind": kind, "metric": "hamming", "bits": 16, "captions": captions},
    )
    (root / "index").mkdir(parents=True)
    write_contents(root / "index", contents)
    categories = [{"id": 3 * place, "name": name} for place, name in enumerate(NAMES)]
    write_json(root / "data" / "categories.json", categories)
    files = {"folder": [""] * 31, "file_name": [""] * 31}
    images = pa.table({"image_id": [*ids.tolist(), 500], **files})
    write_table(root / "data" / "images.parquet", images)
    write_json(root / "model" / "config.json", {"best_val_mAP": seed})
    return root


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    """Make what a run leaves as far as the database goes: (root, kind, captions, seed)."""
    return _make_run


DRAWN = {
    "run": {"dataset": "coco2014"},
    "datasets": {
        "coco2014": {
            "root": "pictures",
            "strict_counts": False,
            "encoder": {"checkpoint": "encoders/tiny-siglip"},
        }
    },
    # On a GPU the number of rows at once may move the last bit of a vector: what is compared to
    # that bit is made on the CPU everywhere. Tests for CUDA say so.
    "hardware": {"auto": {"device": "cpu", "num_workers": 0}},
}
SMALL_RUN = {
    "fusion": {"mlp_dims": [64, 32]},
    "hash": {"bits": 16},
    "train": {"num_epochs": 3, "lr": 0.002},
    "evaluate": {"bootstrap_samples": 100},
    "knn": {"k": 5},
}
PREPARED = (
    *("fetch_data", "index_coco", "download_karpathy_split"),
    *("extract_features", "encode_classes"),
)
TRAINED = ("train", "build_index", "evaluate")


def _merge(values: Any, changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict):
            _merge(values[key], value)
        else:
            values[key] = value


def change_params(folder: Path, changes: dict[str, Any]) -> None:
    """Write nested ``changes`` to the params.yaml of ``folder``; comments and order stay."""
    yaml = YAML()
    values = yaml.load((folder / "params.yaml").read_text(encoding="utf-8"))
    _merge(values, changes)
    with (folder / "params.yaml").open("w", encoding="utf-8") as stream:
        yaml.dump(values, stream)


def _run_stages(folder: Path, changes: dict[str, Any], stages: Sequence[str]) -> None:
    """Change params.yaml in ``folder`` and run stages there, in this process: imports are done."""
    change_params(folder, changes)
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "stages")
        for stage in stages:
            with pytest.raises(SystemExit) as ended:
                runpy.run_path(str(REPOSITORY / "stages" / f"{stage}.py"), run_name="__main__")
            assert not ended.value.code, stage


@pytest.fixture(scope="session")
def run_stages() -> Callable[[Path, dict[str, Any], Sequence[str]], None]:
    """Change params.yaml in a folder and run stages there."""
    return _run_stages


def make_drawn(folder: Path, counts: dict[str, int]) -> None:
    """Make what a run on so many drawn pictures in COCO's format needs, without any stage."""
    from mmhash.data.sample.draw import draw_sample

    folder.mkdir(exist_ok=True)
    shutil.copy2(REPOSITORY / "params.yaml", folder)
    (folder / "encoders").symlink_to(REPOSITORY / "encoders")
    shutil.copytree(REPOSITORY / "data" / "descriptors", folder / "data" / "descriptors")
    draw_sample(folder / "pictures", counts=counts, workers=1)
    change_params(folder, DRAWN)


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on 150 drawn pictures in COCO's format; tests must leave it alone."""
    folder = tmp_path_factory.mktemp("run") / "checkout"
    make_drawn(folder, {"train": 60, "restval": 20, "val": 30, "test": 40})
    _run_stages(folder, SMALL_RUN, (*PREPARED, *TRAINED))
    return folder


@pytest.fixture
def retrained(trained_run: Path, tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Train the small run again in a copy of it, with changes of params.yaml; or change a copy.

    Without changes it is a plain copy.
    """

    def make(changes: dict[str, Any], stages: Sequence[str] = TRAINED) -> Path:
        folder = tmp_path / "retrained"
        shutil.copytree(trained_run, folder, symlinks=True)
        _run_stages(folder, changes, stages if changes else ())
        return folder

    return make


@pytest.fixture
def no_room() -> Iterator[None]:
    """Files grow to 100 kB and no further, as on a disk that is full then."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
