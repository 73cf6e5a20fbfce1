"""Search with the last shell of equal distances complete.

Hamming distances tie almost always, so "the K nearest" is rarely a well-defined set: which of the
items at the K-th distance are returned depends on the order of insertion. A search here returns
every item at a distance up to the K-th smallest, so that voting can treat the tied alike.

``flat`` indexes give exactly that, on the GPU where the index has a copy there, and with the rows
shared out where that is faster (:mod:`mmhash.index.shards`). The other kinds
look at a part of the items and complete the shell within it: ``ivf`` and ``multihash`` among all
items in the cells they look into, ``hnsw`` among the max(64, 3 k) items that one search returns. A
query for which they find fewer than k items, or for which ``multihash`` would look at too many, is
answered by the flat search of the same codes.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from mmhash.errors import InputError
from mmhash.index.kinds import SearchIndex, indexed_items
from mmhash.index.multihash import MultiHash, nearest, queries_at_once
from mmhash.index.neighbours import Entries, Neighbours, ragged
from mmhash.index.shards import Found, row_shards, search_rows, search_shards
from mmhash.index.vectors import pair_distances, unit_rows

GPU_MAX_K = 2048  # the limit of FAISS's selection kernels
QUERY_BLOCK = 4096
MAX_ENTRIES = 1 << 22
NOTHING = np.iinfo(np.int32).max  # distance of a place that an index could not fill (row -1)


def search_complete(index: SearchIndex, queries: np.ndarray, k: int) -> Neighbours:
    """Return for each query every item at a distance up to its K-th smallest.

    ``queries`` (n, ·) are what the index takes: packed codes (n, B / 8) uint8 for codes, real
    vectors (n, D) for vectors, soft codes (n, B) for an asymmetric index. On a collapsed index (all
    codes equal) the result holds n × size entries; walk through :func:`neighbour_chunks` where
    that may not fit in memory. Raises InputError where k is larger than the index or the queries
    do not fit it.
    """
    chunks = list(neighbour_chunks(index, queries, k))
    if len(chunks) == 1:
        return chunks[0]
    counts = [np.diff(chunk.lims) for chunk in chunks]
    kind = np.int32 if index.metric == "hamming" else np.float32
    return Neighbours(
        lims=np.concatenate([[0], *counts]).cumsum().astype(np.int64),
        distances=np.concatenate([np.empty(0, kind), *(chunk.distances for chunk in chunks)]),
        rows=np.concatenate([np.empty(0, np.int64), *(chunk.rows for chunk in chunks)]),
        metric=index.metric,
        bits=index.bits,
    )


def neighbour_chunks(
    index: SearchIndex, queries: np.ndarray, k: int, max_entries: int = MAX_ENTRIES
) -> Iterator[Neighbours]:
    """Yield :func:`search_complete`'s result for consecutive groups of queries.

    A group holds at most ``max_entries`` entries, or a single query. Most queries are settled by
    one search somewhat wider than k; the rest, whose K-th shell is wider still, by a range search.
    Argument errors are raised at once, before the first group is asked for.
    """
    queries = _checked_queries(index, queries, k)
    if index.tables is not None:
        return _hashed_chunks(index, index.tables, queries, k, max_entries)
    return _chunks(index, queries, k, max_entries)


def _hashed_chunks(
    index: SearchIndex, tables: MultiHash, queries: np.ndarray, k: int, max_entries: int
) -> Iterator[Neighbours]:
    """Yield what the tables find; the queries that they leave out go to the flat search."""
    plain = replace(index, kind="flat", tables=None)
    step = queries_at_once(tables)
    for start in range(0, len(queries), step):
        group = queries[start : start + step]
        (owner, distance, row), left = nearest(tables, group, k)
        found = ragged(owner, distance.astype(np.int32), row, len(group), "hamming", index.bits)
        for first, end in pairwise([0, *np.flatnonzero(np.diff(left)) + 1, len(group)]):
            if left[first]:
                yield from _chunks(plain, group[first:end], k, max_entries)
                continue
            lims = found.lims[first : end + 1]
            for some, last in _groups(lims[1:] - lims[0], max_entries):
                part = slice(lims[some], lims[last])
                yield Neighbours(
                    lims[some : last + 1] - lims[some],
                    found.distances[part],
                    found.rows[part],
                    "hamming",
                    index.bits,
                )


def _groups(reach: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of queries with at most ``most`` entries, or of one; ``reach`` is cumulative."""
    first = 0
    while first < len(reach):
        spent = reach[first - 1] if first else 0
        end = max(first + 1, int(np.searchsorted(reach, spent + most, side="right")))
        yield first, end
        first = end


