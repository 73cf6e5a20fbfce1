"""Kinds of index at a million codes and more: recall, time, memory, against the flat one.

    python benchmarks/index.py                      # 1 M and 10 M codes of 64 bits
    python benchmarks/index.py --items 1000000 --kinds flat ivf multihash

Two kinds of codes, queries never in the base: ``labels``, the signs of a random projection of label
sets with noise (sets drawn with a long tail, as COCO's are), and ``uniform``, every bit a fair
coin, the case in which no structure helps. Recall is tie-aware at K = 20: a hit is any item at a
distance up to the true K-th. Times are CPU time of one thread, which other work on the machine
disturbs little. Each kind is timed in turns with the flat index of the same codes, in a batch and
one query at a time; the medians give the speed-up.

One query at a time is also timed by the clock among the largest base's codes, in turns on one core
and on all, among which ``flat`` shares out the rows then.

Bytes an item are those of the file and of the index in memory (the file's, and the tables that
``multihash`` makes from it). A build that would take longer than ``--most-build-minutes``, judged
by the smaller base and how the work grows, is left out and its time stated. 100 million is on
paper: bytes are counted, build and flat times grow as they must.

Finished rows stand in ``benchmarks/results/``, with the speed-up as ``ratio``, and are kept, so
that a run can be interrupted, as long as the code that they measured (``mmhash.codes`` and
``mmhash.index``) stays as it is; ``--again`` measures anew. The table also goes between the marks
in README.md.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import faiss
import numpy as np
from machine import machine_name

from mmhash.codes import pack
from mmhash.files import digest, read_json, write_json, write_text
from mmhash.index.kinds import SearchIndex, build, save
from mmhash.index.neighbours import kth_distance
from mmhash.index.reference import tie_aware_recall
from mmhash.index.search import search_complete
from mmhash.seeding import numpy_stream

BITS, K, QUERIES, CLASSES = 64, 20, 500, 80
TIMED = 100  # queries of a timed batch; a quarter of them one by one
REPEATS = 5
KINDS = ("flat", "ivf", "multihash", "hnsw")
# Work of building by the number n of items: n comparisons with √n centroids; n sorted; n walks
GROWTH = {"flat": 1.0, "ivf": 1.5, "multihash": 1.05, "hnsw": 1.1}
PAPER = 10**8
MACHINE = machine_name()
ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / f"index-{MACHINE}.json"
MARKS = ("<!-- index-kinds:begin -->", "<!-- index-kinds:end -->")


def codes(what: str, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Return packed codes of the items and of the queries."""
    draw = numpy_stream(1, "benchmark", "index", what, items)
    projection = draw.standard_normal((CLASSES, BITS)).astype(np.float32)
    frequency = 2.9 * (weights := 1 / np.arange(1, CLASSES + 1)) / weights.sum()
    parts = []
    for start in range(0, items + QUERIES, 1 << 18):
        count = min(1 << 18, items + QUERIES - start)
        if what == "uniform":
            parts.append(draw.integers(0, 256, (count, BITS // 8), dtype=np.uint8))
            continue
        labels = draw.random((count, CLASSES), np.float32) < frequency
        soft = labels.astype(np.float32) @ projection
        soft += 0.7 * draw.standard_normal(soft.shape, np.float32)
        parts.append(pack((soft >= 0).astype(np.uint8)))
    everything = np.concatenate(parts)
    return everything[:items], everything[items:]


def searching_code() -> str:
    """Return a digest of the modules that are measured: a row from others is measured again."""
    library = ROOT / "src" / "mmhash"
    files = [library / "codes.py", *sorted((library / "index").glob("*.py"))]
    return digest(*(file.read_bytes() for file in files))[:12]


def in_batch(index: SearchIndex, queries: np.ndarray) -> None:
    """Search all queries in one call."""
    search_complete(index, queries, K)


def one_by_one(index: SearchIndex, queries: np.ndarray) -> None:
    """Search one query at a time."""
    for query in queries:
        search_complete(index, query[None], K)


def measure(
    kind: str, base: np.ndarray, queries: np.ndarray, truth: np.ndarray, flat: SearchIndex
) -> dict[str, Any]:
    """Build one index and search it; ``truth`` is the distance of each query's K-th neighbour."""
    start = time.process_time()
    index = build(base, kind)
    built = time.process_time() - start
    found = search_complete(index, queries, K)
    first = found.lims[:-1, None] + np.arange(K)
    row: dict[str, Any] = {"recall": round(tie_aware_recall(found.distances[first], truth), 4)}
    for name, search, count in (("batch", in_batch, TIMED), ("single", one_by_one, TIMED // 4)):
        taken: dict[str, list[float]] = {f"{name}_ms": [], f"flat_{name}_ms": []}
        for _ in range(REPEATS):
            for engine, readings in zip((index, flat), taken.values(), strict=True):
                start = time.process_time()
                search(engine, queries[:count])
                readings.append((time.process_time() - start) / count * 1e3)
        row |= {key: round(statistics.median(readings), 3) for key, readings in taken.items()}
    with tempfile.TemporaryDirectory(prefix="mmhash-index-") as folder:
        save(index, Path(folder) / "index.faiss")
        size = (Path(folder) / "index.faiss").stat().st_size
    tables = index.tables.bytes if index.tables else 0
    return row | {
        "build_s": round(built, 1),
        "file_bytes_an_item": round(size / len(base), 1),
        "memory_bytes_an_item": round((size + tables) / len(base), 1),
    }


def on_all_cores(flat: SearchIndex, queries: np.ndarray, cores: int) -> dict[str, Any]:
    """Time single queries of a flat index by the clock, on one core and on ``cores``."""
    taken: dict[int, list[float]] = {1: [], cores: []}
    for query in queries[:TIMED]:
        for threads, readings in taken.items():
            faiss.omp_set_num_threads(threads)
            start = time.perf_counter()
            search_complete(flat, query[None], K)
            readings.append(1e3 * (time.perf_counter() - start))
    faiss.omp_set_num_threads(1)
    one, all_of_them = (statistics.median(readings) for readings in taken.values())
    return {
        "items": flat.size,
        "cores": cores,
        "one_core_ms": round(one, 2),
        "all_cores_ms": round(all_of_them, 2),
        "ratio": round(one / all_of_them, 2),
    }


def times_flat(row: dict[str, Any]) -> dict[str, float]:
    """Return how many times faster than the flat index a row answers: batch, single."""
    return {name: row[f"flat_{name}_ms"] / row[f"{name}_ms"] for name in ("batch", "single")}


def expected_build(rows: dict[str, dict[str, Any]], what: str, items: int, kind: str) -> float:
    """Return the seconds that building will take, from the largest smaller base; 0 if none."""
    known = [int(key.split(" | ")[1]) for key in rows if key.startswith(f"{what} | ")]
    for smaller in sorted(set(known), reverse=True):
        row = rows.get(f"{what} | {smaller} | {kind}", {})
        if smaller < items and "build_s" in row:
            return float(row["build_s"] * (items / smaller) ** GROWTH[kind])
    return 0.0


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return Markdown; the speed-up is over the flat index of the same codes, in turns."""
    lines = [
        "| codes | items | `index.kind` | recall@20 | ms a query: batch, single "
        "| times flat: batch, single | build | bytes an item: file, memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for key in sorted(rows, key=order):
        row, (what, items, kind) = rows[key], key.split(" | ")
        head = f"| {what} | {int(items):,} | {kind} |"
        if "not_built_s" in row:
            lines.append(f"{head} | | | not built, {duration(row['not_built_s'])} expected | |")
            continue
        lines.append(
            f"{head} {row['recall']:.3f} | {row['batch_ms']:.2f}, {row['single_ms']:.2f} "
            f"| {', '.join(f'{value:.1f}' for value in times_flat(row).values())} "
            f"| {duration(row['build_s'])} "
            f"| {row['file_bytes_an_item']:.0f}, {row['memory_bytes_an_item']:.0f} |"
        )
    return "\n".join(lines + paper(rows))


def paper(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Return the lines for 100 million items that follow from the largest base measured."""
    lines = []
    for kind in KINDS:
        found = [k for k in rows if k.endswith(f"| {kind}") and "build_s" in rows[k]]
        if not found:
            continue
        largest = max(found, key=lambda key: int(key.split(" | ")[1]))
        row, items = rows[largest], int(largest.split(" | ")[1])
        build_s = row["build_s"] * (PAPER / items) ** GROWTH[kind]
        times = f"{row['batch_ms'] * PAPER / items:.0f}" if kind == "flat" else ""
        lines.append(
            f"| on paper | {PAPER:,} | {kind} | | {times} | | {duration(build_s)} "
            f"| {row['file_bytes_an_item'] * PAPER / 1e9:.1f} GB, "
            f"{row['memory_bytes_an_item'] * PAPER / 1e9:.1f} GB |"
        )
    return lines


def single_query(by_clock: dict[str, Any]) -> str:
    """Return the line on a query that comes alone; nothing where it was not measured."""
    if not by_clock:
        return ""
    return (
        f"\n\nOne query of `flat` alone among {by_clock['items']:,} codes, by the clock: "
        f"{by_clock['one_core_ms']:.1f} ms on one core, {by_clock['all_cores_ms']:.1f} ms with the "
        f"rows shared out among {by_clock['cores']} ({by_clock['ratio']:.1f} ×)."
    )


def order(key: str) -> tuple[int, str, int]:
    """Return what rows are sorted by: items, codes, kind."""
    what, items, kind = key.split(" | ")
    return int(items), what, KINDS.index(kind)


def duration(seconds: float) -> str:
    """Return seconds, minutes or hours in words."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def main() -> None:
    """Measure what is missing, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--items", type=int, nargs="*", default=[10**6, 10**7])
    parser.add_argument("--codes", nargs="*", default=["labels", "uniform"])
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS)
    parser.add_argument("--most-build-minutes", type=float, default=15)
    parser.add_argument("--again", action="store_true", help="measure anew what is there")
    parser.add_argument(
        "--out", type=Path, default=RESULT, help="other file: README stays as it is"
    )
    chosen = parser.parse_args()
    cores = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    known = read_json(chosen.out) if chosen.out.exists() and not chosen.again else {}
    rows, by_clock = known.get("rows", {}), known.get("by_clock", {})
    code = searching_code()
    about = {"machine": MACHINE, "bits": BITS, "k": K, "queries": QUERIES, "threads": 1}
    for items in sorted(chosen.items):
        for what in chosen.codes:
            names = {k: f"{what} | {items} | {k}" for k in chosen.kinds}
            missing = [k for k, n in names.items() if rows.get(n, {}).get("code") != code]
            timed = items == max(chosen.items) and what == chosen.codes[0] and cores > 1
            timed = timed and by_clock.get("code") != code
            if not (missing or timed):
                continue
            base, queries = codes(what, items)
            flat = build(base)
            truth = kth_distance(search_complete(flat, queries, K), K)
            if timed:
                by_clock = on_all_cores(flat, queries, cores) | {"codes": what, "code": code}
            for kind in missing:
                expected = expected_build(rows, what, items, kind)
                if expected > 60 * chosen.most_build_minutes:
                    row: dict[str, Any] = {"not_built_s": round(expected)}
                else:
                    row = measure(kind, base, queries, truth, flat)
                    row["ratio"] = {name: round(x, 2) for name, x in times_flat(row).items()}
                rows[names[kind]] = row | {"code": code}
                print(what, items, kind, row, flush=True)
                write_json(chosen.out, {**about, "rows": rows, "by_clock": by_clock})
    write_json(chosen.out, {**about, "rows": rows, "by_clock": by_clock})
    text = table(rows) + single_query(by_clock)
    print(text)
    if chosen.out == RESULT:
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        before, rest = readme.split(MARKS[0])
        after = rest.split(MARKS[1])[1]
        write_text(ROOT / "README.md", f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main()
