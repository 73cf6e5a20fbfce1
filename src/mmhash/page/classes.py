"""How well each class is found: figures, curves, the worst mistakes, what is taken for what."""

from typing import Any

import numpy as np

from mmhash.files import read_json
from mmhash.metrics.mistakes import worst_mistakes
from mmhash.metrics.multilabel import per_class_table
from mmhash.page.source import Run, Section, rounded
from mmhash.plots import tables

WORST = 6  # pictures of each list of mistakes
CURVES_UP_TO = 200  # classes; beyond, the page has no curve of each
POINTS = 26  # of the curve of a class
PAIRS = 25  # rows of the table of what is predicted wrongly


def classes(run: Run) -> Section:
    """Return AP, precision, recall, F1 of every class by head, and precision-recall curves."""
    names = run.names
    path = run.root / "data/statistics.json"
    frequency = read_json(path)["class_frequency"] if path.is_file() else {}
    support = run.labels.sum(axis=0, dtype=int).tolist()
    by_head: dict[str, Any] = {}
    for head, scores in run.scores.items():
        table = per_class_table(scores, run.labels, run.cuts[head], names)
        by_head[head] = {
            # without a positive, precision, recall and F1 say nothing
            figure: rounded(
                [v if n else None for v, n in zip(table[figure], support, strict=True)], 4
            )
            for figure in tables.FIGURES
        }
        by_head[head]["threshold"] = rounded(run.cuts[head], 4)
    overall = {head: float(run.thresholds[head]["global"]) for head in run.scores}
    rare = set(run.figures.get("data", {}).get("rare_classes", []))
    curves = tables.precision_recall_table(run.scores, run.labels, overall)
    return {
        "heads": by_head,
        "images": [frequency.get(name) for name in names],
        "support": support,
        "rare": [int(name in rare) for name in names],
        "curves": rounded(curves, 4),
        "class_curves": _class_curves(run) if len(names) <= CURVES_UP_TO else None,
        "reliability": rounded(tables.reliability_rows(run.scores, run.labels, run.thresholds), 4),
    }


def _class_curves(run: Run) -> dict[str, list[list[list[float]]]]:
    """Return, by head, the curve of each class as [recalls, precisions]; empty without positive."""
    found = {}
    for head, scores in run.scores.items():
        curves: list[list[list[float]]] = []
        for column in range(scores.shape[1]):
            truth = run.labels[:, [column]]
            if not truth.any():
                curves.append([[], []])
                continue
            table = tables.precision_recall_table({head: scores[:, [column]]}, truth, {}, POINTS)
            curves.append([rounded(table["recall"], 3), rounded(table["precision"], 3)])
        found[head] = curves
    return found


def mistakes(run: Run) -> Section:
    """Return the worst mistakes by head and class, each an image id with its score.

    In the order of :func:`mmhash.metrics.mistakes.worst_mistakes`.
    """
    found: dict[str, Any] = {}
    for head, scores in run.scores.items():
        found[head] = {}
        kinds = worst_mistakes(scores, run.labels, run.cuts[head], WORST)
        for kind, (worst, count) in kinds.items():
            lists = []
            for column, rows in enumerate(worst):
                pairs = zip(run.image_id[rows], scores[rows, column], strict=True)
                lists.append([[int(image), round(float(score), 3)] for image, score in pairs])
            found[head][kind] = lists
            found[head][f"{kind}_count"] = count.tolist()
    return {"heads": found, "listed": WORST}


def mistake_ids(section: Section, first: str) -> list[int]:
    """Return the images of the worst lists, those of the head ``first`` before the others."""
    heads = section.get("heads", {})
    order = sorted(heads, key=lambda head: head != first)
    return [
        pair[0]
        for head in order
        for kind in ("positives", "negatives")
        for pairs in heads[head][kind]
        for pair in pairs
    ]


def confusion(run: Run) -> Section:
    """Return which classes occur together, which are predicted together, and false pairs.

    The matrices are of the commonest classes as in ``dvc plots``; ``pairs`` are over all classes:
    images that have the first one, lack the second, and are given it all the same.
    """
    names = run.names
    table = tables.confusion_table(run.scores, run.labels, run.cuts, names)
    size = max(table["row"], default=0)
    matrices = {
        source: np.reshape(
            [s for s, v in zip(table["share"], table["source"], strict=True) if v == source],
            (size, size),
        )
        for source in dict.fromkeys(table["source"])
    }
    pairs = {}
    for head, scores in run.scores.items():
        given = (scores.astype(np.float64) >= run.cuts[head]) & (run.labels == 0)
        counts = run.labels.T.astype(np.int64) @ given.astype(np.int64)
        flat = np.argsort(-counts.ravel(), kind="stable")[:PAIRS]
        rows = [(int(i // len(names)), int(i % len(names))) for i in flat]
        pairs[head] = [
            [a, b, int(counts[a, b]), int((run.labels[:, a] & (run.labels[:, b] == 0)).sum())]
            for a, b in rows
            if counts[a, b]
        ]
    return {
        "classes": list(dict.fromkeys(table["present"])),
        "images": table["images"][: size * size : size] if size else [],
        "matrices": rounded(matrices, 4),
        "pairs": pairs,
    }
