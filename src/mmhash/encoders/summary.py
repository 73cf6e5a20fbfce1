"""Numbers that show at a glance whether stored features are sound."""

from pathlib import Path
from typing import Any

import numpy as np

from mmhash.files import forget_pages, read_json, read_npy

BLOCK = 1024  # rows at a time: memory stays flat, and float64 copies fit the processor's cache


def norms(vectors: np.ndarray) -> np.ndarray:
    """Return the Euclidean norm of each row of (n, D), float64, reading block by block."""
    length = np.empty(len(vectors))
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK].astype(np.float64)
        length[start : start + BLOCK] = np.linalg.norm(block, axis=1)
        forget_pages(vectors)
    return length


def feature_summary(folder: Path) -> dict[str, Any]:
    """Return counts, widths and norms of the arrays in ``folder``, plain numbers for a metric file.

    A standard deviation of the norms near 0 means that the vectors were normalised, and that their
    magnitude, which the main method uses, carries nothing.
    """
    meta = read_json(folder / "meta.json")
    figures: dict[str, Any] = {"skipped": len(meta.get("skipped", []))}
    for side in ("image", "text"):
        vectors = read_npy(folder / f"{side}.npy", mmap=True)
        length = norms(vectors)
        figures[side] = {
            "rows": len(vectors),
            "width": vectors.shape[1],
            "norm_mean": round(float(length.mean()), 6),
            "norm_std": round(float(length.std()), 6),
        }
    return figures
