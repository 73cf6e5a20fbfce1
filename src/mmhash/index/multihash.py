"""Multi-index hashing of packed codes (Norouzi, Punjani and Fleet 2012), on arrays.

A code of B bits is cut in m pieces, each the key of one table of all items. By the pigeonhole
principle an item within m (f + 1) - 1 bits of the query lies within f bits of it in one piece at
least, so the cells up to f bits away in every table hold all items up to that distance.

A search widens f from 0 on. It stops where the k-th nearest of what it has met lies no further
than ``SLACK_A_PIECE`` × m bits beyond the radius so guaranteed: most of what is that near shares
a nearer piece already. Without slack the search is exact and takes more than twice the time; with
two bits it loses a sixth of the neighbours (``benchmarks/index_choices.py``). A query whose cells
hold more than a share of all items is left to the flat search, which is faster then, and exact; so
are the queries of a collapsed index, in which one cell holds everything.

A table is the items' codes and rows in the order of their pieces, with the place where each cell
begins: 12 bytes an item of 64 bits, and 4 a cell, of which there are fewer than two an item (256
at least). FAISS's ``IndexBinaryMultiHash`` keeps hash maps instead and a set of the rows seen,
which among millions of items takes longer than comparing all of them. What this takes stands in
``benchmarks/results`` (``benchmarks/index.py``).
"""

from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise
from math import ceil, log2

import numpy as np

from mmhash.codes import words
from mmhash.errors import InputError
from mmhash.index.neighbours import Entries

MIN_PIECE = 8  # bits: shorter keys would make more tables than they save cells
SLACK_A_PIECE = 1
MAX_SHARE = 1 / 16  # of the items in a query's cells, above which the flat search is faster
WORK_AT_ONCE = 1 << 24  # entries met by the queries that are searched together, at most


@dataclass(frozen=True)
class Table:
    """The items in the order of one piece, ``first`` to ``last`` (bits of the code).

    Cell c holds the places ``begin[c]:begin[c + 1]`` of ``rows`` (n,) and ``words`` (w, n).
    """

    first: int
    last: int
    begin: np.ndarray
    rows: np.ndarray
    words: list[np.ndarray]


@dataclass(frozen=True)
class MultiHash:
    """The tables of one base of codes."""

    tables: list[Table]
    size: int
    bits: int

    @property
    def bytes(self) -> int:
        """Memory that the tables take."""
        arrays = [a for t in self.tables for a in (t.begin, t.rows, *t.words)]
        return sum(array.nbytes for array in arrays)


