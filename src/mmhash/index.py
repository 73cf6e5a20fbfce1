"""Exact nearest neighbours, with the last shell of equal distances complete.

Hamming distances tie almost always, so "the K nearest" is rarely a well-defined set: which of the
items at the K-th distance are returned depends on the order of insertion. A search here returns
every item at a distance up to the K-th smallest, so that voting can treat the tied alike.

Binary codes (uint8, 8 bits a byte) are compared by Hamming distance in ``faiss.IndexBinaryFlat``;
real vectors are scaled to length one and compared by the cosine distance 1 - cos in
``faiss.IndexFlatIP``. Where CUDA and a FAISS built for it are present, the first search runs there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np

from mmhash.codes import hamming
from mmhash.errors import InputError
from mmhash.files import atomic_path

Metric = Literal["hamming", "cosine"]

GPU_MAX_K = 2048  # the limit of FAISS's selection kernels
QUERY_BLOCK = 4096
MAX_ENTRIES = 1 << 22
COSINE_STEPS = 1 << 30  # finer than float32 vectors are known, far coarser than float64 noise
BINARY_FLAT, VECTOR_FLAT = b"IBxF", b"IxFI"  # the first four bytes of the files that FAISS writes


@dataclass(frozen=True)
class Neighbours:
    """The neighbours of n queries as a ragged table (CSR).

    Entries ``lims[q]:lims[q + 1]`` belong to query q, sorted by (distance, row). ``distances`` are
    int32 (Hamming) or float32 (1 - cos), ``rows`` int64 rows of the index, ``lims`` (n + 1,) int64.
    ``bits`` is the code length, 0 for real vectors.
    """

    lims: np.ndarray
    distances: np.ndarray
    rows: np.ndarray
    metric: Metric
    bits: int

    def __len__(self) -> int:
        return len(self.lims) - 1


@dataclass(frozen=True)
class SearchIndex:
    """A flat FAISS index; ``gpu`` is its copy on the device (with its resources), or None."""

    flat: Any
    metric: Metric
    gpu: Any = None
    gpu_resources: Any = None

    @property
    def size(self) -> int:
        """Number of indexed items."""
        return int(self.flat.ntotal)

    @property
    def bits(self) -> int:
        """Code length in bits; 0 for real vectors."""
        return int(self.flat.d) if self.metric == "hamming" else 0


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Return (n, D) vectors scaled to length one as float32; a zero vector stays zero."""
    length = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(length == 0, 1, length), dtype=np.float32)


def build(items: np.ndarray, kind: str = "flat", device: str = "cpu") -> SearchIndex:
    """Index packed codes (n, B / 8) uint8 by Hamming distance, or real vectors (n, D) by cosine.

    ``device`` "cuda" puts a copy on the GPU where one is present and FAISS was built for it.
    Raises InputError for an unknown kind, an empty base or values that are not finite.
    """
    if kind != "flat":
        raise InputError(f"index.kind is {kind!r}; allowed: flat")
    if items.ndim != 2 or 0 in items.shape:
        raise InputError(f"nothing to index: the items have shape {items.shape}")
    if items.dtype == np.uint8:
        flat = faiss.IndexBinaryFlat(items.shape[1] * 8)
        flat.add(np.ascontiguousarray(items))
        return _place(flat, "hamming", device)
    if not np.isfinite(items).all():
        raise InputError("the vectors to index contain NaN or infinity; did the training diverge?")
    products = faiss.IndexFlatIP(items.shape[1])
    products.add(unit_rows(items))
    return _place(products, "cosine", device)


def _place(flat: Any, metric: Metric, device: str) -> SearchIndex:
    if metric == "hamming":
        flat.use_heap = False  # selection by counting: faster, and we order the ties ourselves
    if device != "cuda" or not hasattr(faiss, "GpuIndexBinaryFlat") or faiss.get_num_gpus() == 0:
        return SearchIndex(flat, metric)
    resources = faiss.StandardGpuResources()
    if metric == "hamming":  # index_cpu_to_gpu serves float indexes only
        return SearchIndex(flat, metric, faiss.GpuIndexBinaryFlat(resources, flat), resources)
    return SearchIndex(flat, metric, faiss.index_cpu_to_gpu(resources, 0, flat), resources)


def indexed_items(index: SearchIndex) -> np.ndarray:
    """Return what is indexed: packed codes (M, B / 8) uint8, or unit vectors (M, D) float32.

    The vectors are a view of the index's own memory and must not outlive it.
    """
    if index.metric == "hamming":
        return faiss.vector_to_array(index.flat.xb).reshape(index.size, -1)
    vectors = faiss.rev_swig_ptr(index.flat.get_xb(), index.size * index.flat.d)
    return vectors.reshape(index.size, -1)


