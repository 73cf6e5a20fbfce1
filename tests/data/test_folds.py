"""Folds: a partition that is even in size and in every class, and never touches test."""

import itertools
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhash.data.coco import IMAGES_SCHEMA
from mmhash.data.folds import FOLDED_SPLITS, fold_counts, fold_table, stratified_folds
from mmhash.data.karpathy import SPLIT_SCHEMA, training_rows
from mmhash.errors import InputError

SPLITS = ("train", "restval", "val", "test", "database")


def labels_of(rng: np.random.Generator, n: int, classes: int) -> np.ndarray:
    """Classes of very different frequency, and rows without any."""
    return (rng.random((n, classes)) < rng.random(classes) * rng.random()).astype(np.uint8)


@st.composite
def problems(draw) -> tuple[np.ndarray, int, int]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    folds = draw(st.integers(2, 7))
    n, classes = draw(st.integers(folds, 80)), draw(st.integers(1, 6))
    return labels_of(rng, n, classes), folds, draw(st.integers(0, 5))


def imbalance(counts: np.ndarray) -> np.ndarray:
    return counts.max(axis=0) - counts.min(axis=0)


@settings(deadline=None)
@given(problems())
def test_every_row_is_in_one_fold_and_no_fold_is_empty(problem):
    labels, folds, seed = problem
    fold = stratified_folds(labels, folds, seed)
    assert fold.shape == (len(labels),)
    assert set(fold.tolist()) == set(range(folds))


@settings(deadline=None)
@given(problems())
def test_classes_that_share_no_row_are_split_evenly(problem):
    labels, folds, seed = problem
    single = labels * (labels.cumsum(axis=1) == 1)  # at most the first label of each row
    fold = stratified_folds(single, folds, seed)
    assert imbalance(fold_counts(single, fold, folds)).max() <= 1
    assert imbalance(np.bincount(fold, minlength=folds)) <= 1


@settings(deadline=None)
@given(problems())
def test_rows_without_a_label_even_out_the_sizes(problem):
    labels, folds, seed = problem
    labels = np.vstack([labels, np.zeros_like(labels)])
    fold = stratified_folds(labels, folds, seed)
    assert imbalance(np.bincount(fold, minlength=folds)) <= 1


def can_be_in_every_fold(labels: np.ndarray, folds: int) -> bool:
    """Try every division of the rows."""
    needed = labels[:, labels.sum(axis=0) >= folds]
    return any(
        (fold_counts(needed, np.array(fold), folds) > 0).all()
        for fold in itertools.product(range(folds), repeat=len(labels))
    )


def test_a_class_with_as_many_rows_as_folds_is_in_every_fold_where_that_can_be():
    impossible = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        folds = int(rng.integers(2, 4))
        labels = labels_of(rng, int(rng.integers(folds, 8)), 4) | (rng.random(4) < 0.1)
        counts = fold_counts(labels, stratified_folds(labels, folds, seed), folds)
        if (counts[:, labels.sum(axis=0) >= folds] == 0).any():
            assert not can_be_in_every_fold(labels, folds)
            impossible += 1
    assert impossible < 10


@settings(deadline=None)
@given(problems())
def test_a_class_with_twice_as_many_rows_as_folds_is_in_every_fold(problem):
    labels, folds, seed = problem
    counts = fold_counts(labels, stratified_folds(labels, folds, seed), folds)
    assert (counts[:, labels.sum(axis=0) >= 2 * folds] > 0).all()


def test_classes_that_cannot_be_shared_out_are_no_error():
    triangle = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]], dtype=np.uint8)
    assert set(stratified_folds(triangle, 2, 0).tolist()) == {0, 1}


def one_row_at_a_time(labels: np.ndarray, folds: int, stream: np.random.Generator) -> np.ndarray:
    """Algorithm 1 of the paper as it is printed, for labelled rows."""
    fold = np.full(len(labels), -1)
    lacks = np.tile(labels.sum(axis=0) / folds, (folds, 1))
    lacks_rows = np.full(folds, len(labels) / folds)
    while (left := labels[fold < 0].sum(axis=0)).any():
        rarest = int(np.where(left > 0, left, len(labels) + 1).argmin())
        for row in stream.permutation(np.flatnonzero((labels[:, rarest] > 0) & (fold < 0))):
            best = np.flatnonzero(np.isclose(lacks[:, rarest], lacks[:, rarest].max()))
            best = best[np.isclose(lacks_rows[best], lacks_rows[best].max())]
            fold[row] = stream.choice(best)
            lacks[fold[row]] -= labels[row]
            lacks_rows[fold[row]] -= 1
    return fold


def test_it_is_as_even_as_the_published_algorithm_and_much_more_than_chance():
    rng = np.random.default_rng(0)
    labels = labels_of(rng, 600, 12)
    labels = labels[labels.any(axis=1)]

    def unevenness(divide) -> float:
        runs = [imbalance(fold_counts(labels, divide(seed), 5)).mean() for seed in range(20)]
        return float(np.mean(runs))

    ours = unevenness(lambda seed: stratified_folds(labels, 5, seed))
    published = unevenness(lambda seed: one_row_at_a_time(labels, 5, np.random.default_rng(seed)))
    chance = unevenness(lambda seed: np.random.default_rng(seed).permutation(len(labels)) % 5)
    assert ours == pytest.approx(published, rel=0.15)
    assert ours < chance / 3


