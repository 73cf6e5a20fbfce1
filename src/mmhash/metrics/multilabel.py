"""Multi-label tagging figures from class scores and labels.

Conventions. A class is predicted where its score >= the threshold. CP, CR, CF1, OP, OR, OF1 as in
Zhu et al. (CVPR 2017): C averages over classes, O counts over all of them, CF1 is the harmonic mean
of CP and CR; a ratio without denominator (nothing predicted) is 0. Classes without a positive are
left out of every average over classes; they still count in the overall figures. Images without a
label are left out of every average over images. Ties of scores: see :mod:`mmhash.metrics.ranking`.
"""

from typing import Any

import numpy as np

from mmhash.errors import InputError
from mmhash.metrics.ranking import (
    Rankings,
    average_precision,
    coverage,
    interpolated_average_precision,
    rank_rows,
    ranked_average_precision,
    ranking_loss,
    roc_auc,
    top_share,
)

Figures = dict[str, Any]


def multilabel_metrics(
    scores: np.ndarray,
    labels: np.ndarray,
    threshold: float,
    per_class_thresholds: np.ndarray | None = None,
) -> Figures:
    """Return all tagging figures as a flat dict of plain numbers.

    ``scores`` (n, C) in [0, 1], ``labels`` (n, C) of 0 and 1. ``per_class_thresholds`` (C,) takes
    the place of ``threshold`` where given; both are chosen on validation scores.

    Keys: ``mAP`` (macro, not interpolated), ``mAP_voc`` (interpolated at all recalls, higher),
    ``mAP_chance`` (of constant scores: the mean share of positives), ``mAP_per_sample``; CP, CR,
    CF1, OP, OR, OF1, F1_micro (= OF1), F1_macro, F1_per_sample and Hamming_loss at the threshold
    and, with the suffix ``_at_0.5``, at 0.5; CP … OF1 with ``_top3`` (the top three whatever their
    score) and ``_top3_threshold`` (those of them that pass the threshold); P@k and R@k for 1, 3, 5;
    AUC_macro, AUC_micro (None where no class has both kinds), coverage_error, ranking_loss, LRAP
    (equal to mAP_per_sample by definition), MAE; images, images_without_label, and classes_left_out
    (how many have no positive; :func:`classes_without_positive` names them).

    Raises InputError where shapes differ, scores are not finite or no image has a label.
    """
    scores, labels = _checked(scores, labels)
    limit = threshold if per_class_thresholds is None else per_class_thresholds
    kept = labels.any(axis=0)
    labelled = labels.any(axis=1)
    by_class = rank_rows(scores[:, kept].T, labels[:, kept].T)
    by_sample = rank_rows(scores[labelled], labels[labelled])
    per_sample = float(ranked_average_precision(by_sample).mean())
    passed = scores >= limit
    top3 = top_share(scores, 3)
    return {
        "mAP": float(ranked_average_precision(by_class).mean()),
        "mAP_voc": float(interpolated_average_precision(by_class).mean()),
        "mAP_chance": float(labels[:, kept].mean()),
        "mAP_per_sample": per_sample,
        **_decisions(passed, labels, ""),
        **_decisions(scores >= 0.5, labels, "_at_0.5"),
        **_class_and_overall(top3, labels, "_top3"),
        **_class_and_overall(top3 * passed, labels, "_top3_threshold"),
        **_precision_recall_at(scores[labelled], labels[labelled]),
        "AUC_macro": _mean_or_none(roc_auc(by_class)),
        "AUC_micro": _mean_or_none(
            roc_auc(rank_rows(scores.reshape(1, -1), labels.reshape(1, -1)))
        ),
        **_sample_rankings(by_sample),
        "LRAP": per_sample,
        "MAE": float(np.abs(scores - labels).mean()),
        "images": len(labels),
        "images_without_label": int((~labelled).sum()),
        "classes_left_out": int((~kept).sum()),
    }


def per_class_table(
    scores: np.ndarray,
    labels: np.ndarray,
    threshold: float | np.ndarray,
    class_names: list[str],
) -> dict[str, list[Any]]:
    """Return one column a figure, one row a class: class, precision, recall, F1, AP, support.

    ``threshold`` is one number or (C,). The AP of a class without a positive is None.
    """
    scores, labels = _checked(scores, labels)
    precision, recall, f1 = _class_figures(scores >= threshold, labels)
    ap = average_precision(scores, labels)
    return {
        "class": list(class_names),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "F1": f1.tolist(),
        "AP": [None if np.isnan(value) else float(value) for value in ap],
        "support": labels.sum(axis=0, dtype=np.int64).tolist(),
    }


