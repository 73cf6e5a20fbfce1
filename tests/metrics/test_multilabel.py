import json

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
import torchmetrics.functional.classification as tm

from mmhash.errors import InputError
from mmhash.metrics.multilabel import (
    classes_without_positive,
    macro_f1,
    multilabel_metrics,
    per_class_table,
    plausibility_note,
    rare_classes,
)

NAMES = [f"class {c}" for c in range(8)]
EMPTY_CLASS, CONSTANT_CLASS = 5, 6


@pytest.fixture(scope="module")
def scored() -> tuple[np.ndarray, np.ndarray]:
    """Float32 scores of 60 images and 8 classes: one class without a positive, ties, some images
    without a label."""
    rng = np.random.default_rng(0)
    labels = (rng.random((60, 8)) < 0.3).astype(np.uint8)
    labels[:2] = 0
    labels[:, EMPTY_CLASS] = 0
    scores = np.clip(0.4 * labels + 0.6 * rng.random((60, 8)), 0, 1).astype(np.float32)
    scores[:, 3] = np.round(scores[:, 3], 1)
    scores[:, CONSTANT_CLASS] = 0.4
    return scores, labels


def kept(array: np.ndarray) -> np.ndarray:
    return np.delete(array, EMPTY_CLASS, axis=1)


