import itertools
import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from mmhash.codes import hamming
from mmhash.errors import InputError
from mmhash.metrics import retrieval
from mmhash.metrics.retrieval import (
    hamming_levels,
    metrics_from_levels,
    precision_recall_by_distance,
    retrieval_metrics,
    vector_retrieval_metrics,
)
from mmhash.metrics.tie_aware import average_precision_all, shells_from_levels


def draw(seed: int, queries: int = 6, items: int = 50, classes: int = 9, bytes_: int = 2):
    rng = np.random.default_rng(seed)
    codes = [rng.integers(0, 256, (n, bytes_), dtype=np.uint8) for n in (queries, items)]
    labels = [(rng.random((n, classes)) < 0.15).astype(np.uint8) for n in (queries, items)]
    labels[0][0] = 0
    return codes[0], labels[0], codes[1], labels[1]


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    classes=st.sampled_from([1, 8, 9, 64, 70, 130]),
    bytes_=st.sampled_from([1, 8, 16, 32]),
)
def test_levels_count_pairs_at_each_distance(seed, classes, bytes_):
    q, ql, db, dl = draw(seed, classes=classes, bytes_=bytes_)
    size, relevant = hamming_levels(q, ql, db, dl)
    distance, shared = hamming(q, db), ql.astype(int) @ dl.T > 0
    for d in range(bytes_ * 8 + 1):
        assert np.array_equal(size[:, d], (distance == d).sum(axis=1))
        assert np.array_equal(relevant[:, d], ((distance == d) & shared).sum(axis=1))


@pytest.mark.parametrize("block", [1, 120, 1 << 21])
def test_block_size_does_not_change_the_levels(monkeypatch, block):
    data = draw(0)
    expected = hamming_levels(*data)
    monkeypatch.setattr(retrieval, "CODE_PAIRS", block)
    for found, reference in zip(hamming_levels(*data), expected, strict=True):
        assert np.array_equal(found, reference)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_order_of_the_database_does_not_matter(seed):
    q, ql, db, dl = draw(seed)
    shuffled = np.random.default_rng(seed).permutation(len(db))
    assert retrieval_metrics(q, ql, db, dl) == retrieval_metrics(q, ql, db[shuffled], dl[shuffled])


def test_expected_figure_is_the_mean_over_shuffled_databases():
    q, ql, db, dl = draw(1, bytes_=1)
    rng = np.random.default_rng(0)
    shared = ql.astype(int) @ dl.T > 0
    runs = []
    for _ in range(400):
        order = rng.permutation(len(db))
        ranks = np.argsort(np.argsort(hamming(q, db)[:, order], axis=1, kind="stable"), axis=1)
        ap = [
            average_precision_score(y, -rank) if y.any() else 0.0
            for y, rank in zip(shared[:, order], ranks, strict=True)
        ]
        runs.append(np.mean(ap))
    found = retrieval_metrics(q, ql, db, dl)
    assert found["mAP@all"] == pytest.approx(np.mean(runs), abs=4 * np.std(runs) / 20)
    assert found["mAP@all_worst"] < min(runs) <= max(runs) < found["mAP@all_best"]


