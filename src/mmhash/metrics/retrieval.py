"""Retrieval of items that share a label, ranked by Hamming distance or by cosine.

An item is relevant to a query where both carry a common label; items without a label are never
relevant. Every figure is the mean over ALL queries: one without a relevant item has AP, precision
and recall 0, and the number of such queries is given. Equal distances: the expectation over all
orders of the tied, with the worst and the best order beside (:mod:`mmhash.metrics.tie_aware`).
Queries must not be in the database themselves; an item would then find itself at distance 0.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mmhash.codes import word_distances, words
from mmhash.errors import InputError
from mmhash.index.vectors import unit_rows
from mmhash.metrics.tie_aware import (
    Bounded,
    Shells,
    average_precision_all,
    average_precision_relevant,
    average_precision_retrieved,
    hits_within,
    one_shell,
    shells_from_levels,
)

CUT_OFFS = (50, 5000)
TOP_N = (1, 5, 10, 50, 100, 500, 1000, 5000)
CODE_PAIRS = 1 << 19  # pairs compared at a time: words and counts of a block fit the cache
VECTOR_PAIRS = 1 << 21  # a matrix product wants more rows
COSINE_STEPS = 1 << 20  # a cosine in float32 is good to about 1e-6: closer ones tie


def retrieval_metrics(
    queries: np.ndarray,
    query_labels: np.ndarray,
    database: np.ndarray,
    db_labels: np.ndarray,
) -> dict[str, Any]:
    """Return the retrieval figures of queries against a database; labels are (n, C) of 0 and 1.

    Packed codes (n, B / 8) uint8 are ranked by Hamming distance: :func:`metrics_from_levels`. Real
    vectors (n, D) are ranked by cosine: :func:`vector_retrieval_metrics`. Raises InputError where
    there is no query or no database, or shapes do not fit.
    """
    if queries.dtype == np.uint8:
        return metrics_from_levels(*hamming_levels(queries, query_labels, database, db_labels))
    return vector_retrieval_metrics(queries, query_labels, database, db_labels)


def hamming_levels(
    query_codes: np.ndarray,
    query_labels: np.ndarray,
    db_codes: np.ndarray,
    db_labels: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Count items, and relevant items, of each query at each Hamming distance.

    Returns two (Q, B + 1) int64 arrays. Compares every pair, a block of queries at a time, so that
    memory does not grow with Q × M.
    """
    _check(query_codes, query_labels, db_codes, db_labels)
    levels = db_codes.shape[1] * 8 + 1
    narrow = np.uint8 if 2 * levels <= 256 else np.uint16
    left, right = words(query_codes), words(db_codes)
    size = np.empty((len(query_codes), levels), dtype=np.int64)
    relevant = np.empty_like(size)
    for block, shares in _shared_label_blocks(query_labels, db_labels, CODE_PAIRS):
        key = word_distances(left[:, block], right).astype(narrow, copy=False)
        np.left_shift(key, 1, out=key)
        np.bitwise_or(key, shares, out=key)
        for q, row in zip(range(block.start, block.stop), key, strict=True):
            counts = np.bincount(row, minlength=2 * levels).reshape(levels, 2)
            size[q] = counts.sum(axis=1)
            relevant[q] = counts[:, 1]
    return size, relevant


def metrics_from_levels(size: np.ndarray, relevant: np.ndarray) -> dict[str, Any]:
    """Return the retrieval figures from :func:`hamming_levels` as a flat dict of plain numbers.

    ``mAP@k``: AP over the first k retrieved divided by the hits among them; ``mAP@k_relevant``: AP
    over the first k relevant at any rank (over all, where there are fewer); ``mAP@all``. Each with
    ``_worst``, ``_best`` (order of the tied) and ``_chance`` (all items tied). ``P@N``: expected
    precision of the first N (for N up to the database), with ``P_worst@N``, ``P_best@N`` and, for
    every N, ``P_chance``. ``radius2_precision`` and ``radius2_recall`` of the items within Hamming
    distance 2 (0 for a query with none there, counted in radius2_empty_queries), with ``_chance``:
    as many items drawn at random. queries, queries_without_relevant, database.
    """
    shells = shells_from_levels(size, relevant)
    figures = _summary(_query_figures(shells), shells.total_relevant, shells.database)
    inside, found = size[:, :3].sum(axis=1), relevant[:, :3].sum(axis=1)
    total = np.maximum(shells.total_relevant, 1)
    share = shells.total_relevant / shells.database
    return figures | {
        "radius2_precision": float((found / np.maximum(inside, 1)).mean()),
        "radius2_precision_chance": float((share * (inside > 0)).mean()),
        "radius2_recall": float((found / total).mean()),
        "radius2_recall_chance": float(
            (inside / shells.database * (shells.total_relevant > 0)).mean()
        ),
        "radius2_empty_queries": int((inside == 0).sum()),
    }


def precision_recall_by_distance(size: np.ndarray, relevant: np.ndarray) -> dict[str, np.ndarray]:
    """Return precision and recall of all items within each Hamming distance, means over queries.

    Columns ``distance`` (B + 1,), ``precision``, ``recall``, ``retrieved`` (mean number of items).
    A query with nothing inside counts 0.
    """
    inside, found = size.cumsum(axis=1), relevant.cumsum(axis=1)
    return {
        "distance": np.arange(size.shape[1]),
        "precision": (found / np.maximum(inside, 1)).mean(axis=0),
        "recall": (found / np.maximum(found[:, -1:], 1)).mean(axis=0),
        "retrieved": inside.mean(axis=0),
    }