def test_ranking_figures_equal_scikit_learn(scored):
    scores, labels = scored
    found = multilabel_metrics(scores, labels, 0.45)
    s, y = kept(scores).astype(np.float64), kept(labels)
    some = labels.any(axis=1)
    expected = {
        "mAP": sk.average_precision_score(y, s, average="macro"),
        "mAP_per_sample": sk.average_precision_score(labels[some], scores[some], average="samples"),
        "AUC_macro": sk.roc_auc_score(y, s, average="macro"),
        "AUC_micro": sk.roc_auc_score(labels, scores, average="micro"),
        "coverage_error": sk.coverage_error(labels[some], scores[some]),
        "ranking_loss": sk.label_ranking_loss(labels[some], scores[some]),
        "LRAP": sk.label_ranking_average_precision_score(labels[some], scores[some]),
        "MAE": np.abs(scores.astype(np.float64) - labels).mean(),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert found["mAP_voc"] > found["mAP"]


@pytest.mark.parametrize(("threshold", "suffix"), [(0.45, ""), (0.5, "_at_0.5")])
def test_decision_figures_equal_scikit_learn(scored, threshold, suffix):
    scores, labels = scored
    found = multilabel_metrics(scores, labels, 0.45)
    made = scores.astype(np.float64) >= threshold
    some = labels.any(axis=1)
    cp = sk.precision_score(kept(labels), kept(made), average="macro", zero_division=0)
    cr = sk.recall_score(kept(labels), kept(made), average="macro")
    expected = {
        "CP": cp,
        "CR": cr,
        "CF1": 2 * cp * cr / (cp + cr),
        "OP": sk.precision_score(labels, made, average="micro"),
        "OR": sk.recall_score(labels, made, average="micro"),
        "OF1": sk.f1_score(labels, made, average="micro"),
        "F1_micro": sk.f1_score(labels, made, average="micro"),
        "F1_macro": sk.f1_score(kept(labels), kept(made), average="macro"),
        "F1_per_sample": sk.f1_score(labels[some], made[some], average="samples", zero_division=0),
        "Hamming_loss": sk.hamming_loss(labels, made),
    }
    got = {name: found[name + suffix] for name in expected}
    assert got == pytest.approx(expected, abs=1e-9)


def test_figures_equal_torchmetrics(scored):
    scores, labels = (torch.from_numpy(kept(array)) for array in scored)
    found = multilabel_metrics(kept(scored[0]), kept(scored[1]), 0.45)
    labels = labels.long()
    expected = {
        "mAP": tm.multilabel_average_precision(scores.double(), labels, 7),
        "OF1": tm.multilabel_f1_score(scores, labels, 7, threshold=0.45, average="micro"),
        "F1_macro": tm.multilabel_f1_score(scores, labels, 7, threshold=0.45),
        "Hamming_loss": tm.multilabel_hamming_distance(scores, labels, 7, threshold=0.45),
    }
    # torchmetrics works in float32 inside
    for name, value in expected.items():
        assert found[name] == pytest.approx(value.item(), abs=1e-6)


def test_top_k_figures_follow_their_definition():
    rng = np.random.default_rng(1)
    labels = (rng.random((40, 8)) < 0.3).astype(np.uint8)
    labels[:, 0] |= ~labels.any(axis=0)[0]
    scores = rng.random((40, 8))
    found = multilabel_metrics(scores, labels, 0.8)
    order = np.argsort(-scores, axis=1)
    some = labels.any(axis=1)
    for k in (1, 3, 5):
        hits = np.take_along_axis(labels, order[:, :k], axis=1).sum(axis=1)
        assert found[f"P@{k}"] == pytest.approx((hits[some] / k).mean(), abs=1e-12)
        share = hits[some] / labels[some].sum(axis=1)
        assert found[f"R@{k}"] == pytest.approx(share.mean(), abs=1e-12)
    top = np.zeros_like(labels)
    np.put_along_axis(top, order[:, :3], 1, axis=1)
    for suffix, made in (("_top3", top), ("_top3_threshold", top * (scores >= 0.8))):
        expected = {
            "CP": sk.precision_score(labels, made, average="macro", zero_division=0),
            "CR": sk.recall_score(labels, made, average="macro"),
            "OP": sk.precision_score(labels, made, average="micro"),
            "OR": sk.recall_score(labels, made, average="micro"),
            "OF1": sk.f1_score(labels, made, average="micro"),
        }
        got = {name: found[name + suffix] for name in expected}
        assert got == pytest.approx(expected, abs=1e-9)


def test_tied_classes_share_the_places_whatever_their_column():
    labels = np.array([[1, 0, 0, 0]])
    found = multilabel_metrics(np.full((1, 4), 0.5), labels, 0.5)
    mirrored = multilabel_metrics(np.full((1, 4), 0.5), labels[:, ::-1], 0.5)
    assert found["P@1"] == mirrored["P@1"] == 0.25
    assert found["OR_top3"] == mirrored["OR_top3"] == 0.75


def test_class_thresholds_take_the_place_of_the_global_one(scored):
    scores, labels = scored
    limits = np.linspace(0.2, 0.9, 8)
    found = multilabel_metrics(scores, labels, 0.45, limits)
    made = scores.astype(np.float64) >= limits
    assert found["OF1"] == pytest.approx(sk.f1_score(labels, made, average="micro"), abs=1e-9)
    fixed = multilabel_metrics(scores, labels, 0.45)
    assert found["OF1"] != fixed["OF1"]
    assert found["OF1_at_0.5"] == fixed["OF1_at_0.5"]


def test_what_is_left_out_is_counted_and_named(scored):
    scores, labels = scored
    found = multilabel_metrics(scores, labels, 0.45)
    without = (labels.sum(axis=1) == 0).sum()
    assert without >= 2
    assert found["images_without_label"] == without
    assert (found["images"], found["classes_left_out"]) == (60, 1)
    assert classes_without_positive(labels, NAMES) == ["class 5"]
    more = np.hstack([scores, scores[:, :1]]), np.hstack([labels, np.zeros((60, 1), np.uint8)])
    again = multilabel_metrics(*more, 0.45)
    for name in ("mAP", "CP", "CR", "F1_macro", "AUC_macro"):
        assert again[name] == found[name]


def test_constant_scores_are_at_chance(scored):
    found = multilabel_metrics(np.full((60, 8), 0.2), scored[1], 0.2)
    assert found["mAP"] == pytest.approx(found["mAP_chance"], abs=1e-12)
    assert found["AUC_macro"] == found["AUC_micro"] == 0.5
    assert found["CR"] == 1


def test_a_single_image_works():
    found = multilabel_metrics(np.array([[0.9, 0.2, 0.4]]), np.array([[1, 0, 0]]), 0.5)
    assert found["mAP"] == found["OF1"] == found["P@1"] == 1
    assert found["AUC_macro"] is None
    assert found["AUC_micro"] == 1
    assert found["P@5"] == pytest.approx(1 / 3)
    json.dumps(found, allow_nan=False)


def test_nothing_predicted_scores_zero(scored):
    found = multilabel_metrics(scored[0], scored[1], 2.0)
    for name in ("CP", "CR", "CF1", "OP", "OR", "OF1", "F1_macro", "OF1_top3_threshold"):
        assert found[name] == 0


def test_all_values_are_plain_and_keys_stable(scored):
    found = multilabel_metrics(*scored, 0.45)
    assert {type(value) for value in found.values()} <= {float, int}
    assert list(found) == list(multilabel_metrics(np.ones((1, 2)), np.ones((1, 2)), 0.5))
    json.dumps(found, allow_nan=False)


def test_class_table_equals_scikit_learn(scored):
    scores, labels = scored
    table = per_class_table(scores, labels, 0.45, NAMES)
    made = scores.astype(np.float64) >= 0.45
    expected = sk.precision_recall_fscore_support(labels, made, average=None, zero_division=0)
    for name, column in zip(("precision", "recall", "F1", "support"), expected, strict=True):
        np.testing.assert_allclose(table[name], column, atol=1e-9)
    assert table["class"] == NAMES
    assert table["AP"][EMPTY_CLASS] is None
    assert table["AP"][0] == pytest.approx(
        sk.average_precision_score(labels[:, 0], scores[:, 0]), abs=1e-9
    )


def test_unusable_input_is_refused(scored):
    scores, labels = scored
    with pytest.raises(InputError, match="must both be"):
        multilabel_metrics(scores[:5], labels, 0.5)
    with pytest.raises(InputError, match="no evaluated image has a label"):
        multilabel_metrics(scores, np.zeros_like(labels), 0.5)
    broken = scores.copy()
    broken[0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        multilabel_metrics(broken, labels, 0.5)


@pytest.mark.parametrize(
    ("m_ap", "words"), [(0.0, "class order"), (1.0, "database"), (0.031, "chance"), (0.5, None)]
)
def test_suspicious_figures_say_what_to_check(m_ap, words):
    note = plausibility_note(m_ap, 0.03, "test knn")
    assert (note is None) == (words is None)
    if words:
        assert words in note
        assert note.startswith("test knn: ")
        assert "\n" not in note


def test_the_rare_third_has_the_fewest_positives_and_of_equals_the_lower_ids() -> None:
    positives = [5, 2, 9, 2, 2, 7, 8]
    labels = np.array([[row < count for count in positives] for row in range(9)], dtype=np.uint8)
    assert np.flatnonzero(rare_classes(labels)).tolist() == [1, 3]
    assert rare_classes(labels[:, :2]).tolist() == [False, True]  # at least one


def test_macro_f1_of_groups_leaves_out_classes_without_a_positive() -> None:
    rng = np.random.default_rng(4)
    labels = (rng.random((40, 6)) < 0.3).astype(np.uint8)
    labels[:, 1] = 0
    scores = rng.random((40, 6))
    cuts = np.linspace(0.2, 0.7, 6)
    rare = np.array([True, True, False, False, False, True])
    found = macro_f1(scores, labels, cuts, rare)
    for name, group in (("all", [0, 2, 3, 4, 5]), ("rare", [0, 5]), ("frequent", [2, 3, 4])):
        expected = sk.f1_score(labels[:, group], (scores >= cuts)[:, group], average="macro")
        assert found[name] == pytest.approx(expected, abs=1e-9)
    nothing_left = macro_f1(scores, labels, 0.5, np.array([False, True] + 4 * [False]))
    assert nothing_left["rare"] is None
