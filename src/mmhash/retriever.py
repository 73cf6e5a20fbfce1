"""A search index with the labels of its rows: what answers a query."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from scipy import sparse

from mmhash.errors import InputError
from mmhash.files import read_json, read_npy, sha256_file
from mmhash.index.kinds import SearchIndex, build, build_asymmetric, indexed_items, load
from mmhash.index.neighbours import Neighbours, kth_distance
from mmhash.index.reference import brute_force, tie_aware_recall
from mmhash.index.search import neighbour_chunks, rerank_by_cosine, search_complete
from mmhash.index.vectors import unit_rows
from mmhash.params import Knn
from mmhash.voting import Ties, Voting, vote, weights

Distance = Literal["hamming", "cosine", "hybrid", "asymmetric"]

RECALL_QUERIES = 200  # compared with every item, so that the recall of any kind of index is known


@dataclass(frozen=True)
class Retriever:
    """An index, what its rows are, and how its neighbours are found and vote.

    ``labels`` (M, C) uint8 and ``image_id`` (M,) int64 belong to the rows of ``index``, as does
    ``soft`` (M, B) real, the soft codes h that ``cosine`` and ``hybrid`` compare.

    ``distance``: ``hamming`` searches ``index``. ``cosine`` (soft query, soft item) and
    ``asymmetric`` (soft query h, binary item b; 1 - hᵀb / B) compare every item exactly, whatever
    the kind of ``index``. ``hybrid`` takes the Hamming neighbours from ``index`` and orders them by
    the cosine of the soft codes: with ``ties="expected"`` all items up to the distance of the
    ``rerank``-th, with ``row_id`` the first ``rerank`` by row. Without a hash layer ``index``
    holds real vectors z, and the distance is their cosine whatever ``distance`` says. ``device``
    "cuda" puts what ``cosine`` and ``asymmetric`` search on the GPU.
    """

    index: SearchIndex
    labels: np.ndarray
    image_id: np.ndarray
    k: int
    voting: Voting
    tau: float
    ties: Ties
    distance: Distance = "hamming"
    threshold: float = 0.8
    rerank: int = 100
    soft: np.ndarray | None = None
    device: str = "cpu"

    def score(
        self, queries: np.ndarray, soft: np.ndarray | None = None
    ) -> tuple[np.ndarray, pa.Table]:
        """Let the ``k`` nearest vote for each query.

        ``queries`` are packed codes (n, B / 8) uint8 or, without a hash layer, real vectors (n, D);
        ``soft`` (n, B) float32 are the soft codes of the same queries, which every distance but
        ``hamming`` needs. Returns the scores (n, C) float32 in [0, 1] and a table with one row a
        query: image id, distance and weight of its first ``k`` neighbours, nearest first. With
        ``ties="expected"`` items beyond the k-th of a tie vote too; the table lists the first k by
        row, so that their weights need not sum to 1. Raises InputError where soft codes are
        missing or do not fit.
        """
        scores: list[np.ndarray] = []
        parts: dict[str, list[np.ndarray]] = {"neighbour_ids": [], "distances": [], "weights": []}
        for found, weight, votes in self.votes(queries, soft):
            scores.append(votes)
            first = (found.lims[:-1, None] + np.arange(self.k)).ravel()
            parts["neighbour_ids"].append(self.image_id[found.rows[first]])
            parts["distances"].append(found.distances[first].astype(np.float32))
            parts["weights"].append(weight[first].astype(np.float32))
        columns = {
            name: pa.FixedSizeListArray.from_arrays(np.concatenate(blocks), self.k)
            for name, blocks in parts.items()
        }
        return np.concatenate(scores), pa.table(columns)

    def votes(
        self, queries: np.ndarray, soft: np.ndarray | None = None
    ) -> Iterator[tuple[Neighbours, np.ndarray, np.ndarray]]:
        """Yield neighbours, their weights and the scores (n, C) of consecutive groups of queries.

        Arguments as in :meth:`score`. The neighbours are all that may vote, ``k`` or more of each
        query; entries of weight 0 do not.
        """
        for found in self._neighbours(queries, soft):
            weight = weights(found, self.k, self.voting, self.tau, self.ties, self.threshold)
            yield found, weight, vote(found, self._sparse_labels, weight)

    def recall(self, queries: np.ndarray) -> float:
        """Return the tie-aware recall of ``index`` at ``k`` over the first queries.

        ``queries`` as in :meth:`score`; the reference compares them with every item by the
        distance of ``index``: Hamming, or cosine without a hash layer.
        """
        sample = queries[:RECALL_QUERIES]
        found = search_complete(self.index, sample, self.k)
        first = found.lims[:-1, None] + np.arange(self.k)
        truth = brute_force(indexed_items(self.index), sample, self.k)
        return tie_aware_recall(found.distances[first], kth_distance(truth, self.k))

    def latency(self, queries: np.ndarray, soft: np.ndarray | None = None) -> dict[str, float]:
        """Time the search for the neighbours that vote; keys as in :func:`query_latency`.

        Arguments and errors as in :meth:`score`.
        """

        def search(part: slice) -> Iterator[Neighbours]:
            return self._neighbours(queries[part], None if soft is None else soft[part])

        return _latency(search, len(queries))

    @property
    def searches_index_alone(self) -> bool:
        """Whether the neighbours are those that ``index`` finds, without any soft code."""
        return self.index.metric == "cosine" or self.distance == "hamming"

    def _neighbours(self, queries: np.ndarray, soft: np.ndarray | None) -> Iterator[Neighbours]:
        """Yield the neighbours of consecutive groups of queries, k or more of each."""
        if self.searches_index_alone:
            yield from neighbour_chunks(self.index, queries, self.k)
            return
        if soft is None or soft.shape != (len(queries), self.index.bits):
            shape = None if soft is None else soft.shape
            raise InputError(
                f"knn.distance={self.distance} needs a soft code of {self.index.bits} values for "
                f"each of the {len(queries)} queries, not {shape}"
            )
        if self.distance != "hybrid":
            yield from neighbour_chunks(self._soft_index, soft, self.k)
            return
        wanted = max(self.k, min(self.rerank, self.index.size))
        at_most = wanted if self.ties == "row_id" else None
        done = 0
        for found in neighbour_chunks(self.index, queries, wanted):
            group = soft[done : done + len(found)]
            done += len(found)
            yield rerank_by_cosine(found, group, self._unit_soft, at_most)

    @cached_property
    def _sparse_labels(self) -> sparse.csr_array:
        """The labels as :func:`mmhash.voting.vote` takes them for many groups of queries."""
        return sparse.csr_array(self.labels, dtype=np.float64)

    @cached_property
    def _soft_index(self) -> SearchIndex:
        """The exact index of the real-valued comparison."""
        if self.distance == "asymmetric":
            return build_asymmetric(indexed_items(self.index), self.device)
        return build(self._unit_soft, device=self.device)

    @cached_property
    def _unit_soft(self) -> np.ndarray:
        """The soft codes of the items as unit vectors (M, B) float32."""
        expected = (self.index.size, self.index.bits)
        if self.soft is None or self.soft.shape != expected:
            shape = None if self.soft is None else self.soft.shape
            raise InputError(
                f"knn.distance={self.distance} needs the items' soft codes, {expected}, not "
                f"{shape}; run build_index again"
            )
        return unit_rows(self.soft)


def knn_settings(knn: Knn) -> dict[str, Any]:
    """Return the arguments of :class:`Retriever` that stand in the ``knn`` block."""
    names = {"k", "voting", "tau", "ties", "distance", "threshold", "rerank"}
    return knn.model_dump(include=names)


def open_retriever(knn: Knn, folder: Path, device: str = "cpu") -> Retriever:
    """Open what build_index wrote to ``folder`` (``index/``), to be searched as ``knn`` says.

    ``device`` and errors as for :func:`read_index`.
    """
    index, _, arrays = read_index(folder, ("labels", "image_id"), device)
    return Retriever(
        index,
        arrays["labels"],
        arrays["image_id"],
        **knn_settings(knn),
        soft=arrays.get("soft"),
        device=device,
    )


def read_index(
    folder: Path, names: Sequence[str], device: str = "cpu"
) -> tuple[SearchIndex, dict[str, Any], dict[str, np.ndarray]]:
    """Read what build_index wrote to ``folder``: the index, ``meta.json``, arrays by name.

    ``names`` are those wanted of the arrays that have a row an item; where the index holds codes,
    ``soft`` comes with them. ``device`` "cuda" searches on the GPU where the kind allows it. Raises
    InputError naming the file that is missing, damaged, or does not belong to the others.
    """
    file = folder / "index.faiss"
    meta = read_json(folder / "meta.json")
    if not file.is_file():
        raise InputError(f"{file}: no such file; run build_index")
    if sha256_file(file) != meta.get("sha256"):
        raise InputError(
            f"{file}: not the {meta.get('kind')} index that {folder / 'meta.json'} describes; "
            "damaged or replaced: run build_index again"
        )
    index = load(file, device, meta.get("kind"))
    arrays = {}
    for name in (*names, *(["soft"] if index.metric == "hamming" else [])):
        arrays[name] = read_npy(folder / f"{name}.npy")
        if len(arrays[name]) != index.size:
            raise InputError(
                f"{folder / name}.npy: {len(arrays[name])} rows, but {file} holds {index.size} "
                "items; run build_index again"
            )
    return index, meta, arrays


def query_latency(index: SearchIndex, queries: np.ndarray, k: int) -> dict[str, float]:
    """Time the search: milliseconds a single query (mean, p50, p99) and queries a second batched.

    At most 200 queries are timed one by one, after ten that warm the caches.
    """
    return _latency(lambda part: neighbour_chunks(index, queries[part], k), len(queries))


def _latency(search: Callable[[slice], Iterator[Neighbours]], count: int) -> dict[str, float]:
    """Time a search of ``count`` queries, of which it is given those to look for."""

    def seconds(part: slice) -> float:
        start = time.perf_counter()
        for _ in search(part):
            pass
        return time.perf_counter() - start

    for place in range(min(10, count)):
        seconds(slice(place, place + 1))
    single = [1e3 * seconds(slice(place, place + 1)) for place in range(min(200, count))]
    together = seconds(slice(None))
    return {
        "query_ms_mean": round(float(np.mean(single)), 4),
        "query_ms_p50": round(float(np.percentile(single, 50)), 4),
        "query_ms_p99": round(float(np.percentile(single, 99)), 4),
        "queries_per_second_batched": round(count / together, 1),
    }
