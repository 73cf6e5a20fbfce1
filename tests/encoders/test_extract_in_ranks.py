"""Extraction in two processes: the shards of both become the files that one process writes."""

from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmhash.encoders.checkpoint import Towers
from mmhash.encoders.extract import extract

WORK = """
import pyarrow.parquet as pq
from mmhash.encoders import extract as module
from mmhash.encoders.checkpoint import Towers, load_checkpoint

folder, write = Path(folder), module.write_shard

def locate(below, name):
    return Path(root) / below / name

def killed(path, arrays, bad):
    write(path, arrays, bad)
    os.kill(os.getpid(), signal.SIGKILL)

def no_room(self, rows):
    raise torch.OutOfMemoryError("CUDA out of memory")

if mishap == "killed" and ranks.rank == 1:
    module.write_shard = killed
if mishap == "no_room" and ranks.rank == 1:
    Towers.encode_images = no_room
table = pq.read_table(folder / "table.parquet")
towers = load_checkpoint(checkpoint, None, torch.device("cpu"))
out, cache = folder / "out", folder / "cache"
meta = module.extract(table, locate, towers, out, cache, shard=3, batch=4, ranks=ranks)
assert bool(meta) == ranks.first
"""


class Program:
    """An extraction of the ten pictures in two processes, into ``folder``/out."""

    def __init__(self, ranks: Any, folder: Path, checkpoint: Path, root: Path) -> None:
        self.ranks, self.folder, self.checkpoint, self.root = ranks, folder, checkpoint, root

    def run(self, mishap: str = "none") -> tuple[int, list[str]]:
        """Return the exit code and the lines on stderr that are no progress bar."""
        return self.ranks.run(mishap, self.folder, self.checkpoint, self.root)

    def shards(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "cache").glob("0*.safetensors"))


@pytest.fixture
def program(
    dataset: tuple[pa.Table, partial], fixed_folder: Path, tmp_path: Path, two_ranks
) -> Program:
    pq.write_table(dataset[0], tmp_path / "table.parquet")
    ranks = two_ranks(WORK, "mishap, folder, checkpoint, root")
    return Program(ranks, tmp_path, fixed_folder, dataset[1].args[0])


def test_a_killed_rank_costs_its_shards_and_changes_no_byte(
    program: Program, dataset: tuple[pa.Table, partial], fixed_towers: Towers, tmp_path: Path
) -> None:
    code, said = program.run("killed")
    assert code == 1
    assert len(said) == 1
    assert said[0].startswith("error: process 2 of 2 was ended by SIGKILL")
    kept = program.shards()
    assert "00000003-00000006.safetensors" in kept  # its first, finished before the blow
    assert "00000009-00000010.safetensors" not in kept  # its second
    assert not (tmp_path / "out").exists()
    assert program.run() == (0, [f"extraction: {len(kept)} of 4 shards done"])
    extract(*dataset, fixed_towers, tmp_path / "alone", tmp_path / "alone-cache", shard=3, batch=4)
    both, alone = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("out", "alone")
    )
    assert both == alone
    assert not (tmp_path / "cache").exists()


def test_an_error_in_one_rank_is_one_line_and_leaves_whole_shards(
    program: Program, tmp_path: Path
) -> None:
    code, said = program.run("no_room")
    assert code == 1
    errors = [line for line in said if line.startswith("error: ")]
    assert len(errors) == 1
    assert "single row" in errors[0]
    assert all("goes on with a batch" in line for line in said if line not in errors)
    assert {name[:8] for name in program.shards()} <= {"00000000", "00000006"}
    assert not (tmp_path / "out").exists()


def test_unreadable_pictures_of_all_ranks_are_in_one_line(program: Program, tmp_path: Path) -> None:
    root = tmp_path / "spoilt"
    for path in sorted((program.root / "train2014").iterdir()):
        (root / "train2014").mkdir(parents=True, exist_ok=True)
        whole = path.read_bytes()
        spoilt = path.name in ("1.jpg", "3.jpg")  # in the first shard of each rank
        (root / "train2014" / path.name).write_bytes(whole[: len(whole) // 2] if spoilt else whole)
    program.root = root
    code, said = program.run()
    assert code == 1
    assert len(said) == 1
    assert said[0].startswith("error: 2 of 10 pictures cannot be read: train2014/1.jpg (")
    assert "train2014/3.jpg (" in said[0]
    assert len(program.shards()) == 4