def save(index: SearchIndex, path: Path | str) -> None:
    """Write the index in FAISS's own format, atomically."""
    write = faiss.write_index_binary if index.metric == "hamming" else faiss.write_index
    with atomic_path(path) as temporary:
        write(index.flat, str(temporary))


def load(path: Path | str, device: str = "cpu") -> SearchIndex:
    """Read what :func:`save` wrote; raises InputError where the file is missing or damaged."""
    path = Path(path)
    try:
        with path.open("rb") as stream:
            kind = stream.read(4)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); run build_index") from None
    if kind not in (BINARY_FLAT, VECTOR_FLAT):
        raise InputError(f"{path}: not a flat FAISS index; run build_index again")
    read = faiss.read_index_binary if kind == BINARY_FLAT else faiss.read_index
    try:
        flat = read(str(path))
    except (RuntimeError, MemoryError):
        raise InputError(f"{path}: damaged FAISS index; run build_index again") from None
    return _place(flat, "hamming" if kind == BINARY_FLAT else "cosine", device)


def search_complete(index: SearchIndex, queries: np.ndarray, k: int) -> Neighbours:
    """Return for each query every item at a distance up to its K-th smallest.

    ``queries`` are packed codes (n, B / 8) uint8 or real vectors (n, D), like the indexed items.
    On a collapsed index (all codes equal) the result holds n × size entries; walk through
    :func:`neighbour_chunks` where that may not fit in memory. Raises InputError where k is larger
    than the index or the queries do not fit it.
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
    return _chunks(index, queries, k, max_entries)


def _chunks(
    index: SearchIndex, queries: np.ndarray, k: int, max_entries: int
) -> Iterator[Neighbours]:
    # float32 inner products of unit vectors are off by at most D · 2^-24 each
    slack = 0.0 if index.metric == "hamming" else 2.0**-23 * (index.flat.d + 8)
    width = min(index.size, max(64, 3 * k))
    searcher = index.flat
    if index.gpu is not None and k <= GPU_MAX_K:
        searcher, width = index.gpu, min(width, GPU_MAX_K)
    for start in range(0, len(queries), QUERY_BLOCK):
        block = queries[start : start + QUERY_BLOCK]
        distances, rows = searcher.search(block, width)
        if index.metric == "cosine":
            distances = -distances  # ascending, like Hamming distances
        limit = distances[:, k - 1] + slack
        settled = (distances[:, -1] > limit) | (width == index.size)
        reach = np.cumsum(np.where(settled, width, index.size))
        first = 0
        while first < len(block):
            spent = reach[first - 1] if first else 0
            end = max(first + 1, int(np.searchsorted(reach, spent + max_entries, side="right")))
            part = slice(first, end)
            yield _assemble(
                index, block[part], k, distances[part], rows[part], limit[part], settled[part]
            )
            first = end


def _assemble(
    index: SearchIndex,
    queries: np.ndarray,
    k: int,
    distances: np.ndarray,
    rows: np.ndarray,
    limit: np.ndarray,
    settled: np.ndarray,
) -> Neighbours:
    """Merge the wide search's rows (settled queries) with range searches (the others)."""
    near = settled[:, None] & (distances <= limit[:, None])
    found = [(np.nonzero(near)[0], distances[near], rows[near])]
    open_queries = np.flatnonzero(~settled)
    for radius in np.unique(limit[open_queries]):
        group = open_queries[limit[open_queries] == radius]
        # FAISS takes what is strictly nearer than the radius; limit already holds cosine's slack
        bound = int(radius) + 1 if index.metric == "hamming" else -float(radius)
        lims, reached, ids = index.flat.range_search(queries[group], bound)
        found.append((np.repeat(group, np.diff(lims.astype(np.int64))), reached, ids))
    owner = np.concatenate([part[0] for part in found])
    row = np.concatenate([part[2] for part in found])
    if index.metric == "hamming":
        distance = np.concatenate([part[1].astype(np.int64) for part in found])
        key = np.sort((owner * (index.bits + 1) + distance) * index.size + row)
        key, row = np.divmod(key, index.size)
        owner, distance = np.divmod(key, index.bits + 1)
        return _ragged(owner, distance.astype(np.int32), row, len(queries), index)
    distance = _cosine_distance(indexed_items(index), queries, row, owner)
    order = np.lexsort((row, distance, owner))
    owner, distance, row = owner[order], distance[order], row[order]
    begin = np.searchsorted(owner, np.arange(len(queries)))
    keep = distance <= distance[begin + k - 1][owner]
    return _ragged(owner[keep], distance[keep], row[keep], len(queries), index)


