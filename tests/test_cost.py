import json
from pathlib import Path

import pytest

from mmhash.cost import measured, peak_ram_mb, read_costs


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


def test_peak_memory_never_falls() -> None:
    before = peak_ram_mb()
    held = bytearray(80_000_000)
    after = peak_ram_mb()
    assert after >= before
    assert len(held) == 80_000_000
