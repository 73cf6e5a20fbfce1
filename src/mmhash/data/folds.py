"""K-fold cross-validation over train + restval + val, stratified for multi-label data.

Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-Label Data", ECML-PKDD 2011,
Algorithm 1 (iterative stratification): the class with the fewest images left goes first, each of
its images to the fold that still lacks most images of that class; of equals to the fold that lacks
most images at all; of equals to a random one. Rare classes are spread before the images they share
with common ones are spoken for.

The test images are never touched: every fold of a cross-validation has the same ones.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmhash.data.coco import label_matrix
from mmhash.data.karpathy import SPLIT_SCHEMA
from mmhash.errors import InputError
from mmhash.seeding import numpy_stream

FOLDED_SPLITS = ("train", "restval", "val")


def stratified_folds(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each row, (n,) int64 from 0 to ``folds`` - 1.

    ``labels`` is (n, C) of 0 and 1. Rows without a label belong to no class: they come last and
    fill up the folds that are short of rows, so they even out the sizes. A class with at least
    ``folds`` rows that would miss a fold gets there by moving one of its rows, as far as that takes
    no other class out of a fold (it cannot always be had: of three rows, two for each of three
    classes, two folds cannot share).

    Equal arguments give equal folds. Raises :class:`InputError` for fewer rows than folds.
    """
    n = len(labels)
    if n < folds:
        raise InputError(
            f"split.folds = {folds}: only {n} images in {', '.join(FOLDED_SPLITS)}, too few for a "
            "fold each; lower split.folds"
        )
    stream = numpy_stream(seed, "folds")
    fold = np.full(n, -1)
    left = labels.sum(axis=0, dtype=np.int64)
    # What a fold lacks of each class and of all rows, times `folds`: whole numbers have exact ties.
    lacks = np.tile(left, (folds, 1))
    lacks_rows = np.full(folds, n)
    while left.any():
        rarest = int(np.where(left > 0, left, n + 1).argmin())
        rows = stream.permutation(np.flatnonzero((labels[:, rarest] > 0) & (fold < 0)))
        fold[rows] = _neediest(lacks[:, rarest], lacks_rows, len(rows), stream)
        left -= labels[rows].sum(axis=0, dtype=np.int64)
        lacks -= folds * fold_counts(labels[rows], fold[rows], folds)
        lacks_rows -= folds * np.bincount(fold[rows], minlength=folds)
    _fill_gaps(labels, fold, folds)
    rows = stream.permutation(np.flatnonzero(fold < 0))
    lacks_rows = n - folds * np.bincount(fold[fold >= 0], minlength=folds)
    fold[rows] = _neediest(lacks_rows, lacks_rows, len(rows), stream)
    return fold


def fold_counts(labels: np.ndarray, fold: np.ndarray, folds: int) -> np.ndarray:
    """Return how many rows of each class lie in each fold, (folds, C) int64."""
    return np.stack([labels[fold == f].sum(axis=0, dtype=np.int64) for f in range(folds)])


def fold_table(
    images: pa.Table, split: pa.Table, folds: int, fold: int, seed: int
) -> tuple[pa.Table, dict[str, Any]]:
    """Return ``split`` with the rows of train, restval and val divided anew, and how evenly.

    Rows of ``fold`` become ``val``. All others become ``train``, restval images too: the name told
    where a training image comes from, which no longer matters where every image is trained on in
    all runs but one. ``test`` and ``database`` rows stay as they are.

    ``images`` has the rows of ``split`` and the column ``category_ids``. The second value, for
    ``metrics/split.json``, has for each fold its number of images and the largest deviation of a
    class: of its share in the fold from its share in all folds (``share_deviation``, absolute), and
    the same as a fraction of the latter (``relative_deviation``); and the number of classes that
    have at least ``folds`` images and yet miss a fold.

    Raises :class:`InputError` where there are fewer images than folds.
    """
    names = split["split"].to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(np.isin(names, FOLDED_SPLITS))
    occurring = pc.unique(pc.list_flatten(images["category_ids"])).sort()
    labels = label_matrix(images.take(rows), [{"id": number} for number in occurring.to_pylist()])
    assigned = stratified_folds(labels, folds, seed)
    names = names.copy()
    names[rows] = np.where(assigned == fold, "val", "train")
    table = pa.table({"image_id": split["image_id"], "split": names}, schema=SPLIT_SCHEMA)
    return table, {"folds": folds, "fold": fold, **_evenness(labels, assigned, folds)}


def _evenness(labels: np.ndarray, fold: np.ndarray, folds: int) -> dict[str, Any]:
    counts, sizes = fold_counts(labels, fold, folds), np.bincount(fold, minlength=folds)
    total = counts.sum(axis=0)
    counts, total = counts[:, total > 0], total[total > 0]
    whole = total / len(labels)
    deviation = np.abs(counts / sizes[:, None] - whole)
    return {
        "images": {str(f): int(size) for f, size in enumerate(sizes)},
        "share_deviation": _largest(deviation),
        "relative_deviation": _largest(deviation / whole),
        "classes_missing_in_a_fold": int(((total >= folds) & (counts == 0).any(axis=0)).sum()),
    }


def _largest(deviation: np.ndarray) -> dict[str, float]:
    return {str(f): float(row.max(initial=0.0)) for f, row in enumerate(deviation)}


def _neediest(
    lacks: np.ndarray, lacks_rows: np.ndarray, count: int, stream: np.random.Generator
) -> np.ndarray:
    """Return the folds that take the next ``count`` rows of a class, in order, (count,) int64.

    ``lacks`` and ``lacks_rows`` are (folds,), in units of 1 / folds rows. A row that a fold takes
    lowers both of that fold by one row and nothing else, so taking the neediest fold over and over
    merges one falling list a fold: the first ``count`` entries of all lists, sorted.
    """
    folds = len(lacks)
    taken = folds * np.arange(count)
    keys = (
        stream.random((folds, count)),
        taken - lacks_rows[:, None],
        taken - lacks[:, None],
    )
    order = np.lexsort([key.ravel() for key in keys])[:count]
    return order // count if count else order


def _fill_gaps(labels: np.ndarray, fold: np.ndarray, folds: int) -> None:
    """Move single rows in place so that no class that could be in every fold misses one."""
    counts = fold_counts(labels, fold, folds)
    needed = counts.sum(axis=0) >= folds
    for missing, column in np.argwhere((counts == 0) & needed):
        if counts[missing, column]:
            continue  # filled by the move for another class
        for row in np.flatnonzero(labels[:, column]):
            own = (labels[row] > 0) & needed
            if (counts[fold[row], own] > 1).all():
                counts[fold[row]] -= labels[row]
                counts[missing] += labels[row]
                fold[row] = missing
                break
