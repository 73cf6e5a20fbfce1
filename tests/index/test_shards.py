import threading
from collections.abc import Iterator
from dataclasses import replace

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhash.index import kinds, shards
from mmhash.index.kinds import build, build_asymmetric
from mmhash.index.reference import brute_force
from mmhash.index.search import search_complete


def codes(seed: int, n: int, values: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, values, (n, 4), dtype=np.uint8)


def vectors(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 9)).astype(np.float32)


@pytest.fixture(params=[2, 3])
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """FAISS has so many threads, and a shard needs few rows."""
    monkeypatch.setattr(shards, "ROWS_A_SHARD", 7)
    monkeypatch.setattr(faiss, "omp_get_max_threads", lambda: request.param)
    return request.param


@given(size=st.integers(1, 5000), most=st.integers(1, 40))
def test_shards_are_consecutive_hold_every_row_once_and_enough_rows_each(size, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "ROWS_A_SHARD", 100)
        found = shards.row_shards(size, most)
    assert np.array_equal(np.concatenate([np.arange(size)[part] for part in found]), range(size))
    lengths = [part.stop - part.start for part in found]
    assert max(lengths) - min(lengths) <= 1
    assert len(found) <= most
    assert len(found) == 1 or min(lengths) >= 100


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(14, 300),
    k=st.integers(1, 300),
    count=st.integers(2, 5),
    make=st.sampled_from(["codes", "tied codes", "vectors", "soft codes"]),
)
def test_a_search_in_shards_equals_brute_force(seed, n, k, count, make):
    k = min(k, n)
    items, queries = codes(seed, n), codes(seed + 1, 3)
    if make == "tied codes":
        items, queries = codes(seed, n, 2), codes(seed + 1, 3, 2)
    elif make == "vectors":
        items, queries = vectors(seed, n), vectors(seed + 1, 3)
    elif make == "soft codes":
        queries = np.random.default_rng(seed + 1).uniform(-1, 1, (3, 32)).astype(np.float32)
    plain = build_asymmetric(items) if make == "soft codes" else build(items)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "ROWS_A_SHARD", 7)
        patch.setattr(faiss, "omp_get_max_threads", lambda: count + 2)
        on_threads = search_complete(plain, queries, k)
        parts = shards.row_shards(n, count)
        # each stands for a GPU's index: the flat one of a shard
        gpus = tuple(
            build_asymmetric(items[part]) if make == "soft codes" else build(items[part])
            for part in parts
        )
        shared = replace(plain, gpus=tuple(gpu.faiss_index for gpu in gpus))
        on_gpus = search_complete(shared, queries, k)
    expected = brute_force(items, queries, k)
    for found in (on_threads, on_gpus):
        assert np.array_equal(found.lims, expected.lims)
        assert np.array_equal(found.rows, expected.rows)
        assert np.array_equal(found.distances, expected.distances)


