import numpy as np

from mmhash.evaluation import evaluate_head, probabilities


def test_probabilities_are_the_sigmoid_without_overflow() -> None:
    logits = np.array([[-1e4, -2.0, 0.0, 2.0, 1e4]], dtype=np.float32)
    expected = [[0.0, 1 / (1 + np.e**2), 0.5, 1 / (1 + np.e**-2), 1.0]]
    with np.errstate(over="raise"):
        np.testing.assert_allclose(probabilities(logits), expected, rtol=1e-6)


def test_thresholds_come_from_val_and_serve_both_splits() -> None:
    rng = np.random.default_rng(2)
    labels = {name: (rng.random((50, 4)) < 0.4).astype(np.uint8) for name in ("val", "test")}
    scores = {
        name: (0.6 * labels[name] + 0.4 * rng.random((50, 4))).astype(np.float32) for name in labels
    }
    settings = {"mode": "global", "bootstrap_samples": 100, "bootstrap_seed": 0}
    figures, thresholds, notes = evaluate_head("knn", scores, labels, **settings)
    assert figures["val"]["threshold"] == figures["test"]["threshold"] == thresholds["global"]
    assert figures["test"]["mAP_low"] <= figures["test"]["mAP"] <= figures["test"]["mAP_high"]
    other = {"val": labels["val"], "test": 1 - labels["test"]}
    assert evaluate_head("knn", scores, other, **settings)[1] == thresholds
    assert isinstance(notes, list)


def test_a_constant_head_is_said_to_be_at_chance() -> None:
    labels = (np.random.default_rng(3).random((30, 4)) < 0.4).astype(np.uint8)
    both = {"val": labels, "test": labels}
    constant = {name: np.full((30, 4), 0.5, np.float32) for name in both}
    _, _, notes = evaluate_head(
        "knn", constant, both, mode="global", bootstrap_samples=100, bootstrap_seed=0
    )
    assert len(notes) == 2
    assert "at chance" in notes[0]
