"""Retrieval across modalities: a picture finds texts, a text finds pictures.

Queries are the images of a split with their first captions, items those of the database, likewise.
A cross-modal hasher has a code for each modality. The main method has one where both modalities
share a space: the direction of the modality that is absent is taken to be that of the one at hand.
"""

import logging
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from mmhash.codes import binarise, hamming, pack
from mmhash.features import Dataset
from mmhash.index.vectors import unit_rows
from mmhash.metrics.leak import leak_table
from mmhash.metrics.multilabel import plausibility_note
from mmhash.metrics.retrieval import (
    COSINE_STEPS,
    hamming_levels,
    metrics_from_levels,
    precision_recall_by_distance,
    retrieval_metrics,
)
from mmhash.metrics.tasks import CROSSING, TASKS
from mmhash.models.cross_modal import CrossModalHasher
from mmhash.models.health import HEALTH
from mmhash.models.tagger import Tagger
from mmhash.seeding import numpy_stream
from mmhash.training.encode import caption_owners, encode_sides, evenly

logger = logging.getLogger(__name__)

CURVE = {
    "task": pa.string(),
    "distance": pa.int64(),
    "precision": pa.float64(),
    "recall": pa.float64(),
    "retrieved": pa.float64(),
}
SHEET = {
    "task": pa.string(),
    "query": pa.int64(),
    "query_id": pa.int64(),
    "rank": pa.int64(),
    "item_id": pa.int64(),
    "distance": pa.float64(),
    "shared": pa.int64(),
}
HEALTH_ROWS = 1000
SHEET_QUERIES, SHEET_ITEMS = 5, 10


def side_codes(
    model: Tagger | CrossModalHasher | None,
    dataset: Dataset,
    rows: np.ndarray,
    hash_scale: float,
    device: torch.device,
) -> dict[str, np.ndarray] | None:
    """Return the codes of ``rows`` by side (image, text, fused), (n, bits) float32 each.

    Without a hash layer they are real vectors; without a model (zero-shot) the image and text
    vectors themselves, and fused their mean direction. None where a side has no code of its own:
    the modalities share no space.
    """
    features = dataset.features
    owners, number = caption_owners(features, rows, "first")
    if model is None:
        image, text = features.first_pairs(rows)
        if image.shape[1] != text.shape[1]:
            return None
        return {"image": image, "text": text, "fused": unit_rows(image) + unit_rows(text)}
    if isinstance(model, Tagger) and not model.shares_space:
        return None
    return encode_sides(model, features, owners, number, hash_scale, device=device)


def evaluate_across(
    model: Tagger | CrossModalHasher | None,
    dataset: Dataset,
    hash_scale: float,
    device: torch.device,
    always: bool = True,
) -> tuple[dict[str, Any], dict[str, pa.Table], pa.Table]:
    """Return the retrieval figures by split and task, the curves by split, and a retrieval sheet.

    Figures as in :mod:`mmhash.metrics.retrieval`, under val and test and the names of
    :data:`mmhash.metrics.tasks.TASKS`; for cross-modal hashers also ``leak``
    (:func:`mmhash.metrics.leak.leak_table`) and, where the method has diagnostics of its own,
    ``health``, both on some of the test rows. The curves hold precision and
    recall within each Hamming distance, with the task as first column; no row for real vectors.
    The sheet is that of :func:`sheet_rows` for test and both tasks that cross modalities. Where the
    modalities share no space all are empty, and without ``always`` also for a model that is no
    cross-modal hasher.
    """
    empty, sheet = pa.schema(CURVE).empty_table(), [pa.schema(SHEET).empty_table()]
    if not always and not isinstance(model, CrossModalHasher):
        return {}, {"val": empty, "test": empty}, sheet[0]
    base = dataset.database_rows()
    encoded = side_codes(model, dataset, base, hash_scale, device)
    if encoded is None:
        return {}, {"val": empty, "test": empty}, sheet[0]
    hashed = model is not None and _hashed(model)
    items, labels = _searchable(encoded, hashed), dataset.features.labels
    figures: dict[str, Any] = {}
    curves: dict[str, pa.Table] = {}
    for split in ("val", "test"):
        rows = dataset.rows(split)
        asking = side_codes(model, dataset, rows, hash_scale, device)
        assert asking is not None  # as the items
        queries = _searchable(asking, hashed)
        figures[split], parts = {}, [empty]
        for task, sides in TASKS.items():
            asked, searched = queries[sides.ask], items[sides.answer]
            if split == "test" and task in CROSSING:
                sheet.append(sheet_rows(task, dataset, rows, asked, base, searched))
            compared = asked, labels[rows], searched, labels[base]
            if not hashed:
                figures[split][task] = retrieval_metrics(*compared)
                continue
            levels = hamming_levels(*compared)
            figures[split][task] = metrics_from_levels(*levels)
            curve = precision_recall_by_distance(*levels)
            count = len(curve["distance"])
            parts.append(pa.table({"task": [task] * count, **curve}, schema=pa.schema(CURVE)))
        curves[split] = pa.concat_tables(parts)
        for task, found in figures[split].items():
            what = f"{split} {TASKS[task].title}"
            note = plausibility_note(found["mAP@all"], found["mAP@all_chance"], what)
            if note:
                logger.warning("%s", note)
    if isinstance(model, CrossModalHasher) and hashed:
        figures["leak"] = _leak(model, dataset, hash_scale, device)
        health = _health(model, dataset, hash_scale, device)
        figures |= {"health": health} if health else {}
    return figures, curves, pa.concat_tables(sheet)


