"""What each bit does: which pictures and classes switch it on, how often, with which others."""

from typing import Any

import numpy as np

from mmhash.codes import binarise, pack
from mmhash.files import read_table
from mmhash.metrics.codes import bit_correlation
from mmhash.page.source import SPLIT, Run, Section, rounded
from mmhash.plots import tables

STRONGEST = 8  # pictures on each side of a bit
CLASSES = 6  # of each sign
LEAST_IMAGES = 10  # of a class whose share of ones means anything


def bits(run: Run) -> Section:
    """Return, for each bit of the test codes: share of ones, correlations, pictures and classes.

    ``on`` and ``off`` are the images whose soft code h is highest and lowest, of equals the earlier
    row, with that value. ``classes`` are [class, share of ones with it, share without it, φ], by φ,
    the correlation of bit and label; classes of fewer than LEAST_IMAGES images are left out.
    """
    if not run.bits:
        return {
            "absent": f"This method (model.name={run.method}) has no binary codes.",
            "mend": "Methods with a hash layer have them: model.name=full with hash.enabled=true.",
        }
    soft = run.soft.astype(np.float32)
    ones = binarise(soft)
    share = ones.mean(axis=0, dtype=np.float64)
    correlation = bit_correlation(pack(ones))
    curve = read_table(run.root / "predictions" / SPLIT / "precision_recall_by_distance.parquet")
    up, down = (np.argsort(sign * soft, axis=0, kind="stable")[:STRONGEST] for sign in (-1, 1))
    return {
        "bits": run.bits,
        "images": len(soft),
        "ones": rounded(share, 4),
        "correlation": rounded(correlation, 3),
        "on": [_shown(run, soft, up[:, bit], bit) for bit in range(run.bits)],
        "off": [_shown(run, soft, down[:, bit], bit) for bit in range(run.bits)],
        "classes": _classes(run, ones),
        "least_images": LEAST_IMAGES,
        "retrieval": rounded(tables.distance_table(curve.to_pydict()), 5),
    }


def bit_ids(section: Section) -> list[int]:
    """Return the images that :func:`bits` shows."""
    lists = [*section.get("on", []), *section.get("off", [])]
    return [pair[0] for pairs in lists for pair in pairs]


def _shown(run: Run, soft: np.ndarray, rows: np.ndarray, bit: int) -> list[Any]:
    return [[int(run.image_id[row]), round(float(soft[row, bit]), 3)] for row in rows]


def _classes(run: Run, ones: np.ndarray) -> list[list[list[Any]]]:
    labels = run.labels.astype(np.float64)
    n, support = len(labels), labels.sum(axis=0)
    both = labels.T @ ones.astype(np.float64)  # (C, B)
    total = ones.sum(axis=0, dtype=np.float64)
    kept = np.flatnonzero((support >= LEAST_IMAGES) & (n - support >= LEAST_IMAGES))
    with_it = both[kept] / support[kept, None]
    without = (total - both[kept]) / (n - support[kept, None])
    p, q = support[kept, None] / n, total / n
    scale = np.sqrt(p * (1 - p) * q * (1 - q))
    phi = np.divide(both[kept] / n - p * q, scale, out=np.zeros_like(with_it), where=scale > 0)
    found = []
    for bit in range(ones.shape[1]):
        order = np.argsort(-phi[:, bit], kind="stable")
        best = order if len(order) <= 2 * CLASSES else [*order[:CLASSES], *order[-CLASSES:]]
        values = [(with_it[c, bit], without[c, bit], phi[c, bit]) for c in best]
        found.append(
            [[int(kept[c]), *rounded(list(v), 3)] for c, v in zip(best, values, strict=True)]
        )
    return found
