import sys
from pathlib import Path

import numpy as np
import pytest

from mmhash.files import read_json, read_table, sha256_file, write_json, write_npy, write_table
from mmhash.index.kinds import build, save

from .conftest import exit_of


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's folder with 20 items of 16 bits, the working directory."""
    import pyarrow as pa

    root = tmp_path / "run"
    codes = np.random.default_rng(0).integers(0, 256, (20, 2), dtype=np.uint8)
    save(build(codes), root / "index" / "index.faiss")
    write_npy(root / "index" / "image_id.npy", np.arange(20))
    write_npy(root / "index" / "caption.npy", np.zeros(20, dtype=np.int32))
    write_npy(root / "index" / "labels.npy", np.eye(20, 3, dtype=np.uint8))
    digest = sha256_file(root / "index" / "index.faiss")
    write_json(root / "index" / "meta.json", {"kind": "flat", "sha256": digest})
    write_json(root / "model" / "config.json", {})
    names = ("cat", "dog", "horse")
    write_json(
        root / "data" / "categories.json", [{"id": i, "name": n} for i, n in enumerate(names)]
    )
    texts = pa.array(["val2014"] * 20)
    captions = pa.array([["a\0b <script>"]] * 20)
    images = {"image_id": np.arange(20), "folder": texts, "file_name": texts, "captions": captions}
    write_table(root / "data" / "images.parquet", pa.table(images))
    monkeypatch.chdir(root)
    return root


def test_help_gives_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("export", "--help") == 0
    assert "example: mmhash export codes --for pgvector" in capsys.readouterr().out


@pytest.mark.parametrize("engine", [(), ("--for", "pgvector"), ("--for", "milvus")])
def test_export_says_what_it_wrote_and_how_to_load_it(run, capsys, engine) -> None:
    assert exit_of("export", "out", *engine) == 0
    printed = capsys.readouterr().out
    assert "out: 20 items with codes of 16 bits" in printed
    assert ("load it: " in printed) == bool(engine)
    assert ("note: U+0000" in printed) == ("pgvector" in engine)
    assert read_table("out/codes.parquet").num_rows == 20
    assert read_json("out/manifest.json")["items"] == 20


def test_wrong_use_is_exit_code_two(run, capsys) -> None:
    assert exit_of("export") == 2
    assert exit_of("export", "out", "--for", "mysql") == 2
    assert exit_of("export", "out", "--load", "postgresql:///x") == 2
    assert "--load needs --for pgvector or --for milvus" in capsys.readouterr().err
    assert not Path("out").exists()


def test_what_is_wrong_is_said_in_one_line(run, capsys, monkeypatch) -> None:
    assert exit_of("export", "data") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert sorted(path.name for path in Path("data").iterdir()) == [
        "categories.json",
        "images.parquet",
    ]
    for engine, package in (("pgvector", "psycopg"), ("milvus", "pymilvus")):
        monkeypatch.setitem(sys.modules, package, None)
        assert exit_of("export", "out", "--for", engine, "--load", "nowhere") == 1
        told = capsys.readouterr().err
        assert f"{package} is not installed; pip install -r requirements-export.txt" in told
        assert told.count("\n") == 1
    Path("index/index.faiss").unlink()
    assert exit_of("export", "out") == 1
    assert "index.faiss: no such file; run build_index" in capsys.readouterr().err


def test_the_optional_packages_are_pinned_for_the_tests_too(repository: Path) -> None:
    def pins(name: str) -> set[str]:
        return set((repository / name).read_text(encoding="utf-8").splitlines())

    optional = {line for line in pins("requirements-export.txt") if "==" in line}
    assert len(optional) == 2
    assert optional <= pins("requirements-test.txt")
    assert not optional & pins("requirements.txt")