def _chunks(
    index: SearchIndex, queries: np.ndarray, k: int, max_entries: int
) -> Iterator[Neighbours]:
    # float32 inner products of vectors of length <= 1 are off by at most D · 2^-24 each
    slack = 0.0 if index.metric == "hamming" else 2.0**-23 * (index.flat.d + 8)
    width = min(index.size, max(64, 3 * k))
    on_gpu = bool(index.gpus) and k <= GPU_MAX_K
    if on_gpu:
        width = min(width, GPU_MAX_K)
    step = max(1, min(QUERY_BLOCK, MAX_ENTRIES // width))
    for start in range(0, len(queries), step):
        block = queries[start : start + step]
        distances, rows = _nearest(index, block, width, on_gpu)
        exact = np.ones(len(block), dtype=bool)
        if index.kind != "flat":
            exact = rows[:, k - 1] < 0
            if exact.any():
                distances[exact], rows[exact] = index.flat.search(block[exact], width)
            distances[rows < 0] = NOTHING
        if index.metric != "hamming":
            distances = -distances  # ascending, like Hamming distances
        limit = distances[:, k - 1] + slack
        settled = (distances[:, -1] > limit) | (width == index.size)
        if index.kind == "hnsw":
            settled |= ~exact  # FAISS has no range search in a graph
        reach = np.cumsum(np.where(settled, width, index.size))
        for first, end in _groups(reach, max_entries):
            part = slice(first, end)
            near = settled[part, None] & (distances[part] <= limit[part, None])
            found = [(np.nonzero(near)[0], distances[part][near], rows[part][near])]
            found += _within(index, block[part], limit[part], ~settled[part], exact[part])
            yield _assemble(index, block[part], k, found)


def _nearest(index: SearchIndex, block: np.ndarray, width: int, on_gpu: bool) -> Found:
    """Return distances (or products) and rows of the nearest, as FAISS's indexes have them."""
    if on_gpu:
        shards = row_shards(index.size, len(index.gpus))
        return search_shards([gpu.search for gpu in index.gpus], shards, block, width)
    found = search_rows(indexed_items(index), block, width) if index.kind == "flat" else None
    return found or index.faiss_index.search(block, width)


def _within(
    index: SearchIndex,
    queries: np.ndarray,
    limit: np.ndarray,
    asked: np.ndarray,
    exact: np.ndarray,
) -> list[Entries]:
    """Return all entries up to the limit of the queries asked for, by range searches."""
    found = []
    for flat in (True, False):
        chosen = asked & (exact == flat)
        for radius in np.unique(limit[chosen]):
            group = np.flatnonzero(chosen & (limit == radius))
            # FAISS takes what is strictly nearer than the radius; limit already holds the slack
            bound = int(radius) + 1 if index.metric == "hamming" else -float(radius)
            engine = index.flat if flat else index.faiss_index
            lims, reached, rows = engine.range_search(queries[group], bound)
            found.append((np.repeat(group, np.diff(lims.astype(np.int64))), reached, rows))
    return found


def _assemble(index: SearchIndex, queries: np.ndarray, k: int, found: list[Entries]) -> Neighbours:
    """Order the entries of all queries by (query, distance, row)."""
    owner = np.concatenate([part[0] for part in found])
    row = np.concatenate([part[2] for part in found])
    n = len(queries)
    if index.metric == "hamming":
        distance = np.concatenate([part[1].astype(np.int64) for part in found])
        key = np.sort((owner * (index.bits + 1) + distance) * index.size + row)
        key, row = np.divmod(key, index.size)
        owner, distance = np.divmod(key, index.bits + 1)
        return ragged(owner, distance.astype(np.int32), row, n, "hamming", index.bits)
    distance = pair_distances(indexed_items(index), queries, row, owner)
    order = np.lexsort((row, distance, owner))
    owner, distance, row = owner[order], distance[order], row[order]
    begin = np.searchsorted(owner, np.arange(n))
    keep = distance <= distance[begin + k - 1][owner]
    return ragged(owner[keep], distance[keep], row[keep], n, index.metric, 0)


def _checked_queries(index: SearchIndex, queries: np.ndarray, k: int) -> np.ndarray:
    """Return the queries as the FAISS index takes them."""
    if k < 1:
        raise InputError(f"knn.k is {k}; it must be at least 1")
    if k > index.size:
        raise InputError(
            f"knn.k is {k} but the index holds {index.size} items; lower knn.k or index more"
        )
    binary = queries.dtype == np.uint8
    width = queries.shape[1] * (8 if binary else 1) if queries.ndim == 2 else -1
    dimension = index.faiss_index.d
    if binary != (index.metric == "hamming") or width != dimension:
        raise InputError(
            f"queries of shape {queries.shape} ({queries.dtype}) do not fit an index of "
            f"{dimension} {'bits' if index.bits else 'real values'}; use one model for both"
        )
    if binary:
        return np.ascontiguousarray(queries)
    if not np.isfinite(queries).all():
        raise InputError("the query vectors contain NaN or infinity; did the training diverge?")
    if index.metric == "asymmetric":  # B is a power of two: the division is exact
        return np.ascontiguousarray(queries / dimension, dtype=np.float32)
    return unit_rows(queries)


def rerank_by_cosine(
    candidates: Neighbours, queries: np.ndarray, items: np.ndarray, at_most: int | None = None
) -> Neighbours:
    """Order each query's candidates anew by 1 - cos of real vectors.

    ``queries`` (n, D) are any real vectors, ``items`` (M, D) float32 unit vectors of the index's
    rows. ``at_most`` keeps that many candidates a query, the first by (distance, row); None keeps
    all. No candidate is dropped, so the result may reach beyond the K-th distance.
    """
    counts = np.diff(candidates.lims)
    owner = np.repeat(np.arange(len(candidates)), counts)
    row = candidates.rows
    if at_most is not None:
        first = np.arange(len(owner)) - candidates.lims[:-1][owner] < at_most
        owner, row = owner[first], row[first]
    distance = pair_distances(items, unit_rows(queries), row, owner)
    order = np.lexsort((row, distance, owner))
    return ragged(owner[order], distance[order], row[order], len(candidates), "cosine", 0)
