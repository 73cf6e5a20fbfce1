import numpy as np
import pytest

from mmhash.codes import unpack
from mmhash.errors import InputError
from mmhash.index.kinds import build
from mmhash.index.neighbours import kth_distance
from mmhash.index.reference import brute_force, tie_aware_recall


def random_codes(seed: int, n: int, bytes_: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, bytes_), dtype=np.uint8)


def test_a_hit_is_any_item_of_the_kth_shell():
    reference = np.array([2, 5])
    assert tie_aware_recall(np.array([[0, 2, 2], [1, 5, 6]]), reference) == pytest.approx(5 / 6)
    unfilled = np.array([[0, 2, 2**31 - 1], [5, 5, 5]])
    assert tie_aware_recall(unfilled, reference) == pytest.approx(5 / 6)


def test_exact_search_has_full_recall():
    items, queries = random_codes(0, 400), random_codes(1, 10)
    distances, _ = build(items).flat.search(queries, 20)
    truth = kth_distance(brute_force(items, queries, 20), 20)
    assert tie_aware_recall(distances, truth) == 1
    assert tie_aware_recall(distances + 1, truth) < 1


def test_kth_distance_needs_a_search_that_wide():
    found = brute_force(np.arange(8, dtype=np.uint8)[:, None], np.zeros((1, 1), np.uint8), 2)
    assert kth_distance(found, 2).tolist() == [1]
    with pytest.raises(InputError, match="smaller k"):
        kth_distance(found, 8)


def test_distances_follow_their_definitions_pair_by_pair():
    codes = random_codes(0, 30)
    h = np.random.default_rng(1).uniform(-1, 1, (4, 16))
    vectors = np.random.default_rng(2).normal(size=(30, 16))
    for items, queries in ((codes, codes[:4]), (codes, h), (vectors, h)):
        found = brute_force(items, queries, 5)
        for q in range(4):
            everything = []
            for row in range(30):
                if items is vectors:
                    lengths = np.linalg.norm(h[q]) * np.linalg.norm(vectors[row])
                    everything.append(1 - h[q] @ vectors[row] / lengths)
                elif queries is h:
                    everything.append(1 - h[q] @ (2.0 * unpack(codes)[row] - 1) / 16)
                else:
                    everything.append(int((unpack(codes)[q] != unpack(codes)[row]).sum()))
            part = slice(found.lims[q], found.lims[q + 1])
            np.testing.assert_allclose(
                found.distances[part], np.array(everything)[found.rows[part]], atol=1e-6
            )
            kth = np.sort(everything)[4]
            assert len(found.rows[part]) == (np.array(everything) <= kth + 1e-9).sum()
