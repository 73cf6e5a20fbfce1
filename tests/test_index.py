from dataclasses import replace

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhash import index as index_module
from mmhash.errors import InputError
from mmhash.index import (
    Neighbours,
    SearchIndex,
    brute_force,
    build,
    indexed_items,
    kth_distance,
    load,
    neighbour_chunks,
    save,
    search_complete,
    tie_aware_recall,
)


def random_codes(seed: int, n: int, bytes_: int = 1, values: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, values, (n, bytes_), dtype=np.uint8)


def random_vectors(seed: int, n: int, width: int = 5) -> np.ndarray:
    """Real vectors, a third of them equal up to a factor, so that cosines tie."""
    x = np.random.default_rng(seed).normal(size=(n, width))
    x[::3] = x[0] * np.arange(1, len(x[::3]) + 1)[:, None]
    return x.astype(np.float32)


def assert_same(found: Neighbours, expected: Neighbours) -> None:
    assert np.array_equal(found.lims, expected.lims)
    assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(found.distances, expected.distances)
    assert (found.metric, found.bits) == (expected.metric, expected.bits)
    assert found.lims.dtype == found.rows.dtype == np.int64
    assert found.distances.dtype == expected.distances.dtype


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 300),
    k=st.integers(1, 30),
    bytes_=st.sampled_from([1, 2, 8, 32]),
    values=st.sampled_from([1, 3, 256]),
)
def test_search_equals_brute_force_on_codes(seed, n, k, bytes_, values):
    items, queries = random_codes(seed, n, bytes_, values), random_codes(seed + 1, 7, bytes_)
    k = min(k, n)
    assert_same(search_complete(build(items), queries, k), brute_force(items, queries, k))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 300), k=st.integers(1, 30))
def test_search_equals_brute_force_on_real_vectors(seed, n, k):
    items, queries = random_vectors(seed, n), random_vectors(seed + 1, 6)
    queries[-1] = items[0]
    k = min(k, n)
    assert_same(search_complete(build(items), queries, k), brute_force(items, queries, k))


def test_the_kth_shell_is_complete_and_nothing_beyond_it():
    items = np.array([[0], [1], [2], [4], [3], [255]], dtype=np.uint8)
    found = search_complete(build(items), np.array([[0]], dtype=np.uint8), 2)
    assert found.rows.tolist() == [0, 1, 2, 3]
    assert found.distances.tolist() == [0, 1, 1, 1]


def test_faiss_range_search_is_strict_as_the_search_assumes():
    base = faiss.IndexBinaryFlat(8)
    base.add(np.array([[0], [1], [3]], dtype=np.uint8))
    lims, _, _ = base.range_search(np.array([[0]], dtype=np.uint8), 1)
    assert lims[-1] == 1


def test_equal_vectors_tie_wherever_they_lie():
    items = np.random.default_rng(0).normal(size=(1000, 37)).astype(np.float32)
    twins = np.arange(3, 1000, 11)
    items[twins] = items[3]
    found = search_complete(build(items), items[3:4] * 2, 1)
    assert found.rows.tolist() == twins.tolist()


@pytest.mark.parametrize("max_entries", [1, 50, 10_000])
@pytest.mark.parametrize("block", [3, 4096])
def test_chunks_join_to_the_whole_and_stay_small(monkeypatch, max_entries, block):
    monkeypatch.setattr(index_module, "QUERY_BLOCK", block)
    items, queries = random_codes(0, 200, 1, 4), random_codes(1, 20, 1, 4)
    chunks = list(neighbour_chunks(build(items), queries, 5, max_entries=max_entries))
    assert all(len(c) == 1 or c.lims[-1] <= max_entries for c in chunks)
    whole = brute_force(items, queries, 5)
    assert np.array_equal(np.concatenate([c.rows for c in chunks]), whole.rows)
    assert sum(len(c) for c in chunks) == 20
    if max_entries == 1:
        assert len(chunks) == 20


def test_a_collapsed_index_returns_everything_in_bounded_pieces():
    items = np.zeros((500, 8), dtype=np.uint8)
    chunks = list(neighbour_chunks(build(items), random_codes(0, 40, 8), 3, max_entries=1000))
    assert [len(c) for c in chunks] == [2] * 20
    assert all(np.array_equal(c.rows, np.tile(np.arange(500), 2)) for c in chunks)


class Device:
    """Stands for a GPU index: searches up to 2048 neighbours and has no range search."""

    def __init__(self, flat):
        self.flat = flat
        self.widths = []

    def search(self, queries, k):
        assert k <= 2048
        self.widths.append(k)
        return self.flat.search(queries, k)


