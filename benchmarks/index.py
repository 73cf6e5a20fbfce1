"""Kinds of index at a million codes and more: recall, time, memory, against the flat one.

    python benchmarks/index.py                      # 1 M and 10 M codes of 64 bits
    python benchmarks/index.py --items 1000000 --kinds flat ivf multihash

Two kinds of codes, queries never in the base: ``labels``, the signs of a random projection of label
sets with noise (sets drawn with a long tail, as COCO's are), and ``uniform``, every bit a fair
coin, the case in which no structure helps. Recall is tie-aware at K = 20: a hit is any item at a
distance up to the true K-th. Times are of one batch of queries with all threads, after a warm-up;
the reference is the flat index of the same codes in the same run. Finished rows stand in
``benchmarks/results/`` and are kept, so that a run can be interrupted; ``--again`` measures anew.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
from machine import machine_name

from mmhash.codes import pack
from mmhash.files import read_json, write_json
from mmhash.index.kinds import build, save
from mmhash.index.neighbours import kth_distance
from mmhash.index.reference import tie_aware_recall
from mmhash.index.search import search_complete
from mmhash.seeding import numpy_stream

BITS, K, QUERIES, CLASSES, REPEATS = 64, 20, 1000, 80, 3
KINDS = ("flat", "ivf", "multihash", "hnsw")
MACHINE = machine_name()
RESULT = Path(__file__).resolve().parent / "results" / f"index-{MACHINE}.json"


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


def measure(kind: str, base: np.ndarray, queries: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Build one index and search it; ``truth`` is the distance of each query's K-th neighbour."""
    start = time.perf_counter()
    index = build(base, kind)
    built = time.perf_counter() - start
    found = search_complete(index, queries, K)
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        search_complete(index, queries, K)
        taken.append(time.perf_counter() - start)
    with tempfile.TemporaryDirectory(prefix="mmhash-index-") as folder:
        save(index, Path(folder) / "index.faiss")
        size = (Path(folder) / "index.faiss").stat().st_size
    first = found.lims[:-1, None] + np.arange(K)
    return {
        "recall": round(tie_aware_recall(found.distances[first], truth), 5),
        "ms_a_query": round(statistics.median(taken) / len(queries) * 1e3, 4),
        "build_s": round(built, 1),
        "bytes_an_item": round(size / len(base), 1),
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return Markdown; the speed-up is over the flat index of the same codes."""
    lines = [
        "| codes | items | kind | recall@20 | ms a query, batched | speed-up | build, s "
        "| bytes an item |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for key, row in rows.items():
        what, items, kind = key.split(" | ")
        flat = rows[f"{what} | {items} | flat"]["ms_a_query"]
        lines.append(
            f"| {what} | {int(items):,} | {kind} | {row['recall']:.3f} | {row['ms_a_query']:.3f} "
            f"| {flat / row['ms_a_query']:.1f} | {row['build_s']:.0f} | {row['bytes_an_item']} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--items", type=int, nargs="*", default=[10**6, 10**7])
    parser.add_argument("--codes", nargs="*", default=["labels", "uniform"])
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS)
    parser.add_argument("--again", action="store_true", help="measure anew what is there")
    chosen = parser.parse_args()
    rows = read_json(RESULT)["rows"] if RESULT.exists() and not chosen.again else {}
    for items in chosen.items:
        for what in chosen.codes:
            # The speed-up is of one run: with any kind to measure, the flat one is measured too.
            missing = [k for k in chosen.kinds if f"{what} | {items} | {k}" not in rows]
            if not missing:
                continue
            base, queries = codes(what, items)
            truth = kth_distance(search_complete(build(base), queries, K), K)
            for kind in dict.fromkeys(["flat", *missing]):
                rows[f"{what} | {items} | {kind}"] = measure(kind, base, queries, truth)
                print(what, items, kind, rows[f"{what} | {items} | {kind}"], flush=True)
                about = {"machine": MACHINE, "bits": BITS, "k": K, "queries": QUERIES}
                write_json(RESULT, about | {"rows": rows})
    print(table(rows))


if __name__ == "__main__":
    main()
