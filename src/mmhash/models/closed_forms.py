"""Linear maps of two modalities by closed forms: CCA, ITQ, CMFH and SCM, on float64 arrays.

Rows are items: X_1 (n, D_i) holds images, X_2 (n, D_t) texts, and both are centred. (Papers often
write items as columns.) Eigenvectors come from symmetric eigensolvers, and their arbitrary sign is
chosen here, so that another LAPACK gives the same maps.
"""

import numpy as np
from scipy import linalg

SMALLEST_CORRELATION = 1e-5  # far below the 1 / √n that unrelated data show: rounding alone


def inverse_root(x: np.ndarray, ridge: float) -> np.ndarray:
    """Return (C + r I)^(-1/2), symmetric (D, D), of C = XᵀX / n with r = ``ridge`` · tr C / D.

    ``x`` is (n, D), centred, not all zero. A ridge relative to the mean variance does not depend
    on the unit of the features.
    """
    covariance = x.T @ x / len(x)
    covariance[np.diag_indices_from(covariance)] += ridge * np.trace(covariance) / len(covariance)
    values, vectors = linalg.eigh(covariance)
    root: np.ndarray = (vectors / np.sqrt(values)) @ vectors.T
    return root


def leading_pairs(m: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ``count`` largest singular triples of ``m`` (a, b): U (a, c), s (c,), V (b, c).

    By the symmetric eigenproblem of the smaller of MᵀM and MMᵀ. Signs: the entry of largest
    magnitude in each column of U is positive. Values up to :data:`SMALLEST_CORRELATION` times the
    largest are rounding; their s, u and v are 0. ``count`` is at most min(a, b).
    """
    wide = m.shape[0] < m.shape[1]
    side = m.T if wide else m  # (long, short)
    short = side.shape[1]
    values, near = linalg.eigh(side.T @ side, subset_by_index=[short - count, short - 1])
    s, near = np.sqrt(np.maximum(values[::-1], 0)), near[:, ::-1]
    real = s > SMALLEST_CORRELATION * s[0]
    s, near = s * real, near * real
    far = side @ near / np.where(real, s, 1)
    u, v = (near, far) if wide else (far, near)
    largest = u[np.abs(u).argmax(axis=0), np.arange(count)]
    sign = np.where(largest < 0, -1.0, 1.0)
    return u * sign, s, v * sign


def canonical_directions(
    image: np.ndarray, text: np.ndarray, count: int, ridge: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return W_1 (D_i, c), W_2 (D_t, c) and the canonical correlations ρ (c,), largest first.

    Canonical correlation analysis (Hotelling, Biometrika 28, 1936): U, ρ, V are the singular
    triples of C_11^(-1/2) C_12 C_22^(-1/2), W_1 = C_11^(-1/2) U, W_2 = C_22^(-1/2) V, covariances
    with the ridge of :func:`inverse_root`. Projections have variance 1 (a little less, by the
    ridge); directions without any correlation, as where features are linearly dependent, are 0.
    """
    left, right = inverse_root(image, ridge), inverse_root(text, ridge)
    u, correlations, v = leading_pairs(left @ (image.T @ text / len(image)) @ right, count)
    return left @ u, right @ v, correlations


def itq_rotation(v: np.ndarray, bits: int, iterations: int, rng: np.random.Generator) -> np.ndarray:
    """Return Q (c, bits) with QQᵀ = I that brings VQ close to its signs; ``v`` is (n, c).

    Iterative quantisation (Gong & Lazebnik, CVPR 2011, Eq. 2): min ‖B − VQ‖² over B in {-1, 1} and
    rotations Q, in turn B = sgn(VQ) and Q = S̃Sᵀ, where S̃ΩSᵀ is the singular value decomposition
    of VᵀB. Published for c = bits. With c < bits the same steps hold for Q with orthonormal rows:
    a random orthogonal expansion to ``bits`` dimensions, drawn from ``rng``, and the rotation of
    it in one matrix. (faiss.ITQMatrix rotates square matrices alone.) Requires c <= bits.
    """
    draw = rng.standard_normal((bits, v.shape[1]))
    orthogonal, triangle = np.linalg.qr(draw)
    q = (orthogonal * np.where(np.diag(triangle) < 0, -1.0, 1.0)).T
    for _ in range(iterations):
        b = np.where(v @ q >= 0, 1.0, -1.0)
        left, _, right = np.linalg.svd(v.T @ b, full_matrices=False)
        q = left @ right
    return q


def collective_factors(
    image: np.ndarray,
    text: np.ndarray,
    bits: int,
    *,
    image_weight: float,
    mu: float,
    gamma: float,
    iterations: int,
    rng: np.random.Generator,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], list[float]]:
    """Return ((P_1, P_2), (A_1, A_2), objective after each round) of CMFH.

    Collective matrix factorisation hashing (Ding, Guo & Zhou, CVPR 2014, overall objective), with
    items as rows, λ_1 = ``image_weight``, λ_2 = 1 − λ_1:

        O = Σ_m λ_m ‖X_m − V U_m‖² + μ ‖V − X_m P_m‖² + γ (‖U_m‖² + ‖P_m‖²)  + γ ‖V‖²

    Each round sets every factor to its minimiser, the others held:

        U_m = (VᵀV + γ/λ_m I)⁻¹ VᵀX_m        P_m = (X_mᵀX_m + γ/μ I)⁻¹ X_mᵀV
        V = Σ_m X_m A_m,   A_m = (λ_m U_mᵀ + μ P_m) (Σ_m λ_m U_m U_mᵀ + (2μ + γ) I)⁻¹

    V starts random and is then linear in the features, so that rounds need XᵀX alone, not n rows.
    P_m (D_m, bits) encodes an item by one modality; A_m (D_m, bits) gives the unified code V of a
    pair, for training pairs the very V of the factorisation.

    μ and γ are absolute, as published, while the other terms grow with n and with the unit of the
    features: where Σ‖X_m‖² is small, γ wins and V tends to one direction, then to 0.
    """
    x = np.hstack([image, text])
    parts = (slice(0, image.shape[1]), slice(image.shape[1], x.shape[1]))
    weights = (image_weight, 1 - image_weight)
    gram = x.T @ x
    eye = np.eye(bits)
    solvers = [linalg.cho_factor(_plus_diagonal(gram[part, part], gamma / mu)) for part in parts]
    start = rng.standard_normal((len(x), bits))
    cross, inner = x.T @ start, start.T @ start  # XᵀV and VᵀV
    del start
    objective = []
    for _ in range(iterations):
        u = [
            linalg.solve(inner + gamma / weight * eye, cross[part].T, assume_a="pos")
            for weight, part in zip(weights, parts, strict=True)
        ]
        p = [
            linalg.cho_solve(solver, cross[part])
            for solver, part in zip(solvers, parts, strict=True)
        ]
        curvature = (2 * mu + gamma) * eye
        for weight, factor in zip(weights, u, strict=True):
            curvature += weight * factor @ factor.T
        pull = np.vstack([w * f.T + mu * q for w, f, q in zip(weights, u, p, strict=True)])
        a = linalg.solve(curvature, pull.T, assume_a="pos").T
        cross = gram @ a
        inner = a.T @ cross
        total = gamma * np.trace(inner)
        for weight, part, f, q in zip(weights, parts, u, p, strict=True):
            own = gram[part, part]
            rebuilt = np.trace(own) - 2 * np.sum(f.T * cross[part]) + np.sum(f * (inner @ f))
            projected = np.trace(inner) - 2 * np.sum(q * cross[part]) + np.sum(q * (own @ q))
            total += weight * rebuilt + mu * projected + gamma * (np.sum(f**2) + np.sum(q**2))
        objective.append(float(total))
    return (p[0], p[1]), (a[parts[0]], a[parts[1]]), objective


