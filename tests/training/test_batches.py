"""Which rows make up each step."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmhash.errors import InputError
from mmhash.files import read_npy, write_npy
from mmhash.training import batches
from mmhash.training.batches import (
    Features,
    FeatureStore,
    grouped,
    micro_batches,
    plan_epoch,
    windows,
)


def ragged(n=50, most=6, seed=0) -> Features:
    rng = np.random.default_rng(seed)
    offset = np.concatenate([[0], np.cumsum(rng.integers(1, most + 1, size=n))])
    return Features(
        rng.normal(size=(n, 3)).astype(np.float16),
        np.arange(offset[-1], dtype=np.float32)[:, None],
        offset,
        np.eye(n, dtype=np.uint8),
    )


@given(st.integers(1, 200), st.integers(1, 40), st.integers(1, 5))
def test_each_row_is_used_once_and_none_stands_alone(count, batch, accumulation):
    steps = windows(count, batch, accumulation)
    slices = [part for window in steps for part in window]
    assert [row for start, stop in slices for row in range(start, stop)] == list(range(count))
    assert all(len(window) == accumulation for window in steps[:-1])
    sizes = [stop - start for start, stop in slices]
    assert all(size == batch for size in sizes[:-1])
    assert sizes[-1] <= batch + 1
    if count > 1 and batch > 1:
        assert min(sizes) >= 2


def test_a_trailing_single_row_joins_the_window_before_it():
    assert micro_batches(9, 4) == [(0, 4), (4, 9)]
    assert windows(9, 4, 2) == [[(0, 4), (4, 9)]]
    assert micro_batches(10, 4) == [(0, 4), (4, 8), (8, 10)]


@given(st.integers(1, 300), st.integers(1, 20), st.integers(1, 8), st.integers(0, 100))
def test_groups_hold_each_micro_batch_once_in_order(count, batch, accumulation, rows):
    for window in windows(count, batch, accumulation):
        groups = grouped(window, rows)
        assert [micro for group in groups for micro in group] == window
        for group, after in zip(groups, [*groups[1:], None], strict=True):
            taken = group[-1][1] - group[0][0]
            sizes = {stop - start for start, stop in group}
            assert len(group) == 1 or (taken <= rows and len(sizes) == 1)
            if after is not None:
                too_many = after[0][1] - group[0][0] > rows
                assert too_many or {after[0][1] - after[0][0]} != sizes, "another would have fitted"


def test_an_epoch_is_a_permutation_with_a_caption_of_each_row():
    features = ragged()
    rows = np.arange(5, 45)
    plan = plan_epoch(features, rows, 3, 0)
    assert sorted(plan.rows) == list(rows)
    assert (plan.rows != rows).any()
    start, end = features.caption_offset[plan.rows], features.caption_offset[plan.rows + 1]
    assert ((start <= plan.captions) & (plan.captions < end)).all()


def test_an_epoch_follows_from_seed_and_number_alone():
    features, rows = ragged(), np.arange(50)
    first = plan_epoch(features, rows, 3, 4)
    again = plan_epoch(features, rows, 3, 4)
    assert (first.rows == again.rows).all()
    assert (first.captions == again.captions).all()
    for other in (plan_epoch(features, rows, 3, 5), plan_epoch(features, rows, 4, 4)):
        assert (first.rows != other.rows).any()
        assert (np.sort(first.captions) != np.sort(other.captions)).any()


def test_all_captions_are_drawn_equally_often():
    offset = np.arange(0, 5 * 2000 + 1, 5)
    blank = np.zeros((2000, 1), dtype=np.float16)
    features = Features(blank, np.zeros((10000, 1)), offset, blank.astype(np.uint8))
    plan = plan_epoch(features, np.arange(2000), 0, 0)
    counts = np.bincount(plan.captions - offset[plan.rows], minlength=5)
    assert counts.sum() == 2000
    assert (abs(counts - 400) < 5 * np.sqrt(400)).all()


@pytest.mark.parametrize("share", [batches.RESIDENT_SHARE, 0.0])  # with room on the card, without
def test_a_batch_gathers_rows_captions_and_labels(device, share, monkeypatch):
    monkeypatch.setattr(batches, "RESIDENT_SHARE", share)
    features = ragged()
    store = FeatureStore(features, torch.device(device))
    assert store.image.device.type == (device if share else "cpu")
    plan = plan_epoch(features, np.arange(50), 0, 0)
    found = store.batch(store.index(plan.rows[:7]), store.index(plan.captions[:7]))
    assert {tensor.device.type for tensor in found} == {device}
    image, text, labels = (tensor.cpu() for tensor in found)
    np.testing.assert_array_equal(image, features.image[plan.rows[:7]])
    np.testing.assert_array_equal(text, features.text[plan.captions[:7]])
    np.testing.assert_array_equal(labels, features.labels[plan.rows[:7]])
    assert labels.dtype == torch.float32


def test_memory_mapped_arrays_are_used_in_place(tmp_path, recwarn):
    features = ragged()
    write_npy(tmp_path / "image.npy", features.image)
    image = read_npy(tmp_path / "image.npy", mmap=True)
    mapped = Features(image, features.text, features.caption_offset, features.labels)
    store = FeatureStore(mapped, torch.device("cpu"))
    assert store.image.data_ptr() == image.ctypes.data
    np.testing.assert_array_equal(store.image, features.image)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros(50)}, "two axes"),
        ({"labels": np.zeros((49, 2), np.uint8)}, "49 label rows"),
        ({"caption_offset": np.arange(50)}, "caption_offset"),
        ({"caption_offset": np.zeros(51, np.int64)}, "caption_offset"),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        Features(**(vars(ragged()) | change))
