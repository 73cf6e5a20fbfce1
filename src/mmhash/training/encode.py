"""Encode rows with a trained model: codes (or z) and logits, one row a caption or an image."""

from typing import Literal

import numpy as np
import torch

from mmhash.errors import InputError
from mmhash.models.cross_modal import CrossModalHasher, PairCodes
from mmhash.models.tagger import Tagger
from mmhash.training.batches import Features

Captions = Literal["first", "all", "mean"]


def evenly(rows: np.ndarray, count: int) -> np.ndarray:
    """Return at most ``count`` of ``rows``, evenly spaced."""
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]


def caption_owners(
    features: Features, rows: np.ndarray, captions: Captions
) -> tuple[np.ndarray, np.ndarray]:
    """Return (row of ``features``, caption number) of each item that ``rows`` become.

    ``first``: one item a row, its caption 0. ``all``: one item a caption, rows in the given order.
    ``mean``: one item a row, caption number −1. Raises InputError for a row without a caption.
    """
    count = features.captions_per_row(rows)
    if len(rows) and count.min() < 1:
        raise InputError(f"row {int(rows[int(count.argmin())])} has no caption to encode")
    if captions == "all":
        owners = np.repeat(rows, count)
        number = np.arange(len(owners)) - np.repeat(np.cumsum(count) - count, count)
        return owners.astype(np.int64), number.astype(np.int32)
    number = np.full(len(rows), -1 if captions == "mean" else 0, dtype=np.int32)
    return rows.astype(np.int64), number


def _text(features: Features, owners: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Return the text vectors (n, D_t) float32 of items; the mean of all captions where −1."""
    start = features.caption_offset[owners]
    if len(number) and number[0] < 0:
        count = features.captions_per_row(owners)
        first = np.cumsum(count) - count
        flat = np.arange(int(count.sum())) + np.repeat(start - first, count)
        total = np.add.reduceat(features.text[flat].astype(np.float32), first, axis=0)
        mean: np.ndarray = total / count[:, None].astype(np.float32)
        return mean
    return features.text[start + number].astype(np.float32)


@torch.inference_mode()
def encode(
    tagger: Tagger | CrossModalHasher | None,
    features: Features,
    rows: np.ndarray,
    hash_scale: float,
    captions: Captions = "first",
    batch: int = 1024,
    device: torch.device | str = "cpu",
) -> dict[str, np.ndarray]:
    """Run the model in evaluation mode, float32, over ``rows`` of ``features``.

    ``hash_scale`` is β of the saved epoch (:func:`mmhash.models.weights.load_tagger` returns it).
    For M items (see :func:`caption_owners`) the result holds ``row`` (M,) int64, ``caption`` (M,)
    int32, ``logits`` (M, C) float32 and either ``h`` (M, bits) float32 or, without a hash layer,
    ``z`` (M, width) float32. Without a tagger (nothing was trained) ``z`` is the image vector and
    there are no logits. A cross-modal hasher gives the codes of whole pairs and no logits. Memory
    beyond the result is that of one batch.
    """
    owners, number = caption_owners(features, rows, captions)
    if isinstance(tagger, CrossModalHasher):
        found = encode_sides(tagger, features, owners, number, hash_scale, batch, device)
        return {"row": owners, "caption": number, "h" if tagger.hashed else "z": found["fused"]}
    if tagger is None:
        z = np.asarray(features.image[owners], dtype=np.float32)
        return {"row": owners, "caption": number, "z": z}
    device = torch.device(device)
    tagger = tagger.to(device).eval()
    name = "z" if tagger.hash is None else "h"
    width = tagger.fusion.output_width if tagger.hash is None else tagger.config.hash.bits
    codes = np.empty((len(owners), width), dtype=np.float32)
    logits = np.empty((len(owners), tagger.config.num_classes), dtype=np.float32)
    for start in range(0, len(owners), batch):
        part = slice(start, start + batch)
        image = torch.from_numpy(features.image[owners[part]].astype(np.float32))
        text = torch.from_numpy(_text(features, owners[part], number[part]))
        output = tagger(image.to(device), text.to(device), hash_scale)
        codes[part] = (output.z if output.h is None else output.h).float().cpu().numpy()
        logits[part] = output.logits.float().cpu().numpy()
    return {"row": owners, "caption": number, name: codes, "logits": logits}


@torch.inference_mode()
def encode_sides(
    hasher: Tagger | CrossModalHasher,
    features: Features,
    owners: np.ndarray,
    number: np.ndarray,
    hash_scale: float,
    batch: int = 1024,
    device: torch.device | str = "cpu",
) -> dict[str, np.ndarray]:
    """Return the codes ``image``, ``text`` and ``fused`` of items, (M, bits) float32 each.

    ``owners`` and ``number`` as from :func:`caption_owners`. Where the rows that go through the
    model together change each other's codes, they go through it in their order and in batches of
    the size that it was trained with. A tagger must have ``shares_space``.
    """
    hasher = hasher.to(device).eval()
    mates = hasher.batch_mates if isinstance(hasher, CrossModalHasher) else None
    encode_batch = hasher if isinstance(hasher, CrossModalHasher) else hasher.sides
    size = mates or batch
    parts: list[PairCodes] = []
    for start in range(0, len(owners), size):
        part = slice(start, start + size)
        image = torch.from_numpy(features.image[owners[part]].astype(np.float32))
        text = torch.from_numpy(_text(features, owners[part], number[part]))
        parts.append(encode_batch(image.to(device), text.to(device), hash_scale))
    return {
        name: torch.cat([getattr(codes, name) for codes in parts]).float().cpu().numpy()
        for name in PairCodes._fields
    }
