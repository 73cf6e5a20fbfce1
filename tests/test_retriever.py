import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhash.codes import binarise, hamming, pack, unpack
from mmhash.errors import InputError
from mmhash.files import sha256_file, write_json, write_npy
from mmhash.index.kinds import KINDS, build, indexed_items, save
from mmhash.params import load_params
from mmhash.retriever import Retriever, knn_settings, open_retriever, query_latency

KNN = load_params(Path(__file__).resolve().parents[1] / "params.yaml").knn
DISTANCES = ["hamming", "cosine", "hybrid", "asymmetric"]


def soft_codes(seed: int, n: int, bits: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (n, bits)).astype(np.float32)


def make(kind: str = "flat", n: int = 40, soft: np.ndarray | None = None, **changes) -> Retriever:
    rng = np.random.default_rng(0)
    soft = soft_codes(0, n) if soft is None else soft
    labels = rng.integers(0, 2, (n, 5), dtype=np.uint8)
    basic = {"k": 7, "voting": "softmax", "tau": 0.07, "ties": "expected", **changes}
    return Retriever(
        build(pack(binarise(soft)), kind), labels, np.arange(100, 100 + n), **basic, soft=soft
    )


def queries(n: int) -> tuple[np.ndarray, np.ndarray]:
    soft = soft_codes(1, n)
    return pack(binarise(soft)), soft