def vector_retrieval_metrics(
    query_vectors: np.ndarray,
    query_labels: np.ndarray,
    db_vectors: np.ndarray,
    db_labels: np.ndarray,
) -> dict[str, Any]:
    """Return the figures of :func:`metrics_from_levels`, without radius 2, for ranking by cosine.

    Vectors are (Q, D) and (M, D) real. Cosines are rounded to steps of 2^-20, about the rounding of
    their float32 products; items on one step tie.
    """
    _check(query_vectors, query_labels, db_vectors, db_labels)
    base, queries = unit_rows(db_vectors), unit_rows(query_vectors)
    parts: list[dict[str, Bounded]] = []
    totals: list[np.ndarray] = []
    for block, shares in _shared_label_blocks(query_labels, db_labels, VECTOR_PAIRS):
        step = np.rint((1 - queries[block] @ base.T) * COSINE_STEPS).astype(np.int32)
        shells = _shells_of_keys(np.sort(2 * step + shares, axis=1))
        parts.append(_query_figures(shells))
        totals.append(shells.total_relevant)
    figures = {
        name: Bounded(*(np.concatenate([part[name][i] for part in parts]) for i in range(3)))
        for name in parts[0]
    }
    return _summary(figures, np.concatenate(totals), len(db_vectors))


def _shells_of_keys(keys: np.ndarray) -> Shells:
    """Return the shells of sorted keys (q, M): twice the distance, plus 1 for a relevant item."""
    columns: list[tuple[np.ndarray, ...]] = []
    for q, row in enumerate(keys):
        hits = np.flatnonzero(row & 1)
        level = row[hits]
        last = np.flatnonzero(np.append(level[1:] != level[:-1], np.ones(min(1, len(hits)), bool)))
        found = last + 1
        relevant = np.diff(found, prepend=0)
        # within a level the relevant sort last, so that the last of them ends the shell
        before = np.searchsorted(row, level[last] - 1)
        size = hits[last] + 1 - before
        columns.append((np.full(len(last), q), before, found - relevant, size, relevant))
    query, before, relevant_before, size, relevant = map(np.concatenate, zip(*columns, strict=True))
    return Shells(
        query=query,
        before=before,
        relevant_before=relevant_before,
        size=size,
        relevant=relevant,
        total_relevant=(keys & 1).sum(axis=1, dtype=np.int64),
        database=keys.shape[1],
    )


def _query_figures(shells: Shells) -> dict[str, Bounded]:
    figures = {}
    for k in CUT_OFFS:
        figures[f"mAP@{k}"] = average_precision_retrieved(shells, k)
        figures[f"mAP@{k}_relevant"] = average_precision_relevant(shells, k)
    figures["mAP@all"] = average_precision_all(shells)
    for n in TOP_N:
        if n <= shells.database:
            figures[f"P@{n}"] = Bounded(*(hits / n for hits in hits_within(shells, n)))
    return figures


def _summary(
    figures: dict[str, Bounded], total_relevant: np.ndarray, database: int
) -> dict[str, Any]:
    """Average over queries and put the chance level beside."""
    distinct, times = np.unique(total_relevant, return_counts=True)
    chance = _query_figures(one_shell(distinct, database))
    summary: dict[str, Any] = {}
    for name, (expected, worst, best) in figures.items():
        summary[name] = float(expected.mean())
        if name.startswith("mAP"):
            summary[f"{name}_worst"] = float(worst.mean())
            summary[f"{name}_best"] = float(best.mean())
            summary[f"{name}_chance"] = float(np.average(chance[name].expected, weights=times))
        else:  # named as P_chance: readers take whatever begins with P@ for a precision at N
            summary[name.replace("@", "_worst@")] = float(worst.mean())
            summary[name.replace("@", "_best@")] = float(best.mean())
    return summary | {
        "P_chance": float(total_relevant.mean() / database),
        "queries": len(total_relevant),
        "queries_without_relevant": int((total_relevant == 0).sum()),
        "database": database,
    }


def _shared_label_blocks(
    query_labels: np.ndarray, db_labels: np.ndarray, pairs: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield blocks of queries, each with whether it shares a label with each item, (q, M) bool.

    A block has about ``pairs`` pairs.
    """
    left, right = _label_words(query_labels), _label_words(db_labels)
    step = max(1, pairs // len(db_labels))
    for start in range(0, len(query_labels), step):
        block = slice(start, min(start + step, len(query_labels)))
        common = left[0, block][:, None] & right[0]
        for a, b in zip(left[1:], right[1:], strict=True):
            common |= a[block][:, None] & b
        yield block, common != 0


def _label_words(labels: np.ndarray) -> np.ndarray:
    packed = np.packbits(labels.astype(bool), axis=1)
    padded = np.zeros((len(packed), -(-packed.shape[1] // 8) * 8), dtype=np.uint8)
    padded[:, : packed.shape[1]] = packed
    return words(padded)


def _check(
    queries: np.ndarray, query_labels: np.ndarray, base: np.ndarray, db_labels: np.ndarray
) -> None:
    if not len(queries) or not len(base):
        raise InputError(f"retrieval needs queries and a database; got {len(queries)}, {len(base)}")
    if queries.shape[1] != base.shape[1] or query_labels.shape[1] != db_labels.shape[1]:
        raise InputError("queries and database differ in the width of their codes or labels")
    if len(queries) != len(query_labels) or len(base) != len(db_labels):
        raise InputError("codes and labels must have one row an item")
