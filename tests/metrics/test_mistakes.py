import numpy as np

from mmhash.metrics.mistakes import worst_mistakes


def test_mistakes_are_wrong_decisions_worst_first_by_class() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 8, (200, 5)).astype(np.float32) / 8  # many are equal
    labels = rng.integers(0, 2, (200, 5)).astype(np.uint8)
    cuts = np.array([0.25, 0.5, 0.375, 0.0, 1.5])
    found = worst_mistakes(scores, labels, cuts, 4)
    for c, cut in enumerate(cuts):
        column, truth = scores[:, c].tolist(), labels[:, c]
        wrong = sorted((-s, r) for r, s in enumerate(column) if s >= cut and not truth[r])
        assert found["positives"].rows[c].tolist() == [row for _, row in wrong[:4]]
        assert found["positives"].counts[c] == len(wrong)
        missed = sorted((s, r) for r, s in enumerate(column) if s < cut and truth[r])
        assert found["negatives"].rows[c].tolist() == [row for _, row in missed[:4]]
        assert found["negatives"].counts[c] == len(missed)


def test_a_score_at_the_threshold_is_named() -> None:
    found = worst_mistakes(np.array([[0.5]]), np.array([[0]]), 0.5, 1)
    assert found["positives"].rows[0].tolist() == [0]