def naive_figures(ranking: np.ndarray, cut_offs: tuple[int, ...], top_n: tuple[int, ...]) -> dict:
    """Every figure of one ranking, which says of each place whether it is relevant."""
    hits = [place for place, relevant in enumerate(ranking, start=1) if relevant]
    precision = [number / place for number, place in enumerate(hits, start=1)]
    figures = {"mAP@all": sum(precision) / max(1, len(hits))}
    for k in cut_offs:
        inside = sum(place <= k for place in hits)
        figures[f"mAP@{k}"] = sum(precision[:inside]) / max(1, inside)
        figures[f"mAP@{k}_relevant"] = sum(precision[:k]) / max(1, min(k, len(hits)))
    return figures | {f"P@{n}": sum(ranking[:n]) / n for n in top_n}


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), bits=st.sampled_from([1, 2, 8]), collapsed=st.booleans())
def test_every_figure_equals_a_naive_reference_over_all_orders_of_the_database(
    seed, bits, collapsed
):
    """Few bits make ties; the first query, the first item and some others carry no label."""
    q, ql, db, dl = draw(seed, queries=4, items=6, classes=4, bytes_=1)
    mask = np.uint8((1 << bits) - 1)
    q, db, dl[0] = q & mask, db & mask, 0
    dl[1] = ql[1] = 1
    if collapsed:
        db[:] = db[0]
    cut_offs, top_n = (2, 4, 9), (1, 3, 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "CUT_OFFS", cut_offs)
        patch.setattr(retrieval, "TOP_N", (*top_n, 7))
        found = retrieval_metrics(q, ql, db, dl)

    orders = np.array(list(itertools.permutations(range(len(db)))))
    names = list(naive_figures(np.zeros(6), cut_offs, top_n))
    ranked, chance = (np.zeros((len(q), len(orders), len(names))) for _ in range(2))
    radius = {"precision": [], "recall": [], "precision_chance": [], "recall_chance": []}
    for i in range(len(q)):
        distance = np.array([bin(int(q[i, 0]) ^ int(code)).count("1") for code in db[:, 0]])
        shared = np.array([bool(set(np.flatnonzero(ql[i])) & set(np.flatnonzero(x))) for x in dl])
        for j, order in enumerate(orders):
            nearest = sorted(order, key=lambda item: distance[item])  # stable: ties as they stood
            for table, ranking in ((ranked, shared[nearest]), (chance, shared[order])):
                table[i, j] = list(naive_figures(ranking, cut_offs, top_n).values())
        near = distance <= 2
        hits, total = (near & shared).sum(), shared.sum()
        radius["precision"].append(hits / max(1, near.sum()))
        radius["recall"].append(hits / max(1, total))
        radius["precision_chance"].append(total / len(db) if near.any() else 0)
        radius["recall_chance"].append(near.mean() if total else 0)
    assert found["queries_without_relevant"] == (ranked[:, 0].max(axis=1) == 0).sum() >= 1
    for column, name in enumerate(names):
        by_query = ranked[:, :, column]
        expected = {name: by_query.mean()}
        bounds = {"worst": by_query.min(axis=1).mean(), "best": by_query.max(axis=1).mean()}
        if name.startswith("mAP"):
            expected |= {f"{name}_{bound}": value for bound, value in bounds.items()}
            expected[f"{name}_chance"] = chance[:, :, column].mean()
        else:
            expected |= {f"P_{bound}@{name[2:]}": value for bound, value in bounds.items()}
        for key, value in expected.items():
            assert found[key] == pytest.approx(value, abs=1e-9), key
    assert found["P_chance"] == pytest.approx(chance[:, :, names.index("P@1")].mean(), abs=1e-9)
    for name, values in radius.items():
        assert found[f"radius2_{name}"] == pytest.approx(np.mean(values), abs=1e-9), name
    assert not {"P@7", "P_worst@7", "P_best@7"} & set(found)


def test_label_less_items_and_queries_are_never_relevant():
    codes = np.zeros((2, 1), dtype=np.uint8)
    labels = np.array([[0, 0], [1, 0]], dtype=np.uint8)
    _, relevant = hamming_levels(codes, labels, codes, labels)
    assert relevant.sum(axis=1).tolist() == [0, 1]


def test_queries_without_a_relevant_item_count_zero_and_are_counted():
    q, ql, db, dl = draw(2)
    found = retrieval_metrics(q, ql, db, dl)
    some = (ql.astype(int) @ dl.T > 0).any(axis=1)
    rest = retrieval_metrics(q[some], ql[some], db, dl)
    assert found["queries_without_relevant"] == (~some).sum() > 0
    for name in (
        "mAP@50",
        "mAP@all",
        "mAP@50_relevant",
        "P@10",
        "radius2_recall",
        "mAP@all_chance",
    ):
        assert found[name] == pytest.approx(rest[name] * some.mean(), abs=1e-12)


def test_radius_two_by_hand():
    q, ql = np.array([[0], [0b11110000]], np.uint8), np.array([[1], [1]], np.uint8)
    db = np.array([[0], [1], [3], [7]], np.uint8)
    dl = np.array([[1], [0], [1], [1]], np.uint8)
    found = retrieval_metrics(q, ql, db, dl)
    assert found["radius2_precision"] == pytest.approx(2 / 3 / 2)
    assert found["radius2_recall"] == pytest.approx(2 / 3 / 2)
    assert found["radius2_empty_queries"] == 1
    assert found["radius2_precision_chance"] == pytest.approx(3 / 4 / 2)
    assert found["radius2_recall_chance"] == pytest.approx(3 / 4 / 2)


