from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmhash.ablations.study import Row, Study
from mmhash.codes import binarise, pack
from mmhash.comparison.report import Origin
from mmhash.comparison.search_cost import FIGURES, cost_markdown, cost_table
from mmhash.files import write_json, write_npy
from mmhash.index.kinds import build, save

BITS = (16, 64)


class Run:
    """A run whose index and predictions lie in a folder."""

    def __init__(self, folder: Path, bits: int) -> None:
        rng = np.random.default_rng(bits)
        self.folder, self.name = folder, f"{bits}"
        soft = np.tanh(rng.normal(size=(300, bits)))
        write_npy(folder / "index/soft.npy", soft.astype(np.float16))
        save(build(pack(binarise(soft))), folder / "index/index.faiss")
        write_json(folder / "index/meta.json", {"kind": "flat"})
        queries = np.tanh(rng.normal(size=(40, bits)))
        write_npy(folder / "predictions/test/soft.npy", queries.astype(np.float16))

    def files(self, stage: str, out: str) -> dict[str, Path]:
        root = self.folder / out
        return {p.relative_to(root).as_posix(): p for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def table(tmp_path: Path) -> list[dict[str, Any]]:
    runs: Any = {f"{bits} bits": [Run(tmp_path / str(bits), bits)] for bits in BITS}
    return cost_table(runs, k=5)


def test_both_distances_are_timed_on_the_items_of_the_run(table: list[dict[str, Any]]) -> None:
    found = [(e["row"], e["distance"], e["bits"], e["bytes_per_item"]) for e in table]
    assert found == [
        ("16 bits", "hamming", 16, 2),
        ("16 bits", "cosine", 16, 64),
        ("64 bits", "hamming", 64, 8),
        ("64 bits", "cosine", 64, 256),
    ]
    for entry in table:
        assert (entry["items"], entry["queries"]) == (300, 40)
        assert all(entry[key] > 0 for key in FIGURES)


def test_the_speed_up_is_over_cosine_on_as_many_bits(table: list[dict[str, Any]]) -> None:
    hamming, cosine = table[:2]
    assert cosine["speed_up_single"] == cosine["speed_up_batched"] == 1
    assert hamming["speed_up_single"] == cosine["query_ms_p50"] / hamming["query_ms_p50"]


def test_the_page_says_that_these_are_readings(table: list[dict[str, Any]]) -> None:
    study = Study("E1", "Search cost", "64 bits", (Row("64 bits"),), kind="cost")
    page = cost_markdown(study, table, Origin("sample", 1, "a" * 40, False, {}), 5)
    assert "Readings of the machine that wrote this page" in page
    assert "| 64 bits | cosine | 256 |" in page
    assert "300 items, 40 queries, K = 5" in page
