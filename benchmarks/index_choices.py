"""What the constants of the approximate indexes were chosen by: recall, time and building of each.

    python benchmarks/index_choices.py

200,000 codes of 64 bits derived from label sets, with noise, as in ``index.py``; queries that are
not among them, tie-aware recall at K = 20. A row changes one constant of :mod:`mmhash.index` and
leaves the others; the first row of a kind is what the library does. Times are CPU time of one
thread, and the reference of ``ratio`` is the flat index of the same codes, in turns. Prints one
table and writes it to ``benchmarks/results/``.
"""

import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import faiss
from index import BITS, K, codes, duration, measure, times_flat
from machine import machine_name

from mmhash.files import write_json
from mmhash.index import kinds, multihash
from mmhash.index.neighbours import kth_distance
from mmhash.index.search import search_complete

ITEMS = 200_000
Values = dict[str, Any]

CHOICES: list[tuple[str, str, ModuleType, Values]] = [
    ("ivf", "as it is: 64 cells of 1,024", kinds, {}),
    ("ivf", "32 cells", kinds, {"IVF_MIN_PROBED": 32}),
    ("ivf", "128 cells", kinds, {"IVF_MIN_PROBED": 128}),
    ("ivf", "64 items a cell, 10 rounds", kinds, {"IVF_ITEMS_A_CELL": 64, "IVF_ROUNDS": 10}),
    ("hnsw", "as it is: 16 links, 64 candidates, then 128", kinds, {}),
    ("hnsw", "64 candidates in a search", kinds, {"HNSW_SEARCH_CANDIDATES": 64}),
    (
        "hnsw",
        "32 links, 100 candidates in building",
        kinds,
        {"HNSW_LINKS": 32, "HNSW_BUILD_CANDIDATES": 100},
    ),
    ("multihash", "as it is: 1 bit of slack a piece", multihash, {}),
    ("multihash", "no slack: exact", multihash, {"SLACK_A_PIECE": 0}),
    ("multihash", "2 bits of slack", multihash, {"SLACK_A_PIECE": 2}),
]


def main() -> None:
    """Measure, print and write."""
    faiss.omp_set_num_threads(1)
    base, queries = codes("labels", ITEMS)
    flat = kinds.build(base)
    truth = kth_distance(search_complete(flat, queries, K), K)
    rows: list[dict[str, Any]] = []
    print("| kind | choice | recall@20 | ms a query, batch | times flat | build | bytes an item |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind, choice, module, values in CHOICES:
        with patch.multiple(module, **values) if values else nullcontext():
            row = measure(kind, base, queries, truth, flat)
        row |= {"kind": kind, "choice": choice, "changed": values}
        row["ratio"] = round(times_flat(row)["batch"], 2)
        rows.append(row)
        print(
            f"| {kind} | {choice} | {row['recall']:.3f} | {row['batch_ms']:.3f} | {row['ratio']} "
            f"| {duration(row['build_s'])} | {row['memory_bytes_an_item']:.0f} |",
            flush=True,
        )
    machine = machine_name()
    about = {"machine": machine, "codes": "labels", "items": ITEMS, "bits": BITS, "k": K}
    write_json(
        Path("benchmarks/results") / f"index_choices-{machine}.json", {**about, "rows": rows}
    )


if __name__ == "__main__":
    main()
