from dataclasses import replace

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhash.codes import pack
from mmhash.errors import InputError
from mmhash.index import multihash
from mmhash.index import search as search_module
from mmhash.index.kinds import SearchIndex, build, build_asymmetric, load, save
from mmhash.index.neighbours import Neighbours
from mmhash.index.reference import brute_force
from mmhash.index.search import neighbour_chunks, rerank_by_cosine, search_complete
from mmhash.index.vectors import unit_rows


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


@settings(max_examples=60)
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


@settings(max_examples=40)
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


def test_equal_vectors_tie_wherever_they_lie(device):
    items = np.random.default_rng(0).normal(size=(1000, 37)).astype(np.float32)
    twins = np.arange(3, 1000, 11)
    items[twins] = items[3]
    found = search_complete(build(items, device=device), items[3:4] * 2, 1)
    assert found.rows.tolist() == twins.tolist()


@pytest.mark.parametrize("max_entries", [1, 50, 10_000])
@pytest.mark.parametrize("block", [3, 4096])
def test_chunks_join_to_the_whole_and_stay_small(monkeypatch, max_entries, block):
    monkeypatch.setattr(search_module, "QUERY_BLOCK", block)
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
    found = search_complete(replace(plain, gpus=(device,)), queries, k)
    assert_same(found, brute_force(items, queries, k))
    assert bool(device.widths) == (k <= 2048)


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    """Each device that an index can lie on in turn; FAISS may see no GPU where PyTorch does."""
    no_gpu = not hasattr(faiss, "GpuIndexBinaryFlat") or faiss.get_num_gpus() == 0
    if request.param == "cuda" and no_gpu:
        pytest.skip("no CUDA device")
    return request.param


def near_vectors(seed: int, n: int, width: int = 300) -> np.ndarray:
    """Vectors around one direction, whose cosines differ by about as much as float32 can tell."""
    direction = np.random.default_rng(99).normal(size=width)
    noise = np.random.default_rng(seed).normal(size=(n, width))
    return (direction + 0.03 * noise).astype(np.float32)


# items and queries
PLACED = {
    "codes": lambda: (random_codes(0, 5000, 8, 3), random_codes(1, 20, 8, 3)),
    "short codes": lambda: (random_codes(0, 5000), random_codes(1, 20)),
    "vectors": lambda: (random_vectors(0, 5000, 37), random_vectors(1, 20, 37)),
    "near vectors": lambda: (near_vectors(0, 3000), near_vectors(1, 20)),
    "asymmetric": lambda: (random_codes(0, 5000, 8), soft_codes(1, 20, 64)),
    "asymmetric, tied": lambda: (random_codes(0, 5000, 2), soft_codes(1, 20, 16, saturated=True)),
}


@pytest.mark.parametrize("k", [1, 20, 2048, 2049])
@pytest.mark.parametrize("name", PLACED)
def test_every_device_finds_the_same_with_all_that_tie(device, name, k):
    items, queries = PLACED[name]()
    make = build_asymmetric if name.startswith("asymmetric") else build
    index = make(items, device=device)
    assert bool(index.gpus) == (device == "cuda")
    assert_same(search_complete(index, queries, k), brute_force(items, queries, k))


@pytest.mark.parametrize("name", ["codes", "vectors"])
def test_an_index_read_from_its_file_is_searched_on_the_device(device, name, tmp_path):
    items, queries = PLACED[name]()
    save(build(items), tmp_path / "index.faiss")
    index = load(tmp_path / "index.faiss", device)
    assert bool(index.gpus) == (device == "cuda")
    assert_same(search_complete(index, queries, 20), brute_force(items, queries, 20))


def test_the_wider_the_search_the_fewer_queries_at_once():
    # what is searched wider than wanted, to settle the ties, must fit in memory for all at once
    items, queries = random_codes(0, 3000, 2), random_codes(1, 9, 2)
    plain = build(items)
    device = Device(plain.flat)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_module, "MAX_ENTRIES", 200)
        found = search_complete(replace(plain, gpus=(device,)), queries, 20)
    assert_same(found, brute_force(items, queries, 20))
    assert device.widths == [64] * 3


