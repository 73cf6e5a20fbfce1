"""Exact search with the rows shared out: among GPUs, or among threads where queries are few.

FAISS gives each query of a batch a thread of its own, so that a query that comes alone, as from
``mmhash serve``, has one core of many. Here the rows are cut in consecutive shards, each searched
at once with the others, and the nearest of all are the nearest of what the shards found. Nothing
about it is stored: an index has one file, and the result does not depend on the number of shards.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import faiss
import numpy as np

Found = tuple[np.ndarray, np.ndarray]  # distances and rows of each query's nearest, (n, width)
Search = Callable[[np.ndarray, int], Found]

# Fewer codes of 64 bits are compared in a few milliseconds, which more threads hardly shorten
ROWS_A_SHARD = 1 << 21


def row_shards(size: int, most: int) -> list[slice]:
    """Cut ``size`` rows in up to ``most`` consecutive shards of nearly equal length.

    No shard has fewer rows than ``ROWS_A_SHARD``, unless there is but one.
    """
    count = max(1, min(most, size // ROWS_A_SHARD))
    edges = [size * place // count for place in range(count + 1)]
    return [slice(*edge) for edge in pairwise(edges)]


def search_rows(items: np.ndarray, queries: np.ndarray, width: int) -> Found | None:
    """Search few queries among many rows on all cores; None where a batch search does better.

    ``items`` are packed codes (M, B / 8) uint8, compared by Hamming distance, or vectors (M, D)
    float32, compared by inner product; ``queries`` (n, ·) likewise. The nearest come first, as
    FAISS's flat indexes have them: distances ascend, products descend.
    """
    cores = faiss.omp_get_max_threads()
    shards = row_shards(len(items), cores)
    if len(queries) >= cores or len(shards) == 1:
        return None
    return search_shards([_compare(items[shard]) for shard in shards], shards, queries, width)


def search_shards(
    searches: Sequence[Search], shards: Sequence[slice], queries: np.ndarray, width: int
) -> Found:
    """Search all shards at once and return the ``width`` nearest of each query among all of them.

    ``searches[i]`` answers for the rows ``shards[i]``, numbered from 0. Of equally near items the
    earlier row comes first if each shard has it so; which of those tied at the last place are
    returned is as arbitrary as in a search by FAISS.
    """
    if len(searches) == 1:
        return searches[0](queries, width)
    wanted = [min(width, shard.stop - shard.start) for shard in shards]
    found = list(_threads(len(shards)).map(lambda search, k: search(queries, k), searches, wanted))
    distances = np.concatenate([part[0] for part in found], axis=1)
    rows = [part[1] + shard.start for part, shard in zip(found, shards, strict=True)]
    order = np.argsort(
        distances if distances.dtype == np.int32 else -distances, axis=1, kind="stable"
    )[:, :width]
    nearest = np.take_along_axis(np.concatenate(rows, axis=1), order, axis=1)
    return np.take_along_axis(distances, order, axis=1), nearest


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    """Return threads that stay, since to start them takes as long as to compare a million codes."""
    # FAISS would start a team of all cores in each
    return ThreadPoolExecutor(count, initializer=lambda: faiss.omp_set_num_threads(1))


def _compare(items: np.ndarray) -> Search:
    """Return the search that compares a query with each of ``items``."""
    if items.dtype == np.uint8:
        return lambda queries, k: faiss.knn_hamming(queries, items, k, variant="mc")
    return lambda queries, k: faiss.knn(queries, items, k, metric=faiss.METRIC_INNER_PRODUCT)
