import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from mmhash.encoders import shards
from mmhash.encoders.shards import assemble, read_bad, shard_path, shard_ranges, write_shard


def make_shard(cache: Path, rows: tuple[int, int], width: int, seed: int) -> Path:
    stream = np.random.default_rng(seed)
    counts = stream.integers(1, 4, rows[1] - rows[0])
    arrays = {
        "image_id": np.arange(*rows, dtype=np.int64) * 3,
        "image": stream.normal(size=(len(counts), width)).astype(np.float16),
        "caption_count": counts.astype(np.int64),
        "text": stream.normal(size=(counts.sum(), width + 1)).astype(np.float16),
    }
    path = shard_path(cache, rows)
    write_shard(path, arrays, [])
    return path


def test_ranges_cover_every_row_once() -> None:
    assert shard_ranges(7, 3) == [(0, 3), (3, 6), (6, 7)]
    assert shard_ranges(6, 3) == [(0, 3), (3, 6)]
    assert shard_ranges(0, 3) == []


def test_assembled_arrays_equal_plain_concatenation(tmp_path: Path) -> None:
    paths = [make_shard(tmp_path, rows, 5, rows[0]) for rows in shard_ranges(7, 3)]
    pieces = [load_file(path) for path in paths]
    images, captions = assemble(paths, tmp_path / "out")
    for name in ("image", "text", "image_id"):
        whole = np.concatenate([piece[name] for piece in pieces])
        saved = io.BytesIO()
        np.save(saved, whole)
        assert (tmp_path / "out" / f"{name}.npy").read_bytes() == saved.getvalue()
    counts = np.concatenate([piece["caption_count"] for piece in pieces])
    offsets = np.load(tmp_path / "out" / "caption_offset.npy")
    assert offsets.tolist() == [0, *np.cumsum(counts)]
    assert (images, captions) == (7, counts.sum())


def test_memory_of_the_assembly_does_not_grow_with_the_shards(tmp_path: Path) -> None:
    width, rows = 400, 200
    paths = [make_shard(tmp_path, (i * rows, (i + 1) * rows), width, i) for i in range(20)]
    tracemalloc.start()
    assemble(paths, tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    largest = max(path.stat().st_size for path in paths)
    total = sum(path.stat().st_size for path in paths)
    assert peak < 3 * largest < total / 4


def test_bad_pictures_travel_with_the_shard(tmp_path: Path) -> None:
    bad = [{"image_id": 4, "file": "a/ü.jpg", "reason": "no such file"}]
    write_shard(tmp_path / "s.safetensors", {"image_id": np.arange(2)}, bad)
    assert read_bad(tmp_path / "s.safetensors") == bad


def test_absent_and_damaged_shards_do_not_count(tmp_path: Path) -> None:
    path = make_shard(tmp_path, (0, 3), 5, 0)
    assert read_bad(path) == []
    assert read_bad(tmp_path / "absent.safetensors") is None
    path.write_bytes(path.read_bytes()[:-7])
    assert read_bad(path) is None


def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_disk(arrays: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(shards, "save_file", fill_disk)
    with pytest.raises(OSError, match="no space"):
        write_shard(tmp_path / "s.safetensors", {"x": np.arange(3)}, [])
    assert list(tmp_path.iterdir()) == []
