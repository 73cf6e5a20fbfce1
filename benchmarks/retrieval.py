"""Every retrieval figure at MIRFlickr's size against a loop over queries.

    python benchmarks/retrieval.py

2,000 queries among 18,015 items, 128 bits, 24 classes, for image to text and for text to image.
The data are made: labels of which some are much more frequent than others, codes the signs of a
random projection of the labels with noise, one for each modality. In one run:

- ours: ``retrieval_metrics`` (mAP@50, @5000 and over all items under both definitions, ties in
  expectation with their bounds and the chance level; precision of the first N; Hamming radius 2)
  and the precision-recall curve;
- loop: for one query after the other, distances, ``argsort`` and the same figures for the order
  that the sort happens to give: no expectation over ties, no bounds. It is measured on a slice of
  the queries and extrapolated, so marked.

On that slice the mAP of the loop must lie within the bounds that ours gives. Prints one table and
writes it to ``benchmarks/results/``.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
from machine import machine_name

from mmhash.codes import pack, unpack
from mmhash.files import write_json
from mmhash.metrics.retrieval import (
    CUT_OFFS,
    TOP_N,
    hamming_levels,
    metrics_from_levels,
    precision_recall_by_distance,
)
from mmhash.seeding import numpy_stream

ITEMS, QUERIES, BITS, CLASSES = 18_015, 2_000, 128, 24
LOOP = 100  # queries of the loop
NOISE = {"image": 1.5, "text": 1.0}
TASKS = (("image", "text"), ("text", "image"))


def made() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return labels (QUERIES + ITEMS, CLASSES) and packed codes by modality."""
    draw = numpy_stream(1, "benchmark", "retrieval")
    rate = 0.45 / np.arange(1, CLASSES + 1) ** 0.7
    labels = (draw.random((QUERIES + ITEMS, CLASSES)) < rate).astype(np.uint8)
    clean = labels @ draw.standard_normal((CLASSES, BITS))
    clean -= clean.mean(axis=0)
    codes = {
        side: pack((clean + noise * draw.standard_normal(clean.shape) >= 0).astype(np.uint8))
        for side, noise in NOISE.items()
    }
    return labels, codes


def loop(
    queries: np.ndarray, query_labels: np.ndarray, items: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """Return the figures of the order that a sort gives; codes are (n, BITS) of 0 and 1."""
    sums: dict[str, float] = {}

    def add(name: str, value: float) -> None:
        sums[name] = sums.get(name, 0.0) + float(value) / len(queries)

    for query, own in zip(queries, query_labels, strict=True):
        distance = (query != items).sum(axis=1)
        order = np.argsort(distance)
        relevant = (labels[order] & own).any(axis=1)
        ranks = np.flatnonzero(relevant) + 1
        precision = np.arange(1, len(ranks) + 1) / ranks
        add("mAP@all", precision.mean() if len(ranks) else 0.0)
        for k in CUT_OFFS:
            inside = precision[ranks <= k]
            add(f"mAP@{k}", inside.mean() if len(inside) else 0.0)
            add(f"mAP@{k}_relevant", precision[:k].mean() if len(ranks) else 0.0)
        for n in TOP_N:
            add(f"P@{n}", relevant[:n].mean())
        near = distance[order]
        for d in range(BITS + 1):
            found = relevant[: np.searchsorted(near, d, side="right")]
            add(f"precision_{d}", found.mean() if len(found) else 0.0)
            add(f"recall_{d}", found.sum() / max(1, len(ranks)))
    return sums


def main() -> None:
    """Alternate, compare, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--slices", type=int, default=3)
    slices = parser.parse_args().slices
    labels, codes = made()
    asked, owned = labels[:QUERIES], labels[QUERIES:]
    rows, record = [], {}
    for ask, answer in TASKS:
        queries, items = codes[ask][:QUERIES], codes[answer][QUERIES:]
        plain = unpack(queries[:LOOP]), unpack(items)
        ours, reference = [], []
        for _ in range(slices):
            start = time.perf_counter()
            levels = hamming_levels(queries, asked, items, owned)
            figures = metrics_from_levels(*levels)
            precision_recall_by_distance(*levels)
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            naive = loop(plain[0], asked[:LOOP], plain[1], owned)
            reference.append((time.perf_counter() - start) / LOOP * QUERIES)
        same = metrics_from_levels(levels[0][:LOOP], levels[1][:LOOP])
        for name in naive:
            if name.startswith("mAP"):
                low, high = same[f"{name}_worst"] - 1e-9, same[f"{name}_best"] + 1e-9
                assert low <= naive[name] <= high, f"{name}: {naive[name]} not in {low}, {high}"
        seconds, naive_seconds = statistics.median(ours), statistics.median(reference)
        task = f"{ask} to {answer}"
        rows.append(
            f"| {task} | {seconds:.2f} | {naive_seconds:.1f} | {seconds / naive_seconds:.3f} "
            f"| {figures['mAP@50']:.4f} | {figures['mAP@all']:.4f} "
            f"| {figures['mAP@all_chance']:.4f} |"
        )
        record[task] = {
            "seconds": round(seconds, 3),
            "loop_seconds_extrapolated": round(naive_seconds, 1),
            "ratio": round(seconds / naive_seconds, 4),
        }
    print(
        "| task | ours, s | loop (extrapolated), s | ours / loop | mAP@50 | mAP@all | chance |\n"
        + "| --- " * 7
        + "|\n"
        + "\n".join(rows)
    )
    machine = machine_name()
    write_json(
        Path(__file__).resolve().parent / "results" / f"retrieval-{machine}.json",
        {"items": ITEMS, "queries": QUERIES, "bits": BITS, "classes": CLASSES}
        | {"queries_of_the_loop": LOOP, "slices": slices, "machine": machine, "threads": 1}
        | {"tasks": record},
    )


if __name__ == "__main__":
    main()