def test_no_queries_give_an_empty_result():
    found = search_complete(build(random_codes(0, 9)), random_codes(0, 0), 2)
    assert len(found) == 0
    assert found.rows.size == 0


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


def soft_codes(seed: int, n: int, bits: int = 16, saturated: bool = False) -> np.ndarray:
    """Codes in [-1, 1]; saturated ones are -1 and 1 alone, so that products tie."""
    h = np.random.default_rng(seed).uniform(-1, 1, (n, bits)).astype(np.float32)
    return np.sign(h) if saturated else h


@pytest.mark.parametrize("saturated", [False, True])
@pytest.mark.parametrize("bits", [8, 32, 128])
@pytest.mark.parametrize("k", [1, 7, 200])
def test_asymmetric_search_equals_brute_force(bits, k, saturated):
    items = random_codes(0, 300, bits // 8, 3 if bits == 8 else 256)
    queries = soft_codes(1, 9, bits, saturated)
    found = search_complete(build_asymmetric(items), queries, k)
    assert_same(found, brute_force(items, queries, k))


def test_for_binary_queries_asymmetric_is_twice_the_share_of_differing_bits():
    bits = np.random.default_rng(0).integers(0, 2, (60, 16), dtype=np.uint8)
    items, queries = pack(bits), pack(bits[:9])
    found = search_complete(build_asymmetric(items), bits[:9] * 2.0 - 1, 5)
    hamming = search_complete(build(items), queries, 5)
    assert np.array_equal(found.rows, hamming.rows)
    assert np.array_equal(found.distances, hamming.distances * (2 / 16))


APPROXIMATE = ["ivf", "hnsw", "multihash"]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(APPROXIMATE),
    n=st.integers(1, 300),
    k=st.integers(1, 300),
    bytes_=st.sampled_from([1, 2, 8, 32]),
    values=st.sampled_from([1, 3, 256]),
)
def test_every_kind_finds_k_or_more_at_their_true_distances(seed, kind, n, k, bytes_, values):
    items, queries = random_codes(seed, n, bytes_, values), random_codes(seed + 1, 7, bytes_)
    k = min(k, n)
    found = search_complete(build(items, kind), queries, k)
    counts = np.diff(found.lims)
    assert counts.min() >= k
    assert found.rows.min() >= 0
    owner = np.repeat(np.arange(7), counts)
    pairs = owner * n + found.rows
    assert len(np.unique(pairs)) == len(pairs)
    true = (queries[owner] ^ items[found.rows])[:, :, None] >> np.arange(8) & 1
    assert np.array_equal(found.distances, true.sum(axis=(1, 2)))
    for q in range(7):  # nearest first, nothing beyond the shell of the k-th found
        distances = found.distances[found.lims[q] : found.lims[q + 1]]
        assert (np.diff(distances) >= 0).all()
        assert distances[-1] == distances[k - 1]