def sheet_rows(
    task: str,
    dataset: Dataset,
    rows: np.ndarray,
    asked: np.ndarray,
    base: np.ndarray,
    searched: np.ndarray,
) -> pa.Table:
    """Return the first items that a few queries find, for a person to look at.

    ``rows`` (n,) are the queries, ``asked`` their packed codes (n, B / 8) uint8 or vectors (n, D),
    ``base`` and ``searched`` the same of the database. Chosen are :data:`SHEET_QUERIES` of the
    queries, evenly spaced from the first row to the last, and their :data:`SHEET_ITEMS` nearest
    items; of equally near ones the earlier rows of the database. Columns as in :data:`SHEET`: query
    and rank from 1, distance in bits, for real vectors 1 - cosine, shared the number of common
    labels: above 0 the item is relevant.
    """
    chosen = evenly(np.arange(len(rows)), SHEET_QUERIES)
    if asked.dtype == np.uint8:
        distance = hamming(asked[chosen], searched)
    else:
        cosine = unit_rows(asked[chosen]) @ unit_rows(searched).T
        distance = np.rint((1 - cosine) * COSINE_STEPS) / COSINE_STEPS
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :SHEET_ITEMS]
    count = nearest.shape[1]
    found, labels = base[nearest].ravel(), dataset.features.labels
    owner = np.repeat(rows[chosen], count)
    columns = {
        "task": [task] * len(found),
        "query": np.repeat(np.arange(1, len(chosen) + 1), count),
        "query_id": dataset.image_id[owner],
        "rank": np.tile(np.arange(1, count + 1), len(chosen)),
        "item_id": dataset.image_id[found],
        "distance": np.take_along_axis(distance, nearest, axis=1).ravel().astype(np.float64),
        "shared": (labels[owner].astype(bool) & labels[found].astype(bool)).sum(axis=1),
    }
    return pa.table(columns, schema=pa.schema(SHEET))


def _hashed(model: Tagger | CrossModalHasher) -> bool:
    return model.hashed if isinstance(model, CrossModalHasher) else model.hash is not None


def _searchable(sides: dict[str, np.ndarray], hashed: bool) -> dict[str, np.ndarray]:
    """Return what is compared: packed codes (n, B / 8) uint8, or real vectors as they are."""
    return {side: pack(binarise(h)) for side, h in sides.items()} if hashed else sides


def _pairs(dataset: Dataset, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return image, first caption and labels of at most ``count`` test rows, float32."""
    features, rows = dataset.features, evenly(dataset.rows("test"), count)
    return *features.first_pairs(rows), features.labels[rows].astype(np.float32)


@torch.inference_mode()
def _leak(
    model: CrossModalHasher, dataset: Dataset, hash_scale: float, device: torch.device
) -> dict[str, float]:
    """Return how far codes of test rows move with what is not theirs."""
    model = model.to(device).eval()
    image, text, _ = _pairs(dataset, 2 * (model.batch_mates or 128))
    if len(image) < 4:
        return {}  # two batches of two are the least that can be compared

    def encode(image: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, ...]:
        codes = model(*(torch.from_numpy(x).to(device) for x in (image, text)), hash_scale)
        return tuple(code.cpu().numpy() for code in codes)

    return leak_table(encode, image, text, numpy_stream(0, "leak"))


@torch.no_grad()
def _health(
    model: CrossModalHasher, dataset: Dataset, hash_scale: float, device: torch.device
) -> dict[str, float]:
    """Return the method's own diagnostics on test rows, if it has any."""
    health = HEALTH.get(model.config.name)
    if health is None:
        return {}
    image, text, labels = (torch.from_numpy(x).to(device) for x in _pairs(dataset, HEALTH_ROWS))
    output = model.to(device).eval().training_output(image, text, hash_scale)
    return health.diagnostics(model, output, labels)
