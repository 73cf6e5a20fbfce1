"""Every kind of index: built, kept in a file, read back."""

from pathlib import Path

import faiss
import numpy as np
import pytest

from mmhash.errors import InputError
from mmhash.index.kinds import (
    KINDS,
    SearchIndex,
    build,
    build_asymmetric,
    indexed_items,
    load,
    save,
)
from mmhash.index.search import search_complete


def random_codes(seed: int, n: int, bytes_: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, bytes_), dtype=np.uint8)


def random_vectors(seed: int, n: int, width: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def saved_bytes(index: SearchIndex, path) -> bytes:
    save(index, path)
    return path.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 9, 700])
@pytest.mark.parametrize("bytes_", [1, 2, 4, 32])
def test_a_saved_index_of_codes_comes_back_whole(tmp_path, kind, n, bytes_):
    codes = random_codes(0, n, bytes_)
    index = build(codes, kind)
    save(index, tmp_path / "index.faiss")
    again = load(tmp_path / "index.faiss", kind=kind)
    assert (again.size, again.bits, again.metric, again.kind) == (n, 8 * bytes_, "hamming", kind)
    for one in (index, again):
        assert np.array_equal(indexed_items(one), codes)
    before, after = (search_complete(one, codes[:5], min(n, 7)) for one in (index, again))
    assert np.array_equal(before.lims, after.lims)
    assert np.array_equal(before.rows, after.rows)
    assert np.array_equal(before.distances, after.distances)


def test_a_saved_index_of_vectors_comes_back_whole(tmp_path):
    index = build(random_vectors(0, 50))
    save(index, tmp_path / "index.faiss")
    again = load(tmp_path / "index.faiss")
    assert (again.size, again.bits, again.metric, again.kind) == (50, 0, "cosine", "flat")
    assert np.array_equal(indexed_items(again), indexed_items(index))


@pytest.mark.parametrize("kind", KINDS)
def test_building_twice_gives_the_same_bytes_whatever_the_number_of_threads(tmp_path, kind):
    codes = random_codes(0, 3000)
    before = faiss.omp_get_max_threads()
    try:
        files = []
        for threads in (1, 2, 2):
            faiss.omp_set_num_threads(threads)
            files.append(saved_bytes(build(codes, kind), tmp_path / "index.faiss"))
            assert faiss.omp_get_max_threads() == threads
    finally:
        faiss.omp_set_num_threads(before)
    assert len(set(files)) == 1
    assert saved_bytes(build(codes[::-1], kind), tmp_path / "index.faiss") != files[0]


def test_parameters_follow_size_and_code_length():
    large = build(random_codes(0, 6000), "ivf").faiss_index
    assert (large.nlist, large.nprobe) == (128, 64)  # 150 cells would have 40 items each
    assert build(random_codes(0, 79), "ivf").faiss_index.nlist == 1
    graph = build(random_codes(0, 50), "hnsw").faiss_index.hnsw
    assert (graph.efConstruction, graph.efSearch) == (64, 128)


def test_search_parameters_are_kept_in_the_file(tmp_path):
    for kind, read in (
        ("ivf", lambda index: index.nprobe),
        ("hnsw", lambda index: index.hnsw.efSearch),
    ):
        index = build(random_codes(0, 6000), kind)
        save(index, tmp_path / "index.faiss")
        assert read(load(tmp_path / "index.faiss").faiss_index) == read(index.faiss_index)


def anonymous_kilobytes() -> int:
    """Memory of this process that no file backs."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read memory from")
@pytest.mark.parametrize("kind", ["codes", "vectors"])
def test_a_flat_file_is_mapped_not_copied(tmp_path, kind):
    items = random_codes(0, 2_000_000) if kind == "codes" else random_vectors(0, 120_000, 32)
    save(build(items), tmp_path / "index.faiss")
    asked = items[:2].copy()
    before = anonymous_kilobytes()
    index = load(tmp_path / "index.faiss")
    assert search_complete(index, asked, 1).rows.tolist() == [0, 1]
    assert anonymous_kilobytes() - before < 5_000  # the file holds 15 or 16 MB


def test_a_mapped_index_outlives_its_file(tmp_path):
    codes = random_codes(0, 5000)
    save(build(codes), tmp_path / "index.faiss")
    index = load(tmp_path / "index.faiss")
    save(build(codes[::-1]), tmp_path / "index.faiss")
    (tmp_path / "index.faiss").unlink()
    assert np.array_equal(indexed_items(index), codes)


@pytest.mark.parametrize("kind", [*KINDS, "vectors"])
@pytest.mark.parametrize("cut", [0, 3, 4, 20, 40, 200, -500, -1])
def test_a_truncated_index_is_named(tmp_path, kind, cut):
    path = tmp_path / "index.faiss"
    if kind == "vectors":
        save(build(random_vectors(0, 50)), path)
    else:
        save(build(random_codes(0, 300), kind), path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"index\.faiss.*build_index"):
        load(path)


def test_another_file_or_none_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "none.faiss")
    (tmp_path / "text.faiss").write_text("not an index at all")
    with pytest.raises(InputError, match="no FAISS index of kind flat, ivf, hnsw, multihash"):
        load(tmp_path / "text.faiss")
    other = faiss.IndexPQ(8, 2, 4)
    faiss.write_index(other, str(tmp_path / "other.faiss"))
    with pytest.raises(InputError, match="no FAISS index of kind"):
        load(tmp_path / "other.faiss")
    faiss.write_index_binary(faiss.IndexBinaryHash(8, 4), str(tmp_path / "hash.faiss"))
    with pytest.raises(InputError, match="no FAISS index of kind"):
        load(tmp_path / "hash.faiss")


def test_an_index_of_another_kind_than_wanted_is_named(tmp_path):
    save(build(random_codes(0, 300), "flat"), tmp_path / "index.faiss")
    with pytest.raises(InputError, match="holds an index of kind flat, not ivf; run build_index"):
        load(tmp_path / "index.faiss", kind="ivf")


def test_what_cannot_be_indexed_is_one_clear_line():
    with pytest.raises(InputError, match=r"index\.kind is 'tree'"):
        build(random_codes(0, 9), kind="tree")
    with pytest.raises(InputError, match="nothing to index"):
        build(random_codes(0, 0))
    broken = random_vectors(0, 4)
    broken[1, 1] = np.nan
    with pytest.raises(InputError, match="NaN"):
        build(broken)
    for kind in ("ivf", "hnsw", "multihash"):
        with pytest.raises(InputError, match=r"real vectors.*set index\.kind=flat"):
            build(random_vectors(0, 9), kind)


def test_index_properties():
    assert build(random_codes(0, 9, 4)).bits == 32
    assert build(random_vectors(0, 9)).bits == 0
    asymmetric = build_asymmetric(random_codes(0, 9, 4))
    assert (asymmetric.bits, asymmetric.metric, asymmetric.faiss_index.d) == (0, "asymmetric", 32)
    assert isinstance(build(random_codes(0, 9), device="cuda"), SearchIndex)


@pytest.mark.parametrize("items", [random_codes(0, 20_000), np.ones((20_000, 4), np.float32)])
def test_an_index_that_finds_no_room_is_one_line_and_leaves_nothing(tmp_path, no_room, items):
    with pytest.raises(InputError, match=r"index\.faiss: not written whole \(.*\); make room$"):
        save(build(items), tmp_path / "index.faiss")
    assert list(tmp_path.iterdir()) == []
