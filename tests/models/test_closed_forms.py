"""CCA, ITQ, CMFH and SCM as arrays: against references, and the objectives they lower."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import CCA

from mmhash.models.closed_forms import (
    canonical_directions,
    collective_factors,
    inverse_root,
    itq_rotation,
    leading_pairs,
    semantic_directions,
)


def correlated_pair(seed=0, n=300, dims=(7, 5), shared=3):
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n, shared))
    views = [common @ rng.standard_normal((shared, d)) + rng.standard_normal((n, d)) for d in dims]
    return [view - view.mean(axis=0) for view in views]


def test_inverse_root_whitens():
    x, _ = correlated_pair()
    white = x @ inverse_root(x, 1e-12)
    np.testing.assert_allclose(white.T @ white / len(x), np.eye(7), atol=1e-9)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_leading_pairs_are_the_largest_singular_triples(shape):
    m = np.random.default_rng(1).standard_normal(shape)
    u, s, v = leading_pairs(m, 4)
    np.testing.assert_allclose(s, np.linalg.svd(m)[1][:4], rtol=1e-9)
    np.testing.assert_allclose(m @ v, u * s, atol=1e-9)
    np.testing.assert_allclose(u.T @ u, np.eye(4), atol=1e-9)
    assert (u[np.abs(u).argmax(axis=0), range(4)] > 0).all()


def test_leading_pairs_beyond_the_rank_are_zero():
    m = np.outer([1.0, -2.0, 3.0], [1.0, 1.0])
    u, s, v = leading_pairs(m, 2)
    assert s[1] == 0
    assert not u[:, 1].any()
    assert not v[:, 1].any()


@given(seed=st.integers(0, 1000), flips=st.integers(0, 15))
@settings(max_examples=20)
def test_signs_of_pairs_follow_the_first_side_alone(seed, flips):
    m = np.random.default_rng(seed).standard_normal((5, 4))
    turn = np.array([-1.0 if flips >> j & 1 else 1.0 for j in range(4)])
    u, _, v = leading_pairs(m, 4)
    other_u, _, other_v = leading_pairs(m * turn, 4)
    np.testing.assert_allclose(other_u, u, atol=1e-7)
    np.testing.assert_allclose(other_v, v * turn[:, None], atol=1e-7)


def test_canonical_correlations_equal_those_of_scikit_learn():
    x, y = correlated_pair()
    left, right, rho = canonical_directions(x, y, 4, 1e-12)
    a, b = CCA(4, max_iter=5000, tol=1e-12).fit_transform(x, y)
    expected = [np.corrcoef(a[:, j], b[:, j])[0, 1] for j in range(4)]
    np.testing.assert_allclose(rho, expected, atol=1e-5)
    p, q = x @ left, y @ right
    np.testing.assert_allclose(p.T @ p / len(p), np.eye(4), atol=1e-8)
    np.testing.assert_allclose(p.T @ q / len(p), np.diag(rho), atol=1e-8)


def test_a_dependent_feature_adds_no_direction():
    x, y = correlated_pair(dims=(7, 4))
    shares = np.hstack([y, -y.sum(axis=1, keepdims=True)])  # rows sum to 0, rank 4
    left, _, rho = canonical_directions(x, shares, 5, 1e-9)
    assert rho[4] == 0
    assert not left[:, 4].any()
    np.testing.assert_allclose(rho[:4], canonical_directions(x, y, 4, 1e-9)[2], atol=1e-6)


def quantisation_error(v, q):
    projected = v @ q
    return float(((np.where(projected >= 0, 1.0, -1.0) - projected) ** 2).sum())


@pytest.mark.parametrize("bits", [6, 16])
def test_itq_lowers_the_quantisation_error_in_every_round(bits):
    v = np.random.default_rng(2).standard_normal((400, 6)) * [3, 2, 1, 1, 0.5, 0.2]
    errors = []
    for rounds in (0, 1, 2, 5, 20, 50):
        q = itq_rotation(v, bits, rounds, np.random.default_rng(3))
        np.testing.assert_allclose(q @ q.T, np.eye(6), atol=1e-10)
        errors.append(quantisation_error(v, q))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.99 * errors[0]


def cmfh(x, y, bits=4, rounds=15, seed=0, **changes):
    values = {"image_weight": 0.3, "mu": 10.0, "gamma": 0.01} | changes
    rng = np.random.default_rng(seed)
    return collective_factors(x, y, bits, iterations=rounds, rng=rng, **values)


@given(
    seed=st.integers(0, 1000),
    image_weight=st.floats(0.05, 0.95),
    mu=st.floats(0.1, 100),
    gamma=st.floats(1e-3, 1),
)
@settings(max_examples=20)
def test_the_objective_of_cmfh_falls_in_each_round(seed, image_weight, mu, gamma):
    x, y = correlated_pair(seed, n=60)
    _, _, objective = cmfh(x, y, image_weight=image_weight, mu=mu, gamma=gamma)
    assert (np.diff(objective) <= 1e-9 * np.abs(objective[:-1])).all()


def test_cmfh_without_rows_equals_the_published_updates_on_rows():
    x, y = correlated_pair(n=80)
    bits, mu, gamma, weights = 4, 10.0, 0.01, (0.3, 0.7)
    own, unified, objective = cmfh(x, y, bits, rounds=3)
    v = np.random.default_rng(0).standard_normal((80, bits))
    for _ in range(3):
        u = [
            np.linalg.solve(v.T @ v + gamma / w * np.eye(bits), v.T @ z)
            for w, z in zip(weights, (x, y), strict=True)
        ]
        p = [np.linalg.solve(z.T @ z + gamma / mu * np.eye(z.shape[1]), z.T @ v) for z in (x, y)]
        curvature = sum(w * f @ f.T for w, f in zip(weights, u, strict=True))
        curvature = curvature + (2 * mu + gamma) * np.eye(bits)
        pull = sum(z @ (w * f.T + mu * q) for w, z, f, q in zip(weights, (x, y), u, p, strict=True))
        v = pull @ np.linalg.inv(curvature)
    value = gamma * (v**2).sum()
    for w, z, f, q in zip(weights, (x, y), u, p, strict=True):
        value += w * ((z - v @ f) ** 2).sum() + mu * ((v - z @ q) ** 2).sum()
        value += gamma * ((f**2).sum() + (q**2).sum())
    np.testing.assert_allclose(x @ unified[0] + y @ unified[1], v, atol=1e-9)
    np.testing.assert_allclose(own[0], p[0], atol=1e-9)
    np.testing.assert_allclose(own[1], p[1], atol=1e-9)
    assert objective[-1] == pytest.approx(value, rel=1e-9)


def test_scm_finds_planted_labels():
    rng = np.random.default_rng(5)
    labels = np.eye(4)[rng.integers(0, 4, 400)]
    noise = rng.standard_normal((400, 20)) * 5  # louder than the classes
    views = [
        np.hstack([labels @ rng.standard_normal((4, 6)), part]) @ rng.standard_normal((16, 16))
        for part in (noise[:, :10], noise[:, 10:])
    ]
    x, y = (view + 0.1 * rng.standard_normal(view.shape) for view in views)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    left, right = semantic_directions(x, y, labels, 8, 1e-6)
    a, b = np.sign(x @ left), np.sign(y @ right)
    agreement = a @ b.T / 8
    same = labels @ labels.T > 0
    assert agreement[same].mean() > 0.9
    assert agreement[~same].mean() < 0.1


def test_scm_keeps_the_residual_of_all_pairs_without_forming_it():
    rng = np.random.default_rng(6)
    x, y = correlated_pair(n=50)
    labels = (rng.random((50, 3)) < 0.5).astype(np.uint8)  # some rows have none, some several
    bits, ridge = 3, 1e-6
    left, right = semantic_directions(x, y, labels, bits, ridge)
    length = np.linalg.norm(labels, axis=1, keepdims=True)
    unit = labels / np.maximum(length, 1)
    residual = bits * (2 * unit @ unit.T - 1)
    for bit in range(bits):
        white = inverse_root(x, ridge) @ x.T @ residual @ y @ inverse_root(y, ridge)
        u, _, v = leading_pairs(white, 1)
        np.testing.assert_allclose(left[:, bit], (inverse_root(x, ridge) @ u)[:, 0], atol=1e-8)
        np.testing.assert_allclose(right[:, bit], (inverse_root(y, ridge) @ v)[:, 0], atol=1e-8)
        residual -= np.outer(np.sign(x @ left[:, bit]), np.sign(y @ right[:, bit]))