def all_distances(distance: str, query: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Distances of soft codes (n, B) and (M, B), pair by pair from their definitions."""
    if distance == "hamming":
        return hamming(pack(binarise(query)), pack(binarise(items))).astype(float)
    if distance == "asymmetric":
        items = np.where(items >= 0, 1.0, -1.0)
        return 1 - query @ items.T / query.shape[1]
    lengths = np.linalg.norm(query, axis=1)[:, None] * np.linalg.norm(items, axis=1)
    return 1 - query @ items.T / lengths


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("distance", ["hamming", "cosine", "asymmetric"])
def test_the_neighbour_table_names_the_k_nearest_images(kind: str, distance: str) -> None:
    retriever = make(kind, distance=distance)
    codes, soft = queries(6)
    scores, table = retriever.score(codes, soft)
    assert scores.shape == (6, 5)
    assert table.num_rows == 6
    everything = all_distances(distance, soft, retriever.soft)
    distances = np.array(table["distances"].to_pylist())
    if kind != "multihash" or distance != "hamming":  # which misses some
        np.testing.assert_allclose(distances, np.sort(everything, axis=1)[:, :7], atol=1e-6)
    rows = np.array(table["neighbour_ids"].to_pylist()) - 100
    np.testing.assert_allclose(np.take_along_axis(everything, rows, axis=1), distances, atol=1e-6)
    weights = np.array(table["weights"].to_pylist())
    assert (weights >= 0).all()
    assert (weights.sum(axis=1) <= 1 + 1e-6).all()


@pytest.mark.parametrize("distance", ["cosine", "asymmetric"])
def test_similarity_of_real_valued_comparison_weighs_the_votes(distance: str) -> None:
    retriever = make(distance=distance)
    codes, soft = queries(6)
    similarity = 1 - all_distances(distance, soft, retriever.soft) / 2
    for scores, s in zip(retriever.score(codes, soft)[0], similarity, strict=True):
        nearest = np.argsort(-s)[:7]
        w = np.exp(s[nearest] / 0.07)
        np.testing.assert_allclose(
            scores, w / w.sum() @ retriever.labels[nearest], rtol=0, atol=2e-5
        )


@pytest.mark.parametrize("ties", ["expected", "row_id"])
@pytest.mark.parametrize("rerank", [7, 12, 100])
def test_hybrid_orders_the_hamming_neighbours_by_cosine(ties: str, rerank: int) -> None:
    retriever = make(distance="hybrid", rerank=rerank, ties=ties, voting="uniform")
    codes, soft = queries(9)
    scores, table = retriever.score(codes, soft)
    coarse = all_distances("hamming", soft, retriever.soft)
    fine = all_distances("cosine", soft, retriever.soft)
    cut = False
    for q in range(9):
        order = np.argsort(coarse[q], kind="stable")
        candidates = order[:rerank]
        if ties == "expected":
            candidates = np.flatnonzero(coarse[q] <= coarse[q][candidates[-1]])
            cut |= len(candidates) > rerank
        best = candidates[np.argsort(fine[q][candidates])][:7]
        assert table["neighbour_ids"][q].as_py() == (best + 100).tolist()
        np.testing.assert_allclose(table["distances"][q].as_py(), fine[q][best], atol=1e-6)
        np.testing.assert_allclose(scores[q], retriever.labels[best].mean(axis=0), atol=1e-6)
    assert cut == (ties == "expected" and rerank < 40)


@pytest.mark.parametrize("distance", DISTANCES)
def test_k_beyond_the_index_is_one_clear_line(distance: str) -> None:
    with pytest.raises(InputError, match=r"knn\.k is 41 but the index holds 40 items"):
        make(distance=distance, k=41).score(*queries(3))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    distance=st.sampled_from(DISTANCES),
    voting=st.sampled_from(["softmax", "uniform", "rank", "threshold"]),
    k=st.integers(1, 12),
)
def test_scores_do_not_depend_on_the_order_of_the_database(seed, distance, voting, k) -> None:
    rng = np.random.default_rng(seed)
    soft = rng.choice([-0.9, -0.5, 0.5, 0.9], (60, 8)).astype(np.float32)  # many ties
    soft[::3] = soft[0]
    query = rng.choice([-0.9, 0.9], (5, 8)).astype(np.float32)
    chosen = {"distance": distance, "voting": voting, "k": k, "rerank": 15, "threshold": 0.7}
    one = make(n=60, soft=soft, **chosen)
    shuffled = rng.permutation(60)
    other = replace(make(n=60, soft=soft[shuffled], **chosen), labels=one.labels[shuffled])
    codes = pack(binarise(query))
    before, after = (retriever.score(codes, query)[0] for retriever in (one, other))
    np.testing.assert_allclose(before, after, rtol=0, atol=1e-6)


def test_without_a_hash_layer_the_distance_is_the_cosine_of_z() -> None:
    z = soft_codes(3, 30)
    labels = np.random.default_rng(0).integers(0, 2, (30, 5), dtype=np.uint8)
    settings = {**knn_settings(KNN), "k": 20}
    tables = [
        Retriever(build(z), labels, np.arange(30), **{**settings, "distance": distance})
        .score(soft_codes(4, 5), None)[1]
        .to_pydict()
        for distance in DISTANCES
    ]
    assert all(table == tables[0] for table in tables)
    np.testing.assert_allclose(
        tables[0]["distances"],
        np.sort(all_distances("cosine", soft_codes(4, 5), z), axis=1)[:, :20],
        atol=1e-6,
    )


@pytest.mark.parametrize("distance", ["cosine", "hybrid", "asymmetric"])
def test_soft_codes_that_are_missing_or_do_not_fit_are_named(distance: str) -> None:
    codes, soft = queries(3)
    retriever = make(distance=distance)
    for wrong in (None, soft[:2], soft[:, :8]):
        with pytest.raises(InputError, match=rf"knn\.distance={distance} needs a soft code of 16"):
            retriever.score(codes, wrong)
    if distance != "asymmetric":
        with pytest.raises(InputError, match="needs the items' soft codes"):
            replace(retriever, soft=None).score(codes, soft)


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_flat_index_has_recall_one(distance: str) -> None:
    assert make(distance=distance).recall(queries(9)[0]) == 1.0


def test_recall_of_an_index_that_looks_into_one_cell_is_below_one() -> None:
    soft = soft_codes(0, 5000, 64)
    retriever = make("ivf", n=5000, soft=soft)
    codes = pack(binarise(soft_codes(1, 50, 64)))
    retriever.index.faiss_index.nprobe = 1
    found = retriever.recall(codes)
    exact = hamming(codes, indexed_items(retriever.index))
    kth = np.sort(exact, axis=1)[:, 6]
    _, rows = retriever.index.faiss_index.search(codes, 7)
    hits = [(exact[q][row[row >= 0]] <= kth[q]).sum() for q, row in enumerate(rows)]
    assert found == pytest.approx(sum(hits) / (7 * 50))
    assert found < 0.9


def test_latency_readings_are_positive() -> None:
    readings = query_latency(make().index, queries(30)[0], 5)
    assert readings["query_ms_p99"] >= readings["query_ms_p50"] > 0
    assert readings["queries_per_second_batched"] > 0


@pytest.mark.parametrize("distance", DISTANCES)
def test_latency_is_that_of_the_search_that_votes(
    distance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of 30 queries once more alone, ten of them to warm up."""
    retriever, asked = make(distance=distance), []
    search = Retriever._neighbours

    def watched(self, codes, soft):
        assert len(codes) == len(soft)
        asked.append(len(codes))
        return search(self, codes, soft)

    monkeypatch.setattr(Retriever, "_neighbours", watched)
    readings = retriever.latency(*queries(30))
    assert readings["query_ms_p99"] >= readings["query_ms_p50"] > 0
    assert asked == [1] * 40 + [30]
    assert retriever.searches_index_alone == (distance == "hamming")


def written(folder: Path, kind: str = "flat") -> Retriever:
    """Write what build_index writes; return the retriever that must come back."""
    retriever = make(kind)
    save(retriever.index, folder / "index.faiss")
    write_npy(folder / "labels.npy", retriever.labels)
    write_npy(folder / "image_id.npy", retriever.image_id)
    write_npy(folder / "soft.npy", retriever.soft.astype(np.float16))
    write_json(folder / "meta.json", {"kind": kind, "sha256": sha256_file(folder / "index.faiss")})
    return retriever


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("distance", DISTANCES)
def test_what_build_index_wrote_answers_as_the_block_says(
    tmp_path: Path, kind: str, distance: str
) -> None:
    expected = written(tmp_path, kind)
    knn = KNN.model_copy(update={"distance": distance, "k": 7, "rerank": 9, "voting": "rank"})
    opened = open_retriever(knn, tmp_path)
    assert (opened.distance, opened.k, opened.rerank, opened.voting) == (distance, 7, 9, "rank")
    assert (opened.tau, opened.ties, opened.threshold) == (KNN.tau, KNN.ties, KNN.threshold)
    changed = replace(expected, distance=distance, rerank=9, voting="rank")
    codes, soft = queries(4)
    np.testing.assert_allclose(
        opened.score(codes, soft)[0], changed.score(codes, soft)[0], atol=0.2
    )
    assert np.array_equal(unpack(indexed_items(opened.index)), binarise(expected.soft))


def test_files_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / "index.faiss"
    save(build(indexed_items(make().index), "hnsw"), path)
    with pytest.raises(InputError, match=r"index\.faiss: not the flat index that .*meta\.json"):
        open_retriever(KNN, tmp_path)
    written(tmp_path, "ivf")
    damaged = bytearray(path.read_bytes())
    damaged[-7] ^= 4
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=r"index\.faiss: not the ivf index .*run build_index"):
        open_retriever(KNN, tmp_path)
    for name in ("labels", "image_id", "soft"):
        written(tmp_path)
        write_npy(tmp_path / f"{name}.npy", np.zeros((3, 5), np.uint8))
        with pytest.raises(InputError, match=rf"{name}\.npy: 3 rows, but .* holds 40 items"):
            open_retriever(KNN, tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"index\.faiss: no such file"):
        open_retriever(KNN, tmp_path)
    assert json.loads((tmp_path / "meta.json").read_text())["kind"] == "flat"
