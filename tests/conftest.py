"""Fixtures that several test folders share."""

import os
import signal
from pathlib import Path

import pytest

# Test processes run side by side, one a core: more threads each would only get in their way.
# Read when torch is loaded, so it stands before the first import of it, here and in subprocesses.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

# A shell starts what it puts in the background with Ctrl-C ignored, and children inherit that;
# tests send Ctrl-C to processes of theirs, wherever the suite itself was started.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parents[1]


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
