"""A search index with the labels of its rows: what answers a query."""

import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy import sparse

from mmhash.index import (
    SearchIndex,
    brute_force,
    indexed_items,
    kth_distance,
    neighbour_chunks,
    search_complete,
    tie_aware_recall,
)
from mmhash.voting import Ties, Voting, vote, weights

RECALL_QUERIES = 200  # compared with every item, so that the recall of any kind of index is known


@dataclass(frozen=True)
class Retriever:
    """An index, what its rows are, and how its neighbours vote.

    ``labels`` (M, C) uint8 and ``image_id`` (M,) int64 belong to the rows of ``index``.
    """

    index: SearchIndex
    labels: np.ndarray
    image_id: np.ndarray
    k: int
    voting: Voting
    tau: float
    ties: Ties

    def score(self, queries: np.ndarray) -> tuple[np.ndarray, pa.Table]:
        """Let the ``k`` nearest vote for each query.

        ``queries`` are packed codes (n, B / 8) uint8 or real vectors (n, D). Returns the scores
        (n, C) float32 in [0, 1] and a table with one row a query: image id, distance and weight
        of its first ``k`` neighbours, nearest first. With ``ties="expected"`` items beyond the
        k-th of a tie vote too; the table lists the first k by row, so that their weights need
        not sum to 1.
        """
        votes_of = sparse.csr_array(self.labels, dtype=np.float64)
        scores: list[np.ndarray] = []
        parts: dict[str, list[np.ndarray]] = {"neighbour_ids": [], "distances": [], "weights": []}
        for found in neighbour_chunks(self.index, queries, self.k):
            scores.append(vote(found, votes_of, self.k, self.voting, self.tau, self.ties))
            weight = weights(found, self.k, self.voting, self.tau, self.ties)
            first = (found.lims[:-1, None] + np.arange(self.k)).ravel()
            parts["neighbour_ids"].append(self.image_id[found.rows[first]])
            parts["distances"].append(found.distances[first].astype(np.float32))
            parts["weights"].append(weight[first].astype(np.float32))
        columns = {
            name: pa.FixedSizeListArray.from_arrays(np.concatenate(blocks), self.k)
            for name, blocks in parts.items()
        }
        return np.concatenate(scores), pa.table(columns)

    def recall(self, queries: np.ndarray) -> float:
        """Return the tie-aware recall at ``k`` over the first queries, against every item."""
        sample = queries[:RECALL_QUERIES]
        found = search_complete(self.index, sample, self.k)
        first = found.lims[:-1, None] + np.arange(self.k)
        truth = brute_force(indexed_items(self.index), sample, self.k)
        return tie_aware_recall(found.distances[first], kth_distance(truth, self.k))


def query_latency(index: SearchIndex, queries: np.ndarray, k: int) -> dict[str, float]:
    """Time the search: milliseconds a single query (mean, p50, p99) and queries a second batched.

    At most 200 queries are timed one by one, after ten that warm the caches.
    """
    for query in queries[:10]:
        search_complete(index, query[None], k)
    single = []
    for query in queries[:200]:
        start = time.perf_counter()
        search_complete(index, query[None], k)
        single.append(1e3 * (time.perf_counter() - start))
    start = time.perf_counter()
    for _ in neighbour_chunks(index, queries, k):
        pass
    seconds = time.perf_counter() - start
    return {
        "query_ms_mean": round(float(np.mean(single)), 4),
        "query_ms_p50": round(float(np.percentile(single, 50)), 4),
        "query_ms_p99": round(float(np.percentile(single, 99)), 4),
        "queries_per_second_batched": round(len(queries) / seconds, 1),
    }