def semantic_directions(
    image: np.ndarray, text: np.ndarray, labels: np.ndarray, bits: int, ridge: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return W_1 (D_i, bits) and W_2 (D_t, bits) of SCM, learnt one bit after the other.

    Semantic correlation maximisation, sequential learning (Zhang & Li, AAAI 2014): with label
    rows of length one L̃, S = 2 L̃L̃ᵀ − 11ᵀ, and R_t = bits · S − Σ_{k<t} sgn(X_1 w_k) sgn(X_2 v_k)ᵀ,
    bit t maximises wᵀ X_1ᵀ R_t X_2 v at unit variance of X_1 w and X_2 v (with the ridge of
    :func:`inverse_root`): the largest singular pair of the whitened X_1ᵀ R_t X_2. R_t, (n, n), is
    never formed. ``labels`` is (n, C) of 0 and 1; a row without a label is like no other row.
    """
    length = np.linalg.norm(labels, axis=1, keepdims=True)
    unit = labels / np.where(length == 0, 1, length)
    left, right = inverse_root(image, ridge), inverse_root(text, ridge)
    white_image, white_text = image @ left, text @ right
    residual = 2 * (white_image.T @ unit) @ (white_text.T @ unit).T
    residual -= np.outer(white_image.sum(axis=0), white_text.sum(axis=0))
    residual *= bits
    directions = np.empty((image.shape[1], bits)), np.empty((text.shape[1], bits))
    for bit in range(bits):
        u, _, v = leading_pairs(residual, 1)
        signs = [
            np.where(x @ w[:, 0] >= 0, 1.0, -1.0) for x, w in ((white_image, u), (white_text, v))
        ]
        residual -= np.outer(white_image.T @ signs[0], white_text.T @ signs[1])
        directions[0][:, bit], directions[1][:, bit] = left @ u[:, 0], right @ v[:, 0]
    return directions


def _plus_diagonal(square: np.ndarray, value: float) -> np.ndarray:
    result = square.copy()
    result[np.diag_indices_from(result)] += value
    return result