def rare_classes(training_labels: np.ndarray) -> np.ndarray:
    """Return which classes are rare, (C,) bool: the third with the fewest positives in training.

    ``training_labels`` is (n, C). C / 3 is rounded down, to one at least; of classes with equally
    many positives the lower class id is the rarer.
    """
    positives = training_labels.sum(axis=0, dtype=np.int64)
    rare = np.zeros(len(positives), dtype=bool)
    rare[np.argsort(positives, kind="stable")[: max(1, len(positives) // 3)]] = True
    return rare


def macro_f1(
    scores: np.ndarray, labels: np.ndarray, threshold: float | np.ndarray, rare: np.ndarray
) -> dict[str, float | None]:
    """Return the mean F1 over all classes, over the rare and over the others (frequent).

    ``threshold`` is one number or (C,), ``rare`` (C,) bool. Classes without a positive are left
    out; a group without any class left has no figure (None).
    """
    scores, labels = _checked(scores, labels)
    _, _, f1 = _class_figures(scores >= threshold, labels)
    kept = np.where(labels.any(axis=0), f1, np.nan)
    groups = {"all": kept, "rare": kept[rare], "frequent": kept[~rare]}
    return {name: _mean_or_none(values) for name, values in groups.items()}


def classes_without_positive(labels: np.ndarray, class_names: list[str]) -> list[str]:
    """Return the names of the classes that every average over classes leaves out."""
    return [class_names[c] for c in np.flatnonzero(~labels.any(axis=0))]


def plausibility_note(m_ap: float, chance: float, what: str) -> str | None:
    """Return one line on what to check where an mAP is exactly 0, exactly 1 or at chance.

    ``chance`` is the figure that scores without information reach; within a tenth of it, or below,
    counts as chance. None where the figure is plausible.
    """
    if m_ap == 0:
        return (
            f"{what}: mAP is exactly 0: check that labels and scores have the same class order "
            "and that rows of both belong to the same images"
        )
    if m_ap == 1:
        return (
            f"{what}: mAP is exactly 1: check that queries are not in the database and that labels "
            "do not reach the features"
        )
    if m_ap <= 1.1 * chance:
        return (
            f"{what}: mAP {m_ap:.4f} is at chance ({chance:.4f}): check that features and labels "
            "are matched by image id, that the loss fell, and that the codes are not all equal"
        )
    return None


def _checked(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if scores.shape != labels.shape or scores.ndim != 2:
        raise InputError(f"scores {scores.shape} and labels {labels.shape} must both be (n, C)")
    if not np.isfinite(scores).all():
        raise InputError("the scores contain NaN or infinity; did the training diverge?")
    if not labels.any():
        raise InputError("no evaluated image has a label: tagging figures are undefined")
    # float64, so that comparing a score with a threshold does not round the threshold
    return scores.astype(np.float64), labels.astype(np.uint8)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    zero = np.zeros(np.broadcast(numerator, denominator).shape)
    return np.divide(numerator, denominator, out=zero, where=denominator > 0)


def _class_figures(
    predicted: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall and F1 of each class, (C,) each; predictions may be shares."""
    hits = (predicted * labels).sum(axis=0, dtype=np.float64)
    made = predicted.sum(axis=0, dtype=np.float64)
    true = labels.sum(axis=0, dtype=np.float64)
    return _ratio(hits, made), _ratio(hits, true), _ratio(2 * hits, made + true)


def _class_and_overall(predicted: np.ndarray, labels: np.ndarray, suffix: str) -> Figures:
    kept = labels.any(axis=0)
    precision, recall, _ = _class_figures(predicted, labels)
    cp, cr = precision[kept].mean(), recall[kept].mean()
    total = _class_figures(predicted.reshape(-1, 1), labels.reshape(-1, 1))
    values = {"CP": cp, "CR": cr, "CF1": 2 * cp * cr / (cp + cr) if cp + cr > 0 else 0.0}
    values |= {name: value[0] for name, value in zip(("OP", "OR", "OF1"), total, strict=True)}
    return {name + suffix: float(value) for name, value in values.items()}


def _decisions(predicted: np.ndarray, labels: np.ndarray, suffix: str) -> Figures:
    figures = _class_and_overall(predicted, labels, suffix)
    labelled = labels.any(axis=1)
    _, _, class_f1 = _class_figures(predicted, labels)
    _, _, sample_f1 = _class_figures(predicted[labelled].T, labels[labelled].T)
    return figures | {
        f"F1_micro{suffix}": figures[f"OF1{suffix}"],
        f"F1_macro{suffix}": float(class_f1[labels.any(axis=0)].mean()),
        f"F1_per_sample{suffix}": float(sample_f1.mean()),
        f"Hamming_loss{suffix}": float((predicted != labels).mean()),
    }


def _precision_recall_at(scores: np.ndarray, labels: np.ndarray) -> Figures:
    """P@k: share of the top k that are true; R@k: share of the true that are in the top k."""
    figures: Figures = {}
    true = labels.sum(axis=1)
    for k in (1, 3, 5):
        hits = (top_share(scores, k) * labels).sum(axis=1)
        figures[f"P@{k}"] = float((hits / min(k, labels.shape[1])).mean())
        figures[f"R@{k}"] = float((hits / true).mean())
    return figures


def _sample_rankings(by_sample: Rankings) -> Figures:
    return {
        "coverage_error": float(coverage(by_sample).mean()),
        "ranking_loss": float(ranking_loss(by_sample).mean()),
    }


def _mean_or_none(values: np.ndarray) -> float | None:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None