def _ragged(
    owner: np.ndarray, distance: np.ndarray, row: np.ndarray, n: int, index: SearchIndex
) -> Neighbours:
    lims = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(np.bincount(owner, minlength=n), out=lims[1:])
    return Neighbours(lims, distance, row, index.metric, index.bits)


def _cosine_distance(
    base: np.ndarray, queries: np.ndarray, row: np.ndarray, owner: np.ndarray
) -> np.ndarray:
    """Return 1 - cos of the pairs (queries[owner], base[row]) as float32."""
    result = np.empty(len(row), dtype=np.float32)
    step = max(1, (1 << 22) // base.shape[1])
    for start in range(0, len(row), step):
        part = slice(start, start + step)
        left = queries[owner[part]].astype(np.float64)
        cosine = np.einsum("ij,ij->i", left, base[row[part]].astype(np.float64))
        result[part] = _distance_of_cosine(cosine)
    return result


def _distance_of_cosine(cosine: np.ndarray) -> np.ndarray:
    """Return 1 - cos in [0, 2] as float32, in steps that keep equal vectors tied.

    Sums taken in another order differ in their last bits; float32 alone would show that near 0.
    """
    steps = np.rint((1 - cosine) * COSINE_STEPS) / COSINE_STEPS
    return np.clip(steps, 0, 2).astype(np.float32)


def _checked_queries(index: SearchIndex, queries: np.ndarray, k: int) -> np.ndarray:
    if k < 1:
        raise InputError(f"knn.k is {k}; it must be at least 1")
    if k > index.size:
        raise InputError(
            f"knn.k is {k} but the index holds {index.size} items; lower knn.k or index more"
        )
    binary = queries.dtype == np.uint8
    width = queries.shape[1] * (8 if binary else 1) if queries.ndim == 2 else -1
    if binary != (index.metric == "hamming") or width != index.flat.d:
        raise InputError(
            f"queries of shape {queries.shape} ({queries.dtype}) do not fit an index of "
            f"{index.flat.d} {'bits' if index.bits else 'real values'}; use one model for both"
        )
    if binary:
        return np.ascontiguousarray(queries)
    if not np.isfinite(queries).all():
        raise InputError("the query vectors contain NaN or infinity; did the training diverge?")
    return unit_rows(queries)


def brute_force(items: np.ndarray, queries: np.ndarray, k: int) -> Neighbours:
    """Return what :func:`search_complete` must return, by comparing every pair.

    Memory grows with n × size: the reference for tests and for the recall of other indexes.
    """
    if items.dtype == np.uint8:
        metric: Metric = "hamming"
        distances = hamming(queries, items).astype(np.int32)
    else:
        metric = "cosine"
        left, right = unit_rows(queries).astype(np.float64), unit_rows(items)
        distances = np.empty((len(queries), len(items)), dtype=np.float32)
        for start in range(0, len(items), QUERY_BLOCK):
            part = slice(start, start + QUERY_BLOCK)
            distances[:, part] = _distance_of_cosine(left @ right[part].astype(np.float64).T)
    kth = np.partition(distances, k - 1, axis=1)[:, k - 1 : k]
    owner, row = np.nonzero(distances <= kth)
    order = np.lexsort((row, distances[owner, row], owner))
    owner, row = owner[order], row[order]
    lims = np.searchsorted(owner, np.arange(len(queries) + 1)).astype(np.int64)
    bits = items.shape[1] * 8 if metric == "hamming" else 0
    return Neighbours(lims, distances[owner, row], row, metric, bits)


def kth_distance(neighbours: Neighbours, k: int) -> np.ndarray:
    """Return each query's K-th smallest distance, (n,), from a search of at least k."""
    if len(neighbours) and np.diff(neighbours.lims).min() < k:
        raise InputError(f"{k} neighbours wanted, but the search was made with a smaller k")
    return neighbours.distances[neighbours.lims[:-1] + k - 1]


def tie_aware_recall(found: np.ndarray, reference_kth_distance: np.ndarray) -> float:
    """Return the share of found items at a distance up to the true K-th, over all queries.

    ``found`` (n, K) holds the distances of the K items that an index returned (what it could not
    fill carries a distance larger than any other, as FAISS does); ``reference_kth_distance`` (n,).
    Any item of the K-th shell counts: which of the tied are returned is not an error.
    """
    return float((found <= reference_kth_distance[:, None]).mean())
