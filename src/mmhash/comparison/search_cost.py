"""E1: what a search costs by Hamming distance on packed codes and by cosine on the soft ones.

Clock readings of this machine, taken while the report is written: they differ from run to run.
Both searches are those of :mod:`mmhash.index`, the K-th shell complete, on the items and queries
of an experiment.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmhash.ablations.study import Study
from mmhash.codes import binarise, pack
from mmhash.comparison.report import Origin, markdown_table
from mmhash.experiments.records import TARGET, Record
from mmhash.files import read_json, read_npy
from mmhash.index.kinds import build, load
from mmhash.retriever import query_latency

REPEATS = 3  # of each timing; the median is kept, since other work disturbs single readings
FIGURES = {
    "query_ms_mean": "ms a query, mean",
    "query_ms_p50": "p50",
    "query_ms_p99": "p99",
    "queries_per_second_batched": "queries a second, batched",
}


def search_cost(record: Record, k: int) -> list[dict[str, Any]]:
    """Time both searches for the ``k`` nearest of an experiment's test queries.

    Returns one entry a distance: ``distance``, ``bits``, ``items``, ``queries``,
    ``bytes_per_item`` and the keys of :data:`FIGURES`.
    """
    index, predictions = record.files("build_index", "index"), record.files(TARGET, "predictions")
    soft = read_npy(index["soft.npy"]).astype(np.float32)
    queries = read_npy(predictions["test/soft.npy"]).astype(np.float32)
    bits, kind = soft.shape[1], read_json(index["meta.json"])["kind"]
    searches: list[tuple[str, Any, np.ndarray, int]] = [
        ("hamming", load(index["index.faiss"], kind=kind), pack(binarise(queries)), bits // 8),
        ("cosine", build(soft), queries, 4 * bits),
    ]
    return [
        {
            "distance": distance,
            "bits": bits,
            "items": found.size,
            "queries": len(queries),
            "bytes_per_item": size,
            **_median([query_latency(found, asked, k) for _ in range(REPEATS)]),
        }
        for distance, found, asked, size in searches
    ]


def _median(readings: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: float(np.median([reading[key] for reading in readings])) for key in FIGURES}


def cost_table(runs: Mapping[str, Sequence[Record]], k: int) -> list[dict[str, Any]]:
    """Return one entry a row of the study and distance, its readings averaged over the seeds.

    The speed-ups say how many times faster than cosine the search answers a single query (median)
    and a batch.
    """
    table = []
    for name, records in runs.items():
        readings = [search_cost(record, k) for record in records]
        pair = []
        for same in zip(*readings, strict=True):
            means = {key: float(np.mean([r[key] for r in same])) for key in FIGURES}
            pair.append({"row": name, **same[0], **means})
        cosine = next(entry for entry in pair if entry["distance"] == "cosine")
        for entry in pair:
            single = cosine["query_ms_p50"] / entry["query_ms_p50"]
            batch = entry["queries_per_second_batched"] / cosine["queries_per_second_batched"]
            table.append({**entry, "speed_up_single": single, "speed_up_batched": batch})
    return table


def cost_markdown(study: Study, table: Sequence[Mapping[str, Any]], origin: Origin, k: int) -> str:
    """Return the page of the study."""
    header = ["row", "distance", "bytes an item", *FIGURES.values()]
    header += ["speed-up, single", "speed-up, batched"]
    rows = [
        [
            entry["row"],
            entry["distance"],
            str(entry["bytes_per_item"]),
            *(f"{entry[key]:.4g}" for key in FIGURES),
            f"{entry['speed_up_single']:.2f}",
            f"{entry['speed_up_batched']:.2f}",
        ]
        for entry in table
    ]
    first = table[0]
    return "\n".join(
        [
            f"# {study.id}: {study.title}\n",
            origin.line() + "\n",
            f"**Readings of the machine that wrote this page** ({os.cpu_count()} logical "
            "processors): they differ from run to run and from machine to machine.\n",
            markdown_table(header, rows),
            f"{first['items']} items, {first['queries']} queries, K = {k}, exact search. hamming: "
            "packed codes; cosine: the same codes before binarisation, as float32. Speed-up: over "
            "cosine on as many dimensions, of the median (p50) and of the throughput.\n",
            *(f"{note}\n" for note in study.notes),
        ]
    )