def test_collapsed_codes_score_exactly_chance():
    q, ql, db, dl = draw(3)
    found = retrieval_metrics(np.zeros_like(q), ql, np.zeros_like(db), dl)
    for name in ("mAP@50", "mAP@5000", "mAP@all", "mAP@50_relevant", "mAP@5000_relevant"):
        assert found[name] == pytest.approx(found[f"{name}_chance"], abs=1e-12)
    assert found["P@10"] == pytest.approx(found["P_chance"], abs=1e-12)


def test_cut_offs_beyond_the_database_equal_the_whole():
    found = retrieval_metrics(*draw(4))
    assert found["mAP@5000"] == pytest.approx(found["mAP@all"], abs=1e-12)
    assert found["mAP@5000_relevant"] == pytest.approx(found["mAP@all"], abs=1e-12)
    assert "P@50" in found
    assert "P@100" not in found


def test_precision_recall_by_distance_equals_its_definition():
    q, ql, db, dl = draw(5)
    curve = precision_recall_by_distance(*hamming_levels(q, ql, db, dl))
    distance, shared = hamming(q, db), ql.astype(int) @ dl.T > 0
    for d in curve["distance"]:
        inside = distance <= d
        found = (inside & shared).sum(axis=1)
        precision = found / np.maximum(inside.sum(axis=1), 1)
        recall = found / np.maximum(shared.sum(axis=1), 1)
        assert curve["precision"][d] == pytest.approx(precision.mean(), abs=1e-12)
        assert curve["recall"][d] == pytest.approx(recall.mean(), abs=1e-12)
        assert curve["retrieved"][d] == pytest.approx(inside.sum(axis=1).mean())


def test_figures_are_plain_and_chance_stands_beside():
    found = retrieval_metrics(*draw(6))
    assert {type(value) for value in found.values()} <= {int, float}
    json.dumps(found, allow_nan=False)
    for name in [key for key in found if key.startswith("mAP") and key.count("_") <= 1]:
        if name.removesuffix("_relevant") in ("mAP@50", "mAP@5000", "mAP@all"):
            assert {f"{name}_worst", f"{name}_best", f"{name}_chance"} <= set(found)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), block=st.sampled_from([1, 130, 1 << 21]))
def test_real_vectors_without_ties_equal_scikit_learn(seed, block):
    _, ql, _, dl = draw(seed)
    rng = np.random.default_rng(seed)
    q, db = rng.normal(size=(6, 8)), rng.normal(size=(50, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "VECTOR_PAIRS", block)
        found = vector_retrieval_metrics(q, ql, db, dl)
    cosine = (q / np.linalg.norm(q, axis=1)[:, None]) @ (db / np.linalg.norm(db, axis=1)[:, None]).T
    assume(np.diff(np.sort(cosine)).min() * retrieval.COSINE_STEPS > 4)
    shared = ql.astype(int) @ dl.T > 0
    expected = [
        average_precision_score(y, s) if y.any() else 0.0
        for y, s in zip(shared, cosine, strict=True)
    ]
    for name in ("mAP@all", "mAP@all_worst", "mAP@all_best"):
        assert found[name] == pytest.approx(np.mean(expected), abs=1e-9)
    assert found["database"] == 50


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_signs_as_real_vectors_rank_like_the_codes(seed):
    q, ql, db, dl = draw(seed)
    real = [2.0 * np.unpackbits(codes, axis=1) - 1 for codes in (q, db)]
    by_code = retrieval_metrics(q, ql, db, dl)
    by_cosine = retrieval_metrics(real[0], ql, real[1], dl)
    for name, value in by_cosine.items():
        assert value == pytest.approx(by_code[name], abs=1e-9), name
    assert {name for name in by_code if name not in by_cosine} == {
        name for name in by_code if name.startswith("radius2")
    }


def test_figures_of_levels_are_means_over_queries():
    size, relevant = hamming_levels(*draw(7))
    found = metrics_from_levels(size, relevant)
    expected = average_precision_all(shells_from_levels(size, relevant)).expected.mean()
    assert found["mAP@all"] == expected


def test_unfit_input_is_refused():
    q, ql, db, dl = draw(8)
    with pytest.raises(InputError, match="needs queries and a database"):
        retrieval_metrics(q[:0], ql[:0], db, dl)
    with pytest.raises(InputError, match="differ in the width"):
        retrieval_metrics(q[:, :1], ql, db, dl)
    with pytest.raises(InputError, match="one row an item"):
        retrieval_metrics(q, ql[:-1], db, dl)
