"""Fixtures that several test folders share."""

import os
from pathlib import Path

import pytest

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
