"""Scores of categories that were added to the database after the training.

The vote counts: score_c is the share of c among the K nearest. A category with five examples among
thousands of items cannot win it: five votes of K = 50 at best, and where others lie as near, none.
That says how rare its examples are in the database, not how rare it will be among the pictures to
tag. So an added category c is scored by Bayes' rule with a prior of its own,

    score_c = π p(x | c) / (π p(x | c) + (1 − π) p(x | not c))

with the kernel of the softmax vote, k_i = exp(s_i / τ), as the density of either side:

    p(x | c)      = Σ_{i in c} k_i / n_c             all n_c examples, however far
    p(x | not c)  = Σ_{i near, not in c} k_i / (M − n_c)   items up to the K-th distance

and π = max(n_c / M, the median share of the categories that the model was trained with). For n_c
examples among the K nearest and π = n_c / M this is the softmax vote itself; another π is the
correction of a posterior for a prior that differs from that of the training set (Saerens, Latinne
and Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities", Neural
Computation 14, 2002, eq. 2.4). The categories of the model keep their votes.

``benchmarks/new_category.py`` measures it: the sample without all pictures of a category, trained,
then five of its pictures added (20 draws). Means over six categories; the AP of chance is .012 to
.038. Of these rules the last one has the highest AP on val:

========================================  =============  =============  =======================
rule                                      val AUC, AP    test AUC, AP   test: among the five
                                                                        tags of its pictures,
                                                                        of all others
========================================  =============  =============  =======================
the plain vote                            .816, .264     .786, .212     .03, .00
the vote with π in place of n_c / M       .816, .264     .786, .212     .50, .04
the nearest example in place of the mean  .932, .266     .925, .251     .88, .12
as above                                  .931, .273     .924, .260     .75, .07
========================================  =============  =============  =======================
"""

import numpy as np

from mmhash.codes import hamming, unpack
from mmhash.index.kinds import indexed_items
from mmhash.index.neighbours import Neighbours, kth_distance
from mmhash.index.vectors import unit_rows
from mmhash.retriever import Retriever
from mmhash.voting import similarity

ENTRIES_A_BLOCK = 1 << 22


def usual_share(labels: np.ndarray, built: int) -> float:
    """Return the median share of items (M, C) that a category of the first ``built`` has."""
    return float(np.median(labels[:, :built].mean(axis=0, dtype=np.float64)))


def added_scores(
    retriever: Retriever,
    built: int,
    usual: float,
    found: Neighbours,
    queries: np.ndarray,
    soft: np.ndarray | None,
) -> np.ndarray:
    """Return the scores (n, A) float32 in [0, 1] of the categories beyond the first ``built``.

    ``found`` are the neighbours of ``queries`` (n, ·), which the retriever found for them and their
    ``soft`` codes; ``usual`` is the :func:`usual_share`. A category without an item scores 0.
    """
    added = retriever.labels[:, built:].astype(np.float64)
    examples = np.flatnonzero(added.any(axis=1))
    n, (items, _) = len(found), added.shape
    if not len(examples):
        return np.zeros((n, added.shape[1]), dtype=np.float32)
    owner = np.repeat(np.arange(n), np.diff(found.lims))
    near = found.distances <= kth_distance(found, retriever.k)[owner]
    s = similarity(found)
    own = np.empty((n, added.shape[1]))
    best = np.empty(n)
    step = max(1, ENTRIES_A_BLOCK // len(examples))
    for start in range(0, n, step):
        part = slice(start, start + step)
        own_s = _similarity_to(
            retriever, examples, queries[part], None if soft is None else soft[part]
        )
        best[part] = np.maximum(s[found.lims[:-1][part]], own_s.max(axis=1))  # exponents <= 0
        own[part] = np.exp((own_s - best[part, None]) / retriever.tau) @ added[examples]
    kernel = np.where(near, np.exp((s - best[owner]) / retriever.tau), 0)
    others = np.stack(
        [np.bincount(owner, kernel * (1 - column[found.rows]), n) for column in added.T], axis=1
    )
    count = added.sum(axis=0)
    prior = np.maximum(usual, count / items)
    inside = prior * own / np.maximum(count, 1)
    outside = (1 - prior) * others / np.maximum(items - count, 1)
    total = inside + outside
    return np.divide(inside, total, out=np.zeros_like(total), where=total > 0).astype(np.float32)


def _similarity_to(
    retriever: Retriever, rows: np.ndarray, queries: np.ndarray, soft: np.ndarray | None
) -> np.ndarray:
    """Return the similarity (n, E) in [0, 1] of queries and items, by the retriever's distance."""
    items = indexed_items(retriever.index)[rows]
    if retriever.index.metric == "cosine":
        return (1 + unit_rows(queries) @ items.T.astype(np.float64)) / 2
    if retriever.distance == "hamming":
        return 1 - hamming(queries, items) / retriever.index.bits
    assert soft is not None and retriever.soft is not None  # noqa: PT018 the search needed both
    if retriever.distance == "asymmetric":
        signs = unpack(items).astype(np.float64) * 2 - 1
        return (1 + soft @ signs.T / retriever.index.bits) / 2
    return (1 + unit_rows(soft) @ unit_rows(retriever.soft[rows]).T.astype(np.float64)) / 2