def test_folds_follow_from_the_seed():
    labels = labels_of(np.random.default_rng(3), 200, 8)
    first = stratified_folds(labels, 5, 0)
    assert np.array_equal(first, stratified_folds(labels, 5, 0))
    assert not np.array_equal(first, stratified_folds(labels, 5, 1))


def test_coco_size_takes_seconds():
    rng = np.random.default_rng(0)
    share = np.geomspace(0.5, 0.0017, 80)
    labels = (rng.random((118_287, 80)) < share).astype(np.uint8)
    labels[:1069] = 0
    start = time.perf_counter()
    fold = stratified_folds(labels, 5, 0)
    assert time.perf_counter() - start < 10
    assert sorted(np.bincount(fold).tolist()) == [23657, 23657, 23657, 23658, 23658]
    total = labels.sum(axis=0)
    assert (np.abs(fold_counts(labels, fold, 5) * 5 / total - 1) < 0.06).all()


def tables_of(labels: np.ndarray, splits: list[str]) -> tuple[pa.Table, pa.Table]:
    n = len(labels)
    ids = [10 * row for row in range(n)]
    values = {
        "image_id": ids,
        "folder": [""] * n,
        "file_name": [""] * n,
        "width": [0] * n,
        "height": [0] * n,
        "captions": [[""]] * n,
        "category_ids": [(7 + 2 * np.flatnonzero(row)).tolist() for row in labels],
    }
    images = pa.table(values, schema=IMAGES_SCHEMA)
    return images, pa.table({"image_id": ids, "split": splits}, schema=SPLIT_SCHEMA)


def problem_tables(n: int = 150) -> tuple[np.ndarray, list[str], pa.Table, pa.Table]:
    rng = np.random.default_rng(1)
    labels = labels_of(rng, n, 6)
    splits = rng.choice(SPLITS, n).tolist()
    return labels, splits, *tables_of(labels, splits)


def test_each_image_outside_test_is_val_in_one_fold_and_trained_on_in_the_others():
    _, splits, images, split = problem_tables()
    before = np.array(splits)
    pool = np.isin(before, FOLDED_SPLITS)
    times_val = np.zeros(len(before), dtype=int)
    for fold in range(4):
        table, _ = fold_table(images, split, 4, fold, 0)
        assert table.schema.equals(SPLIT_SCHEMA)
        assert table["image_id"].equals(split["image_id"])
        names = np.array(table["split"].to_pylist())
        assert (names[~pool] == before[~pool]).all()
        assert set(names[pool]) == {"train", "val"}
        trained = np.zeros(len(before), dtype=bool)
        trained[training_rows(table)] = True
        assert (trained == (pool & (names != "val"))).all()
        times_val += names == "val"
    assert (times_val == pool).all()


def test_the_figures_are_those_of_the_folds():
    labels, splits, images, split = problem_tables()
    rows = np.isin(splits, FOLDED_SPLITS)
    whole = labels[rows].mean(axis=0)
    figures = [fold_table(images, split, 4, fold, 0) for fold in range(4)]
    for fold, (table, described) in enumerate(figures):
        val = np.array(table["split"].to_pylist()) == "val"
        assert (described["folds"], described["fold"]) == (4, fold)
        assert described["images"][str(fold)] == val.sum()
        deviation = np.abs(labels[val].mean(axis=0) - whole)
        assert described["share_deviation"][str(fold)] == pytest.approx(deviation.max(), abs=1e-12)
        relative = (deviation[whole > 0] / whole[whole > 0]).max()
        assert described["relative_deviation"][str(fold)] == pytest.approx(relative, abs=1e-12)
        for name in ("images", "share_deviation", "relative_deviation"):
            assert described[name] == figures[0][1][name]
        assert described["classes_missing_in_a_fold"] == 0


def test_a_class_that_misses_a_fold_is_counted():
    images, split = tables_of(np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]]), ["train"] * 3)
    assert fold_table(images, split, 2, 0, 0)[1]["classes_missing_in_a_fold"] == 1


def test_images_without_any_label_can_be_folded():
    images, split = tables_of(np.zeros((5, 2)), ["val"] * 5)
    table, figures = fold_table(images, split, 5, 4, 0)
    assert table["split"].to_pylist().count("val") == 1
    assert figures["share_deviation"] == dict.fromkeys("01234", 0.0)


def test_fewer_images_than_folds_are_refused_in_one_line():
    images, split = tables_of(np.ones((6, 1)), ["train", "val", "test", "test", "test", "restval"])
    with pytest.raises(InputError, match=r"split\.folds = 5: only 3 images in train, restval, val"):
        fold_table(images, split, 5, 0, 0)
