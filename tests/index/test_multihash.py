"""Multi-index hashing: the cells that are looked into hold what they must."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhash.codes import hamming, unpack
from mmhash.index import multihash
from mmhash.index.multihash import build_tables, flips, nearest, piece_values
from mmhash.index.reference import brute_force


def random_codes(seed: int, n: int, bytes_: int = 8, values: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, values, (n, bytes_), dtype=np.uint8)


@pytest.fixture
def without_limit(monkeypatch):
    """Let a query meet every item of a small base, where the flat search would take over."""
    monkeypatch.setattr(multihash, "MAX_SHARE", 1e9)


@pytest.mark.parametrize(
    ("n", "bytes_", "pieces"),
    [(6000, 8, 6), (6000, 2, 2), (9, 8, 8), (1, 1, 1), (70_000, 4, 2), (322_000, 16, 7)],
)
def test_a_table_has_fewer_than_two_cells_an_item(n, bytes_, pieces):
    tables = build_tables(random_codes(0, n, bytes_)).tables
    assert len(tables) == pieces
    assert [t.first for t in tables[1:]] == [t.last for t in tables[:-1]]
    assert (tables[0].first, tables[-1].last) == (0, 8 * bytes_)
    assert all(2 ** (t.last - t.first) < max(2 * n, 257) for t in tables)


def test_a_table_lists_every_item_once_in_its_cell():
    codes = random_codes(0, 3000, 4)
    for table in build_tables(codes).tables:
        bits = unpack(codes)[:, table.first : table.last].astype(int)
        key = bits @ (1 << np.arange(bits.shape[1]))
        assert np.array_equal(key, piece_values(codes, table.first, table.last))
        for cell in (0, 1, int(key[7]), len(table.begin) - 2):
            rows = table.rows[table.begin[cell] : table.begin[cell + 1]]
            assert rows.tolist() == np.flatnonzero(key == cell).tolist()
        assert table.begin[-1] == 3000


def test_flips_are_all_numbers_of_so_many_set_bits():
    for count in range(7):
        expected = [x for x in range(64) if x.bit_count() == count]
        assert sorted(flips(6, count).tolist()) == expected


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 400),
    k=st.integers(1, 30),
    bytes_=st.sampled_from([1, 2, 8, 16, 32]),
    values=st.sampled_from([1, 3, 256]),
)
def test_without_slack_and_limit_the_tables_are_exact(seed, n, k, bytes_, values):
    codes, queries = random_codes(seed, n, bytes_, values), random_codes(seed + 1, 7, bytes_)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multihash, "MAX_SHARE", 1e9)
        patch.setattr(multihash, "SLACK_A_PIECE", 0)
        (owner, distance, row), left = nearest(build_tables(codes), queries, min(k, n))
    truth = brute_force(codes, queries, min(k, n))
    assert not left.any()
    assert np.array_equal(np.bincount(owner, minlength=7), np.diff(truth.lims))
    assert np.array_equal(distance, truth.distances)
    assert np.array_equal(row, truth.rows)


def test_with_slack_whatever_lies_within_the_sure_radius_is_found(without_limit):
    codes, queries = random_codes(0, 3000), random_codes(1, 40)
    queries[::2] = codes[:20]
    queries[::2, 0] ^= 3
    tables = build_tables(codes)
    (owner, distance, row), _ = nearest(tables, queries, 3)
    true = hamming(queries, codes)
    assert np.array_equal(true[owner, row], distance)
    for q in range(40):
        mine = owner == q
        farthest = distance[mine].max()
        sure = farthest - len(tables.tables) * multihash.SLACK_A_PIECE
        assert np.isin(np.flatnonzero(true[q] <= sure), row[mine]).all()
        assert mine.sum() >= 3


def test_a_query_opposite_to_a_collapsed_base_finds_it():
    codes = np.full((20_000, 2), 255, dtype=np.uint8)
    (owner, distance, _), left = nearest(build_tables(codes), np.zeros((1, 2), np.uint8), 20)
    assert left.all() or (len(owner) >= 20 and (distance == 16).all())


def test_a_query_amid_too_many_items_is_left_out():
    codes = np.concatenate([np.zeros((500, 8), np.uint8), random_codes(0, 5000)])
    queries = np.stack([codes[0], codes[-1]])
    (owner, _, _), left = nearest(build_tables(codes), queries, 1)
    assert left.tolist() == [True, False]
    assert owner.tolist() == [1]
