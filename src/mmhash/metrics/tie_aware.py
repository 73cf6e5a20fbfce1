"""Average precision where items tie: its exact expectation over all orders of the tied, and bounds.

McSherry & Najork, "Computing information retrieval performance measures efficiently in the presence
of tied scores" (ECIR 2008). Items at equal distance form a shell. With N items and R relevant ones
nearer, a shell of n items with r relevant ones in random order adds to Σ precision at the relevant

    E = r/n · Σ_{i=1..n} [R + 1 + (i-1)(r-1)/(n-1)] / (N + i)
      = r/n · [ (R+1) h + (r-1)/(n-1) · (n - (N+1) h) ],      h = H(N+n) - H(N),

with H the harmonic numbers. Where a cut-off falls inside a shell, the expectation is taken over the
one random count that matters (hits among the places left, or the place of the last relevant item);
given that count the formula above applies to the part of the shell before the cut-off.

Best and worst are the extremes over all orders of the tied.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

NEGLIGIBLE = 45.0  # e^-45 of the most probable value: below the last bit of the sum
BLOCK_ENTRIES = 1 << 20


class Bounded(NamedTuple):
    """A figure of each query, (Q,) each: expectation over orders of the tied, worst and best."""

    expected: np.ndarray
    worst: np.ndarray
    best: np.ndarray


@dataclass(frozen=True)
class Shells:
    """The shells that hold a relevant item, of all queries, nearest first within a query.

    ``query``: owner, ascending; ``before`` and ``relevant_before``: N and R, counted over all
    nearer shells; ``size`` and ``relevant``: n and r; all (shells,) int64. ``total_relevant`` is
    (Q,), ``database`` the number of items ranked. A shell without a relevant item changes no
    figure of this module.
    """

    query: np.ndarray
    before: np.ndarray
    relevant_before: np.ndarray
    size: np.ndarray
    relevant: np.ndarray
    total_relevant: np.ndarray
    database: int

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Add one value a shell up to one a query, (Q,)."""
        total = np.bincount(self.query, weights=values, minlength=len(self.total_relevant))
        return total.astype(np.float64)  # without any shell it counts, in integers

    def within(self, k: int) -> "Shells":
        """Return the shells that begin before place k."""
        near = self.before < k
        return replace(
            self,
            query=self.query[near],
            before=self.before[near],
            relevant_before=self.relevant_before[near],
            size=self.size[near],
            relevant=self.relevant[near],
        )

    @cached_property
    def precision_sums(self) -> Bounded:
        """Σ precision at the relevant items of each whole shell, (shells,) each."""
        h = _harmonic_sum(self.database, self.before, self.before + self.size)
        last = self.before + self.size - self.relevant
        return Bounded(
            _expected_sum(self.before, self.relevant_before, self.size, self.relevant, h),
            _packed_sum(self.relevant_before, self.relevant, last, self.database),
            _packed_sum(self.relevant_before, self.relevant, self.before, self.database),
        )


def shells_from_levels(size: np.ndarray, relevant: np.ndarray) -> Shells:
    """Return the shells of (Q, L) counts of items and of relevant items at each distance level."""
    query, level = np.nonzero(relevant)
    at = (query, level)
    return Shells(
        query=query,
        before=(size.cumsum(axis=1) - size)[at],
        relevant_before=(relevant.cumsum(axis=1) - relevant)[at],
        size=size[at],
        relevant=relevant[at],
        total_relevant=relevant.sum(axis=1),
        database=int(size[0].sum()) if len(size) else 0,
    )


def one_shell(total_relevant: np.ndarray, database: int) -> Shells:
    """Return rankings in which all items tie: a random order, whose expectation is chance level."""
    return shells_from_levels(
        np.full((len(total_relevant), 1), database, dtype=np.int64),
        np.asarray(total_relevant, dtype=np.int64)[:, None],
    )


@lru_cache(maxsize=2)
def _harmonic(n: int) -> np.ndarray:
    # small differences are multiplied by large places: keep all the digits there are
    return np.cumsum(np.concatenate([[0], 1 / np.arange(1, n + 1, dtype=np.longdouble)]))


