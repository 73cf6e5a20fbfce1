"""Search, vote and every retrieval figure at COCO's size against plain ways to do the same.

    python benchmarks/knn.py

5,000 queries among 113,287 codes of 64 bits that are the signs of a random projection of COCO's
labels with noise (``synthetic_features.py`` reads them; without the file: labels drawn with COCO's
density). Slices alternate, medians are compared:

- ours: search with the K-th shell complete and vote (``Retriever.score``); all: also the
  multi-label figures, the calibration, the bootstrap intervals, the health of the codes and the
  retrieval figures over the whole ranking, ties in expectation;
- (a): FAISS's search for K neighbours alone, with the same threads;
- (b): one query at a time with a vote in Python, the whole ranking sorted, scikit-learn for every
  figure it has, and none that it has not; the loop over queries is measured on 50 and
  extrapolated, so marked.

A second table says how much ties decide: the share of queries whose K-th and next neighbour lie at
the same distance, and mAP@50 in the worst, the expected and the best order of the tied, for these
codes and for their first 16 bits, which are a code of the same kind.

Prints both tables and writes them to ``benchmarks/results/``; ``ratio`` is ours over the reference.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import faiss
import numpy as np
from machine import machine_name
from sklearn import metrics
from synthetic_features import LABELS, read_labels

from mmhash.codes import pack
from mmhash.files import write_json
from mmhash.index.kinds import build
from mmhash.metrics.bootstrap import bootstrap_map
from mmhash.metrics.calibration import calibration_figures
from mmhash.metrics.codes import code_metrics
from mmhash.metrics.multilabel import multilabel_metrics
from mmhash.metrics.retrieval import hamming_levels, metrics_from_levels, retrieval_metrics
from mmhash.retriever import Retriever
from mmhash.seeding import numpy_stream

ITEMS, QUERIES, BITS, K, TAU = 113_287, 5_000, 64, 50, 0.07
TIED_BITS = (16, BITS)
LOOP = 50  # queries of (b)'s loop
BOOTSTRAP = 1000  # evaluate.bootstrap_samples


def labels_and_codes() -> tuple[np.ndarray, np.ndarray, str]:
    """Return labels (ITEMS + QUERIES, 80), packed codes, and what they are."""
    draw = numpy_stream(1, "benchmark", "knn")
    if LABELS.is_file():
        labels, split, _ = read_labels()
        order = np.concatenate([np.flatnonzero(split <= 1)[:ITEMS], np.flatnonzero(split == 3)])
        labels, what = labels[order], "real labels"
    else:
        labels = (draw.random((ITEMS + QUERIES, 80)) < 2.9 / 80).astype(np.uint8)
        what = "labels drawn with COCO's density"
    soft = labels @ draw.standard_normal((80, BITS)) + 0.7 * draw.standard_normal(
        (len(labels), BITS)
    )
    return labels, pack((soft >= 0).astype(np.uint8)), what


def loop_seconds(index: Any, items: np.ndarray, queries: np.ndarray, labels: np.ndarray) -> float:
    """Return what (b)'s loop takes for all queries; ``labels`` are those of items, then queries."""
    owned = labels[: len(items)]
    start = time.perf_counter()
    for number, query in enumerate(queries[:LOOP]):
        distances, rows = index.search(query[None], K)
        weights = [float(np.exp((1 - distance / BITS) / TAU)) for distance in distances[0]]
        total = sum(weights)
        scores = [0.0] * labels.shape[1]
        for weight, row in zip(weights, rows[0], strict=True):
            for name in np.flatnonzero(owned[row]):
                scores[name] += weight / total
        every = np.unpackbits(items ^ query, axis=1).sum(axis=1)
        relevant = (owned & labels[len(items) + number]).any(axis=1)
        if relevant.any():
            metrics.average_precision_score(relevant, -every.astype(float))
    return (time.perf_counter() - start) / LOOP * len(queries)


def sklearn_figures(scores: np.ndarray, labels: np.ndarray) -> None:
    """Compute with scikit-learn what it has of the multi-label figures."""
    predicted = scores > 0.5
    metrics.average_precision_score(labels, scores, average="macro")
    metrics.average_precision_score(labels, scores, average="samples")
    metrics.roc_auc_score(labels, scores, average="macro")
    metrics.roc_auc_score(labels, scores, average="micro")
    for average in ("micro", "macro", "samples", None):
        metrics.precision_recall_fscore_support(labels, predicted, average=average, zero_division=0)
    metrics.coverage_error(labels, scores)
    metrics.label_ranking_loss(labels, scores)
    metrics.label_ranking_average_precision_score(labels, scores)
    metrics.hamming_loss(labels, predicted)
    metrics.mean_absolute_error(labels, scores)