@pytest.mark.parametrize("k", [1, 20, 1500, 2048, 2049])
def test_the_device_is_used_within_its_limit_and_gives_the_same(k):
    items, queries = random_codes(0, 3000, 2), random_codes(1, 5, 2)
    plain = build(items)
    device = Device(plain.flat)
    found = search_complete(replace(plain, gpu=device), queries, k)
    assert_same(found, brute_force(items, queries, k))
    assert bool(device.widths) == (k <= 2048)


def test_no_queries_give_an_empty_result():
    found = search_complete(build(random_codes(0, 9)), random_codes(0, 0), 2)
    assert len(found) == 0
    assert found.rows.size == 0


@pytest.mark.parametrize("items", [random_codes(0, 50, 8), random_vectors(0, 50)])
def test_a_saved_index_comes_back_whole(tmp_path, items):
    index = build(items)
    save(index, tmp_path / "index.faiss")
    again = load(tmp_path / "index.faiss")
    assert again.size == 50
    assert again.metric == index.metric
    assert np.array_equal(indexed_items(again), indexed_items(index))
    assert_same(search_complete(again, items[:5], 7), search_complete(index, items[:5], 7))
    save(again, tmp_path / "again.faiss")
    assert (tmp_path / "again.faiss").read_bytes() == (tmp_path / "index.faiss").read_bytes()


@pytest.mark.parametrize("items", [random_codes(0, 50, 8), random_vectors(0, 50)])
@pytest.mark.parametrize("cut", [0, 3, 4, 20, -1])
def test_a_truncated_index_is_named(tmp_path, items, cut):
    path = tmp_path / "index.faiss"
    save(build(items), path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"index\.faiss.*build_index"):
        load(path)


def test_another_file_or_none_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "none.faiss")
    (tmp_path / "text.faiss").write_text("not an index at all")
    with pytest.raises(InputError, match="not a flat FAISS index"):
        load(tmp_path / "text.faiss")


def test_k_beyond_the_index_is_one_clear_line():
    with pytest.raises(InputError, match=r"knn\.k is 20 but the index holds 9 items"):
        neighbour_chunks(build(random_codes(0, 9)), random_codes(1, 2), 20)
    with pytest.raises(InputError, match=r"knn\.k is 0"):
        search_complete(build(random_codes(0, 9)), random_codes(1, 2), 0)


def test_unfit_input_is_refused():
    index = build(random_codes(0, 9, 8))
    for queries in (random_codes(0, 2, 4), random_vectors(0, 2, 64), random_codes(0, 2, 8)[0]):
        with pytest.raises(InputError, match="do not fit an index of 64 bits"):
            search_complete(index, queries, 1)
    broken = random_vectors(0, 4)
    broken[1, 1] = np.nan
    with pytest.raises(InputError, match="NaN"):
        build(broken)
    with pytest.raises(InputError, match="NaN"):
        search_complete(build(random_vectors(0, 4)), broken, 1)
    with pytest.raises(InputError, match=r"index\.kind is 'tree'"):
        build(random_codes(0, 9), kind="tree")
    with pytest.raises(InputError, match="nothing to index"):
        build(random_codes(0, 0))


def test_a_zero_vector_is_at_right_angles_to_all():
    found = search_complete(build(np.eye(3)), np.zeros((1, 3)), 1)
    assert found.distances.tolist() == [1, 1, 1]


def test_a_hit_is_any_item_of_the_kth_shell():
    reference = np.array([2, 5])
    assert tie_aware_recall(np.array([[0, 2, 2], [1, 5, 6]]), reference) == pytest.approx(5 / 6)
    unfilled = np.array([[0, 2, 2**31 - 1], [5, 5, 5]])
    assert tie_aware_recall(unfilled, reference) == pytest.approx(5 / 6)


def test_exact_search_has_full_recall():
    items, queries = random_codes(0, 400, 2), random_codes(1, 10, 2)
    distances, _ = build(items).flat.search(queries, 20)
    truth = kth_distance(brute_force(items, queries, 20), 20)
    assert tie_aware_recall(distances, truth) == 1
    assert tie_aware_recall(distances + 1, truth) < 1


def test_kth_distance_needs_a_search_that_wide():
    found = brute_force(np.arange(8, dtype=np.uint8)[:, None], np.zeros((1, 1), np.uint8), 2)
    assert kth_distance(found, 2).tolist() == [1]
    with pytest.raises(InputError, match="smaller k"):
        kth_distance(found, 8)


def test_index_properties():
    assert build(random_codes(0, 9, 4)).bits == 32
    assert build(random_vectors(0, 9)).bits == 0
    assert isinstance(build(random_codes(0, 9), device="cuda"), SearchIndex)