def _harmonic_sum(database: int, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Return Σ_{i=start+1..stop} 1/i as float64."""
    table = _harmonic(database)
    return (table[stop] - table[start]).astype(np.float64)


def _expected_sum(
    N: np.ndarray, R: np.ndarray, n: np.ndarray, r: np.ndarray, h: np.ndarray
) -> np.ndarray:
    """Return the expected Σ precision at the relevant items of a shell; h = H(N+n) - H(N)."""
    slope = (r - 1) / np.maximum(n - 1, 1)
    return r / np.maximum(n, 1) * ((R + 1) * h + slope * (n - (N + 1) * h))


def _packed_sum(R: np.ndarray, r: np.ndarray, start: np.ndarray, database: int) -> np.ndarray:
    """Return Σ_{j=1..r} (R + j) / (start + j): r relevant items in a row from ``start`` on."""
    return r + (R - start) * _harmonic_sum(database, start, start + r)


def average_precision_all(s: Shells) -> Bounded:
    """Average precision over the whole ranking, (Q,) each; 0 without a relevant item."""
    count = np.maximum(s.total_relevant, 1)
    return Bounded(*(s.sum(part) / count for part in s.precision_sums))


def hits_within(s: Shells, k: int) -> Bounded:
    """Number of relevant items among the first k, (Q,) each.

    Of the shell that the cut-off parts, as many irrelevant items as there are may come first, or
    as many relevant ones.
    """
    s = s.within(k)
    places = np.minimum(k - s.before, s.size)
    return Bounded(
        s.sum(places * s.relevant / s.size),
        s.sum(np.maximum(0, places - (s.size - s.relevant))),
        s.sum(np.minimum(places, s.relevant)),
    )


def average_precision_retrieved(s: Shells, k: int) -> Bounded:
    """AP over the first k retrieved, divided by the hits among them, (Q,) each; 0 without a hit.

    In the shell that the cut-off parts, X ~ Hypergeometric(n, r, m) of the m places left are hits;
    both the sum and the divisor depend on X. ``k`` is limited to the size of the database.
    """
    k = min(k, s.database)
    s = s.within(k)
    whole = s.before + s.size <= k
    sums = [s.sum(np.where(whole, part, 0)) for part in s.precision_sums]
    hits = s.sum(np.where(whole, s.relevant, 0))
    figures = [total / np.maximum(hits, 1) for total in sums]

    cut = np.flatnonzero(~whole)  # at most one shell a query
    owner, N, R, n, r = (
        field[cut] for field in (s.query, s.before, s.relevant_before, s.size, s.relevant)
    )
    m = k - N
    expected, worst, best = (total[owner] for total in sums)
    h = _harmonic_sum(s.database, N, N + m)
    low, high = np.maximum(0, m - (n - r)), np.minimum(m, r)

    def log_mass(x: np.ndarray) -> np.ndarray:
        return _log_choose(r, x) + _log_choose(n - r, m - x)

    def growth(i: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (r[i] - x + 1) * (m[i] - x + 1), x * (n[i] - r[i] - m[i] + x)

    def value(i: np.ndarray, x: np.ndarray) -> np.ndarray:
        total = expected[i] + _expected_sum(N[i], R[i], m[i], x, h[i])
        return total / np.maximum(R[i] + x, 1)

    def mean_if_first(x: np.ndarray) -> np.ndarray:
        return (best + _packed_sum(R, x, N, s.database)) / np.maximum(R + x, 1)

    def sum_if_last(x: np.ndarray) -> np.ndarray:
        return worst + _packed_sum(R, x, k - x, s.database)

    mode = np.clip((m + 1) * (r + 1) // (n + 2), low, high)
    figures[0][owner] = _expectation(log_mass, growth, value, low, mode, high)
    # the precision at each further hit does not fall, so the mean is quasi-convex in the hits: its
    # maximum lies at an end, and its minimum where it stops falling
    figures[2][owner] = np.maximum(mean_if_first(low), mean_if_first(high))
    fewest = _first_true(
        lambda x: sum_if_last(np.minimum(x + 1, high)) * (R + x) >= sum_if_last(x) * (R + x + 1),
        low,
        high,
    )
    figures[1][owner] = sum_if_last(fewest) / np.maximum(R + fewest, 1)
    return Bounded(*figures)


def average_precision_relevant(s: Shells, k: int) -> Bounded:
    """AP over the first min(k, R_q) relevant items, at whatever rank, (Q,) each.

    In the shell that holds the last of them, the place T of its q-th relevant item is negative
    hypergeometric, and the q - 1 before it lie in random order on T - 1 places.
    """
    count = np.minimum(s.total_relevant, k)
    wanted = count[s.query]
    whole = s.relevant_before + s.relevant <= wanted
    sums = [s.sum(np.where(whole, part, 0)) for part in s.precision_sums]

    cut = np.flatnonzero(~whole & (s.relevant_before < wanted))  # at most one shell a query
    owner, N, R, n, r = (
        field[cut] for field in (s.query, s.before, s.relevant_before, s.size, s.relevant)
    )
    q = wanted[cut] - R

    def log_mass(t: np.ndarray) -> np.ndarray:
        return _log_choose(t - 1, q - 1) + _log_choose(n - t, r - q)

    def growth(i: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (t - 1) * (n[i] - t + 1 - r[i] + q[i]), (t - q[i]) * (n[i] - t + 1)

    def value(i: np.ndarray, t: np.ndarray) -> np.ndarray:
        h = _harmonic_sum(s.database, np.broadcast_to(N[i], t.shape), N[i] + t - 1)
        before_last = _expected_sum(N[i], R[i], t - 1, q[i] - 1, h)
        return before_last + (R[i] + q[i]) / (N[i] + t)

    low, high = q, n - r + q
    mode = np.clip(1 + (q - 1) * n // np.maximum(r - 1, 1), low, high)
    sums[0][owner] += _expectation(log_mass, growth, value, low, mode, high)
    sums[1][owner] += _packed_sum(R, q, N + n - r, s.database)
    sums[2][owner] += _packed_sum(R, q, N, s.database)
    return Bounded(*(total / np.maximum(count, 1) for total in sums))


def _log_choose(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def _expectation(
    log_mass: Callable[[np.ndarray], np.ndarray],
    growth: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    value: Callable[[np.ndarray, np.ndarray], np.ndarray],
    low: np.ndarray,
    mode: np.ndarray,
    high: np.ndarray,
) -> np.ndarray:
    """Return E value(X), (rows,), for one log-concave random integer X in [low, high] a row.

    ``log_mass(x)``: the log probability up to a constant, one x a row; it only finds the range
    worth summing. ``growth(i, x)``: p(x) / p(x - 1) of rows i, as numerator and denominator, from
    which the probabilities are built without cancellation. ``value(i, x)``: the function, on an
    array of shape (rows, width).
    """
    floor = log_mass(mode) - NEGLIGIBLE
    left = _first_true(lambda x: log_mass(x) >= floor, low, mode)
    right = high - _first_true(lambda y: log_mass(high - y) >= floor, 0 * high, high - mode)
    result = np.empty(len(low))
    for i in _blocks_of_similar_width(right - left + 1):
        rows = i[:, None]
        x = left[rows] + np.arange((right - left)[i].max() + 1)
        inside = x <= right[rows]
        x = np.minimum(x, right[rows])
        above, below = growth(rows, x)
        first = x == left[rows]
        log_p = np.log(np.where(first, 1, above) / np.where(first, 1, below)).cumsum(axis=1)
        log_p[~inside] = -np.inf
        p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
        result[i] = (p * value(rows, x)).sum(axis=1) / p.sum(axis=1)
    return result


def _blocks_of_similar_width(width: np.ndarray) -> Iterator[np.ndarray]:
    """Yield groups of rows whose padded table stays below ``BLOCK_ENTRIES``, or single rows."""
    order = np.argsort(width, kind="stable")
    start = 0
    while start < len(order):
        table = width[order[start:]] * np.arange(1, len(order) - start + 1)
        count = max(1, int(np.searchsorted(table, BLOCK_ENTRIES, side="right")))
        yield order[start : start + count]
        start += count


def _first_true(
    holds: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Return the smallest x in [low, high] from which ``holds`` is true; ``high`` if it never is.

    ``holds`` takes one x a row and must not turn false again; bisection, all rows at once.
    """
    low, high = low.copy(), high.copy()
    while (low < high).any():
        middle = (low + high) // 2
        true = holds(middle)
        high = np.where(true & (low < high), middle, high)
        low = np.where(~true & (low < high), middle + 1, low)
    return low