def build_tables(codes: np.ndarray) -> MultiHash:
    """Index packed codes (n, B / 8) uint8; n < 2^32.

    Pieces: as few as keep a table from having twice as many cells as items, of 8 bits at least.
    """
    n, bits = len(codes), codes.shape[1] * 8
    if n >= 1 << 32:
        raise InputError(f"index.kind=multihash holds at most 2^32 items, not {n}; use ivf")
    pieces = ceil(bits / max(MIN_PIECE, log2(n)))
    cuts = [bits * piece // pieces for piece in range(pieces + 1)]
    columns = words(codes)
    tables = []
    for first, last in pairwise(cuts):
        key = piece_values(codes, first, last) << np.uint64(32)
        key |= np.arange(n, dtype=np.uint64)
        key.sort()
        rows = key.astype(np.uint32)
        key >>= np.uint64(32)
        begin = np.searchsorted(key, np.arange((1 << (last - first)) + 1, dtype=np.uint64))
        tables.append(
            Table(first, last, begin.astype(np.uint32), rows, [column[rows] for column in columns])
        )
    return MultiHash(tables, n, bits)


def piece_values(codes: np.ndarray, first: int, last: int) -> np.ndarray:
    """Return the bits ``first`` to ``last`` of packed codes (n, B / 8) as numbers (n,) uint64."""
    value = np.zeros(len(codes), dtype=np.uint64)
    for place, byte in enumerate(range(first // 8, ceil(last / 8))):
        value |= codes[:, byte].astype(np.uint64) << np.uint64(8 * place)
    return (value >> np.uint64(first % 8)) & np.uint64((1 << (last - first)) - 1)


@cache
def flips(width: int, count: int) -> np.ndarray:
    """Return all numbers of ``width`` bits of which ``count`` are set, uint32."""
    chosen = combinations((1 << bit for bit in range(width)), count)
    return np.array([sum(one) for one in chosen], dtype=np.uint32)


def nearest(hashed: MultiHash, queries: np.ndarray, k: int) -> tuple[Entries, np.ndarray]:
    """Return what the tables hold up to each query's k-th distance, and who is left out.

    ``queries`` (q, B / 8) uint8; take few at once (:func:`queries_at_once`). The entries, in the
    order of (query, distance, row), are at least k of a query, the shell of the k-th complete among
    what its cells hold. ``left`` (q,) bool: queries without entries, whose cells
    would hold more than ``MAX_SHARE`` of the items.
    """
    asked = words(queries)
    pieces = [piece_values(queries, t.first, t.last).astype(np.uint32) for t in hashed.tables]
    work = np.zeros(len(queries))
    limit = np.full(len(queries), hashed.bits)  # what is further cannot be among the k nearest
    left = np.zeros(len(queries), dtype=bool)
    live = np.arange(len(queries))
    met: Entries = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))
    for count in range(hashed.bits + 1):
        spans = [
            _cells(table, piece[live], count)
            for table, piece in zip(hashed.tables, pieces, strict=True)
        ]
        work[live] += sum(length.sum(axis=1) + length.shape[1] for _, length in spans)
        within = work[live] <= hashed.size * MAX_SHARE
        left[live[~within]] = True
        live = live[within]
        if not len(live):
            break
        new = [
            _meet(table, start[within], length[within], asked, live, limit)
            for table, (start, length) in zip(hashed.tables, spans, strict=True)
        ]
        met, kth = _distinct(hashed, [met, *new], len(queries), k)
        limit = np.minimum(limit, kth)
        sure = len(hashed.tables) * (count + 1) - 1
        # B + 1 stands for fewer than k met: such a query goes on, whatever the slack allows
        enough = min(sure + SLACK_A_PIECE * len(hashed.tables), hashed.bits)
        live = live[kth[live] > enough]
    kept = ~left[met[0]]
    return (met[0][kept], met[1][kept], met[2][kept]), left


def queries_at_once(hashed: MultiHash) -> int:
    """Return how many queries :func:`nearest` may take without meeting too many entries."""
    return int(np.clip(WORK_AT_ONCE / max(1, hashed.size * MAX_SHARE), 1, 256))


def _cells(table: Table, piece: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return begin and length of the cells ``count`` bits away from each piece, (q, cells)."""
    cell = piece[:, None] ^ flips(table.last - table.first, count)
    start = table.begin[cell]
    return start, table.begin[cell + 1] - start


def _meet(
    table: Table,
    start: np.ndarray,
    length: np.ndarray,
    asked: np.ndarray,
    live: np.ndarray,
    limit: np.ndarray,
) -> Entries:
    """Return the entries of cells (q, cells) that lie up to the limit of their query."""
    count = length.sum(axis=1, dtype=np.int64)
    filled = np.flatnonzero(length)
    run = length.ravel()[filled].astype(np.int64)
    ahead = start.ravel()[filled] - (np.cumsum(run) - run)
    place = np.repeat(ahead, run)
    place += np.arange(len(place))
    distance = np.zeros(len(place), dtype=np.uint16)
    for column, query in zip(table.words, asked, strict=True):
        distance += np.bitwise_count(column[place] ^ np.repeat(query[live], count))
    near = np.flatnonzero(distance <= np.repeat(limit[live].astype(np.uint16), count))
    owner = live[np.searchsorted(np.cumsum(count), near, side="right")]
    return owner, distance[near].astype(np.int64), table.rows[place[near]].astype(np.int64)


def _distinct(
    hashed: MultiHash, parts: list[Entries], n: int, k: int
) -> tuple[Entries, np.ndarray]:
    """Return each entry once, up to the k-th of its query, and the k-th distances (n,).

    The k-th distance is B + 1 where fewer than k were met.
    """
    owner, distance, row = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    levels = hashed.bits + 1
    # an item is met once a table at most: k × tables entries are k items or more
    near = _up_to(owner, distance, n, k * len(hashed.tables), levels)[1]
    key = (owner[near] * levels + distance[near]) * hashed.size + row[near]
    key = np.unique(key)
    key, row = np.divmod(key, hashed.size)
    owner, distance = np.divmod(key, levels)
    kth, near = _up_to(owner, distance, n, k, levels)
    return (owner[near], distance[near], row[near]), kth


def _up_to(
    owner: np.ndarray, distance: np.ndarray, n: int, k: int, levels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance up to which each query has k entries, and which entries lie there."""
    held = np.bincount(owner * levels + distance, minlength=n * levels).reshape(n, levels)
    reached = held.cumsum(axis=1) >= k
    kth = np.where(reached[:, -1], reached.argmax(axis=1), levels)
    return kth, distance <= kth[owner]