@pytest.mark.parametrize("make", [codes, vectors])
def test_few_queries_are_searched_on_every_core_and_many_by_faiss(cores, make, monkeypatch):
    items = make(0, 60)
    compare, used = shards._compare, []

    def noted(part):
        used.append(len(part))
        return compare(part)

    monkeypatch.setattr(shards, "_compare", noted)
    assert shards.search_rows(items, make(1, cores), 5) is None
    assert used == []
    distances, rows = shards.search_rows(items, make(1, cores - 1), 5)
    assert used == [60 // cores] * cores
    assert distances.shape == rows.shape == (cores - 1, 5)


def test_a_base_too_small_to_gain_from_shards_is_searched_by_faiss():
    assert shards.search_rows(codes(0, 50_000), codes(1, 1), 5) is None


def test_shards_are_searched_at_once_one_faiss_thread_each():
    before = faiss.omp_get_max_threads()
    together = threading.Barrier(3, timeout=30)
    threads = []

    def search(queries, k):
        together.wait()  # breaks unless all three are under way
        threads.append(faiss.omp_get_max_threads())
        return np.zeros((len(queries), k), np.int32), np.zeros((len(queries), k), np.int64)

    parts = [slice(0, 4), slice(4, 8), slice(8, 12)]
    rows = shards.search_shards([search] * 3, parts, codes(0, 2), 3)[1]
    assert threads == [1, 1, 1]
    assert faiss.omp_get_max_threads() == before
    assert rows.tolist() == [[0, 0, 0]] * 2  # of equal distances the earlier shard's


def test_what_fails_in_a_shard_is_not_lost():
    def broken(queries, k):
        raise RuntimeError("out of memory on device 1")

    with pytest.raises(RuntimeError, match="device 1"):
        shards.search_shards([broken] * 2, [slice(0, 1), slice(1, 2)], codes(0, 1), 1)


class Gpus:
    """Three GPUs whose indexes those for the CPU play; ``room`` rows fit one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.used: list[int] = []  # numbers of the GPUs, an index each
        self.resources: list[object] = []  # what each of these indexes works in
        self.made = 0  # resources
        self.room = 1000
        gpus = self

        class Resources:
            def __init__(self) -> None:
                gpus.made += 1

        class OnGpu:
            def __init__(self, resources, width, config):
                super().__init__(width)
                gpus.used.append(config.device)
                gpus.resources.append(resources)

            def add(self, items):
                if len(items) > gpus.room:
                    raise RuntimeError(
                        "Error in virtual void* faiss::gpu::StandardGpuResourcesImpl::allocMemory("
                        "const faiss::gpu::AllocRequest&) at StandardGpuResources.cpp:452: Error: "
                        "'err == cudaSuccess' failed: StandardGpuResources: alloc fail type "
                        "FlatData (cudaMalloc error out of memory [2])\n"
                    )
                super().add(items)

        class Config:
            device = 0

        stand_ins = {
            "get_num_gpus": lambda: 3,
            "StandardGpuResources": Resources,
            "GpuIndexBinaryFlat": type("Binary", (OnGpu, faiss.IndexBinaryFlat), {}),
            "GpuIndexBinaryFlatConfig": Config,
            "GpuIndexFlatIP": type("Real", (OnGpu, faiss.IndexFlatIP), {}),
            "GpuIndexFlatConfig": Config,
        }
        for name, stand_in in stand_ins.items():
            monkeypatch.setattr(faiss, name, stand_in, raising=False)
        monkeypatch.setattr(shards, "ROWS_A_SHARD", 7)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpus]:
    """Three GPUs that the CPU plays."""
    kinds._resources.cache_clear()
    yield Gpus(monkeypatch)
    kinds._resources.cache_clear()


def assert_exact(index, base: np.ndarray, queries: np.ndarray) -> None:
    found, expected = search_complete(index, queries, 9), brute_force(base, queries, 9)
    assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(found.distances, expected.distances)


@pytest.mark.parametrize(("items", "gpus"), [(50, 3), (20, 2), (13, 1)])
@pytest.mark.parametrize("make", [codes, vectors])
def test_a_large_index_is_spread_over_the_gpus_that_can_be_seen(played, make, items, gpus):
    base, queries = make(0, items), make(1, 6)
    index = build(base, device="cuda")
    assert played.used == list(range(gpus))
    held = [gpu.ntotal for gpu in index.gpus]
    assert held == [part.stop - part.start for part in shards.row_shards(items, gpus)]
    assert_exact(index, base, queries)


def test_all_indexes_on_a_gpu_share_what_faiss_reserves_there(played):
    for make, items in ((codes, 50), (vectors, 50), (codes, 9)):
        build(make(0, items), device="cuda")
    assert played.used == [0, 1, 2, 0, 1, 2, 0]
    assert played.made == 3
    assert [played.resources[at] for at in (3, 4, 5, 6)] == [
        played.resources[at] for at in (0, 1, 2, 0)
    ]


@pytest.mark.parametrize("make", [codes, vectors])
def test_an_index_that_does_not_fit_the_gpus_is_searched_on_the_cpu(played, make, caplog):
    played.room = 5
    base, queries = make(0, 50), make(1, 6)
    index = build(base, device="cuda")
    assert index.gpus == ()
    assert_exact(index, base, queries)
    (said,) = caplog.messages
    assert said == (
        "the GPU has no room for the index of 50 items, which is searched on the CPU (StandardGpu"
        "Resources: alloc fail type FlatData (cudaMalloc error out of memory [2]))"
    )
    played.room = 1000  # what FAISS began to reserve is not taken up again half made
    assert_exact(build(base, device="cuda"), base, queries)
    assert played.made == 1 + 3


@pytest.mark.parametrize("make", [codes, vectors])
def test_every_gpu_holds_a_shard_and_the_result_is_exact(monkeypatch, make):
    if not hasattr(faiss, "GpuIndexBinaryFlat") or faiss.get_num_gpus() < 2:
        pytest.skip("fewer than two CUDA devices")
    monkeypatch.setattr(shards, "ROWS_A_SHARD", 1000)
    items, queries = make(0, 5000), make(1, 20)
    index = build(items, device="cuda")
    assert [gpu.getDevice() for gpu in index.gpus] == list(range(min(5, faiss.get_num_gpus())))
    found, expected = search_complete(index, queries, 20), brute_force(items, queries, 20)
    assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(found.distances, expected.distances)