def clustered_codes(seed: int, n: int) -> np.ndarray:
    """64-bit codes around 30 centres, 1 bit in 12 flipped."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).integers(0, 2, (30, 64))
    flips = rng.random((n, 64)) < 1 / 12
    return pack((centres[rng.integers(0, 30, n)] ^ flips).astype(np.uint8))


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_every_kind_finds_nearly_all_near_neighbours_in_clustered_codes(kind):
    items, queries = clustered_codes(0, 6000), clustered_codes(1, 50)
    found = search_complete(build(items, kind), queries, 20)
    first = found.lims[:-1, None] + np.arange(20)
    truth = brute_force(items, queries, 20)
    kth = truth.distances[truth.lims[:-1] + 19]
    assert (found.distances[first] <= kth[:, None]).mean() > 0.97


@pytest.mark.parametrize("kind", ["ivf", "multihash"])
def test_cells_complete_the_shell_within_what_they_look_into(kind):
    codes = clustered_codes(0, 6000)
    codes[::7] = codes[0]
    found = search_complete(build(codes, kind), codes[:1], 20)
    assert (found.distances == 0).all()
    assert set(range(0, 6000, 7)) <= set(found.rows.tolist())


@pytest.mark.parametrize("max_entries", [1, 50, 10_000])
def test_tables_answer_in_bounded_pieces_with_the_rest_left_to_the_flat_search(
    monkeypatch, max_entries
):
    monkeypatch.setattr(multihash, "MAX_SHARE", 0.3)
    codes = np.concatenate([random_codes(0, 2000, 4), np.full((1000, 4), 9, dtype=np.uint8)])
    queries = np.concatenate([random_codes(1, 9, 4), np.full((3, 4), 9, np.uint8), codes[:5]])
    index = build(codes, "multihash")
    left = multihash.nearest(index.tables, queries, 5)[1]
    assert left[9:12].all()
    assert not left.all()
    chunks = list(neighbour_chunks(index, queries, 5, max_entries=max_entries))
    assert all(len(c) == 1 or c.lims[-1] <= max_entries for c in chunks)
    assert sum(len(c) for c in chunks) == len(queries)
    whole = search_complete(index, queries, 5)
    assert np.array_equal(np.concatenate([c.rows for c in chunks]), whole.rows)
    exact = brute_force(codes, queries, 5)
    for q in np.flatnonzero(left):
        part, true = (slice(*table.lims[q : q + 2]) for table in (whole, exact))
        assert np.array_equal(whole.rows[part], exact.rows[true])


def test_a_graph_completes_the_shell_within_what_one_search_returns():
    codes = clustered_codes(0, 3000)
    codes[::7] = codes[0]
    found = search_complete(build(codes, "hnsw"), codes[:1], 20)
    assert 20 <= len(found.rows) <= 64


class Probe:
    """Stands for an index that reaches two items only and leaves the other places unfilled."""

    def __init__(self, inner, fill):
        self.inner, self.fill = inner, fill
        self.d, self.ntotal, self.storage = inner.d, inner.ntotal, inner

    def search(self, queries, k):
        distances, rows = self.inner.search(queries, k)
        distances[:, 2:], rows[:, 2:] = self.fill, -1
        return distances, rows


@pytest.mark.parametrize("fill", [np.iinfo(np.int32).max, np.iinfo(np.int32).min])
def test_what_an_index_could_not_fill_is_no_neighbour(fill):
    items, queries = random_codes(0, 200, 2), random_codes(1, 8, 2)
    full = build(items)
    poor = SearchIndex(Probe(full.flat, fill), "hamming", "hnsw")
    poor.__dict__["flat"] = full.flat
    two = search_complete(poor, queries, 2)
    assert np.diff(two.lims).tolist() == [2] * 8
    # three wanted, two found: the flat search answers
    assert_same(search_complete(poor, queries, 3), brute_force(items, queries, 3))


@pytest.mark.parametrize("at_most", [None, 9])
def test_candidates_are_ordered_anew_by_cosine(at_most):
    codes, h = random_codes(0, 100, 1, 8), soft_codes(2, 100, 8)
    queries, soft = random_codes(1, 6, 1, 8), soft_codes(3, 6, 8)
    candidates = search_complete(build(codes), queries, 9)
    found = rerank_by_cosine(candidates, soft, unit_rows(h), at_most)
    assert (found.metric, found.bits) == ("cosine", 0)
    for q in range(6):
        rows = candidates.rows[candidates.lims[q] : candidates.lims[q + 1]][:at_most]
        cosine = [h[r] @ soft[q] / (np.linalg.norm(h[r]) * np.linalg.norm(soft[q])) for r in rows]
        part = slice(found.lims[q], found.lims[q + 1])
        assert found.rows[part].tolist() == rows[np.argsort(-np.array(cosine))].tolist()
        np.testing.assert_allclose(found.distances[part], 1 - np.sort(cosine)[::-1], atol=1e-6)
