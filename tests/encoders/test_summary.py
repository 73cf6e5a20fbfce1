import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mmhash.encoders import summary
from mmhash.encoders.summary import feature_summary, norms
from mmhash.files import write_json, write_npy


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    write_npy(tmp_path / "image.npy", rng.normal(size=(7, 4)).astype(np.float16))
    text = rng.normal(size=(15, 3)).astype(np.float32)
    write_npy(tmp_path / "text.npy", text / np.linalg.norm(text, axis=1, keepdims=True))
    write_json(tmp_path / "meta.json", {"skipped": [{"image_id": 3}]})
    return tmp_path


def test_counts_widths_and_norms_are_those_of_the_arrays(folder: Path) -> None:
    figures = feature_summary(folder)
    assert figures["skipped"] == 1
    assert (figures["image"]["rows"], figures["image"]["width"]) == (7, 4)
    length = np.linalg.norm(np.load(folder / "image.npy").astype(float), axis=1)
    assert figures["image"]["norm_mean"] == pytest.approx(length.mean(), abs=1e-6)


def test_normalised_vectors_show_as_norms_without_spread(folder: Path) -> None:
    figures = feature_summary(folder)
    assert figures["text"]["norm_std"] < 1e-5
    assert figures["image"]["norm_std"] > 1e-2


def test_blocks_do_not_change_the_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(1).normal(size=(10, 5))
    whole = norms(vectors)
    monkeypatch.setattr(summary, "BLOCK", 3)
    np.testing.assert_array_equal(norms(vectors), whole)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc: Linux only")
def test_norms_of_a_long_array_take_little_memory(tmp_path: Path) -> None:
    write_npy(tmp_path / "text.npy", np.ones((40_000, 256), dtype=np.float16))  # 20 MB
    vectors = np.load(tmp_path / "text.npy", mmap_mode="r")
    before = mapped_bytes()
    tracemalloc.start()
    norms(vectors)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6
    assert mapped_bytes() - before < 5e6


def mapped_bytes() -> int:
    """Memory of this process that holds pages of files."""
    pages = int(Path("/proc/self/statm").read_text().split()[2])
    return pages * os.sysconf("SC_PAGE_SIZE")