def ties(
    queries: np.ndarray, truth: np.ndarray, items: np.ndarray, owned: np.ndarray
) -> dict[str, float]:
    """Return the share of queries that tie at the K-th place, and mAP@50 with its bounds.

    Packed codes and labels of queries and items; mAP@50 divides by the hits among the first 50.
    """
    size, relevant = hamming_levels(queries, truth, items, owned)
    parted = (size.cumsum(axis=1) == K).any(axis=1)  # a distance ends right behind the K-th
    figures = metrics_from_levels(size, relevant)
    kept = ("mAP@50_worst", "mAP@50", "mAP@50_best")
    return {"tied_queries": 1 - float(parted.mean())} | {name: figures[name] for name in kept}


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Alternate, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--slices", type=int, default=5)
    slices = parser.parse_args().slices
    labels, codes, what = labels_and_codes()
    items, queries = codes[:ITEMS], codes[ITEMS:]
    owned, truth = labels[:ITEMS], labels[ITEMS:]
    retriever = Retriever(
        build(items), owned, np.arange(ITEMS), k=K, voting="softmax", tau=TAU, ties="expected"
    )
    plain = faiss.IndexBinaryFlat(BITS)
    plain.add(items)
    scores, _ = retriever.score(queries)

    def all_figures() -> None:
        found, _ = retriever.score(queries)
        multilabel_metrics(found, truth, 0.5)
        calibration_figures(found, truth)
        bootstrap_map(found, truth, BOOTSTRAP, numpy_stream(1, "benchmark", "knn", "bootstrap"))
        code_metrics(queries)
        retrieval_metrics(queries, truth, items, owned)

    work: dict[str, Callable[[], object]] = {
        "search and vote": lambda: retriever.score(queries),
        "a": lambda: plain.search(queries, K),
        "all": all_figures,
    }
    seconds = {name: [timed(one) for _ in range(slices)] for name, one in work.items()}
    median = {name: statistics.median(taken) for name, taken in seconds.items()}
    # scikit-learn refuses classes without a positive, and warns of images without a label
    seen = np.ix_(truth.any(axis=1), truth.any(axis=0))
    median["b"] = loop_seconds(plain, items, queries, labels) + timed(
        lambda: sklearn_figures(scores[seen], truth[seen])
    )
    rows = [
        ("search and vote", "(a) FAISS's search alone", "search and vote", "a", "at most 1.3"),
        ("all figures", "(b) loop (extrapolated) and scikit-learn", "all", "b", "at most 0.2"),
    ]
    ratio = {one: median[one] / median[other] for _, _, one, other, _ in rows}
    print("| ours | s | reference | s | ours / reference | wanted |\n" + "| --- " * 6 + "|")
    for mine, reference, one, other, wanted in rows:
        print(
            f"| {mine} | {median[one]:.2f} | {reference} | {median[other]:.2f} | {ratio[one]:.3f} "
            f"| {wanted} |"
        )
    tied = {
        bits: ties(queries[:, : bits // 8], truth, items[:, : bits // 8], owned)
        for bits in TIED_BITS
    }
    print(f"\n| bits | tie at place {K} | mAP@50: worst order | expected | best order |")
    print("| --- " * 5 + "|")
    for bits, found in tied.items():
        share, *bounds = found.values()
        print(f"| {bits} | {share:.1%} | {' | '.join(f'{value:.4f}' for value in bounds)} |")
    machine = machine_name()
    write_json(
        Path(__file__).resolve().parent / "results" / f"knn-{machine}.json",
        {"data": what, "items": ITEMS, "queries": QUERIES, "bits": BITS, "k": K}
        | {"machine": machine, "threads": faiss.omp_get_max_threads()}
        | {"seconds": {name: round(value, 3) for name, value in median.items()}}
        | {"ratio": {name: round(value, 3) for name, value in ratio.items()}}
        | {"ties": {bits: {k: round(v, 4) for k, v in f.items()} for bits, f in tied.items()}},
    )


if __name__ == "__main__":
    main()
