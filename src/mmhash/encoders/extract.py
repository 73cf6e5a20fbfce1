"""Feature extraction: every picture and every caption through the frozen towers, once.

The rows are cut into shards; each finished shard is a file in a cache folder, and a run that was
killed goes on behind the last one. Rows are independent of each other, so neither the number of
workers nor a halved batch changes a vector beyond rounding.
"""

import logging
import shutil
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pyarrow as pa
import tokenizers
import torch
import transformers

from mmhash.encoders.batch import BatchSize
from mmhash.encoders.checkpoint import Towers
from mmhash.encoders.device import describe_device
from mmhash.encoders.pictures import CHUNK, Chunk, Locate, decoded
from mmhash.encoders.rows import encode_captions, encode_pictures, stored
from mmhash.encoders.shards import assemble, read_bad, shard_path, shard_ranges, write_shard
from mmhash.encoders.text import lowered
from mmhash.errors import InputError
from mmhash.files import code_digest, digest, write_json
from mmhash.progress import track
from mmhash.ranks import ALONE, Ranks

logger = logging.getLogger("mmhash")

SHARD = 1024  # images; what a kill costs at most


def extraction_key(
    images: pa.Table, towers: Towers, *, dtype: str, normalise: bool, raw: str = ""
) -> str:
    """Return the name of the resume state: a digest of everything that determines the vectors.

    ``raw`` is a digest of the raw data (its manifest), for the pictures themselves are not read
    here. Absent on purpose: batch and workers, which change nothing, and ``on_bad_image``, which
    decides what is made of the shards and not what is in them.
    """
    columns = images.select(["image_id", "folder", "file_name", "captions"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, columns.schema.remove_metadata()) as stream:
        stream.write_table(columns.replace_schema_metadata(None).combine_chunks())
    return digest(
        sink.getvalue().to_pybytes(),
        towers.fingerprint,
        towers.revision,
        str(towers.precision),
        towers.device.type,
        towers.pixels.max_num_patches,
        dtype,
        normalise,
        raw,
        code_digest(),
    )


def extract(
    images: pa.Table,
    locate: Locate,
    towers: Towers,
    out: Path,
    cache: Path,
    *,
    dtype: str = "float16",
    normalise: bool = False,
    on_bad_image: str = "error",
    batch: int = 32,
    workers: int = 0,
    prefetch_factor: int = 2,
    pin_memory: bool = False,
    shard: int = SHARD,
    ranks: Ranks = ALONE,
) -> dict[str, Any]:
    """Encode all images and captions; write the arrays and meta.json below ``out``; return meta.

    ``images`` has columns image_id, folder, file_name and captions; ``locate(folder, file_name)``
    is a picture's path. Written: image.npy (N, D_i), text.npy (ΣT, D_t), caption_offset.npy
    (N + 1,), image_id.npy (N,), rows in the order of ``images``. ``normalise`` scales vectors to
    unit length, which takes the magnitude away. Finished shards stand in ``cache`` until all is
    written, and are skipped by the next call with the same ``cache``. Several ``ranks`` share the
    shards; the first one strings them together, while the others return nothing ({}).

    Raises :class:`InputError` for an image without a caption or with an empty one, for unreadable
    pictures (all of them named; nothing is written, the shards stay) unless ``on_bad_image`` is
    ``skip``, for a vector that is not finite, and where a single row does not fit the device.
    """
    if on_bad_image not in ("error", "skip"):
        raise InputError(f"features.on_bad_image is {on_bad_image!r}; allowed are error and skip")
    if dtype not in ("float16", "float32"):
        raise InputError(f"features.dtype is {dtype!r}; allowed are float16 and float32")
    captions = _count_captions(images, shard)
    ranges = shard_ranges(images.num_rows, shard)
    paths = [shard_path(cache, rows) for rows in ranges]
    cache.mkdir(parents=True, exist_ok=True)
    # A rank that looked for itself could see the first shards of the others, and deal otherwise.
    missing = ranks.agree(
        lambda: [at for at, path in enumerate(paths) if not _done(path, on_bad_image)]
    )
    if len(missing) < len(ranges):
        logger.info("extraction: %d of %d shards done", len(ranges) - len(missing), len(ranges))
    todo = [ranges[at] for at in ranks.share(missing)]
    chunks = decoded(
        images,
        locate,
        todo,
        towers.pixels,
        chunk=CHUNK,
        workers=workers,
        prefetch_factor=prefetch_factor,
        pin_memory=pin_memory and towers.device.type == "cuda",
    )
    size = BatchSize(batch)
    total = sum(stop - start + sum(captions[start:stop]) for start, stop in todo)
    work = _encode_shards(
        images, todo, chunks, towers, size, cache, dtype=np.dtype(dtype), normalise=normalise
    )
    for _ in track(work, total, "extract", unit="row"):
        pass
    ranks.wait()
    if not ranks.first:
        return {}
    skipped = [bad for path in paths for bad in read_bad(path) or []]
    _report_bad(skipped, images.num_rows, on_bad_image)
    count, texts = assemble(paths, out)
    meta = _meta(towers, dtype, normalise, count, texts, skipped)
    write_json(out / "meta.json", meta)
    shutil.rmtree(cache)
    return meta


def _encode_shards(
    images: pa.Table,
    ranges: list[tuple[int, int]],
    chunks: Iterator[Chunk],
    towers: Towers,
    size: BatchSize,
    cache: Path,
    *,
    dtype: np.dtype,
    normalise: bool,
) -> Iterator[None]:
    """Encode and write shard after shard; yields once for every image and caption done."""
    for start, stop in ranges:
        rows = images.slice(start, stop - start).to_pylist()
        vectors, reasons = yield from encode_pictures(len(rows), chunks, towers, size)
        good = [row for position, row in enumerate(rows) if position not in reasons]
        ids = np.array([row["image_id"] for row in good], dtype=np.int64)
        counts = np.array([len(row["captions"]) for row in good], dtype=np.int64)
        image = stored(vectors, towers.width_image, dtype, normalise)
        _check_finite(image, ids, "image")
        texts = [text for row in good for text in lowered(row["captions"])]
        text = yield from encode_captions(texts, towers, size, dtype, normalise)
        _check_finite(text, np.repeat(ids, counts), "caption")
        arrays = {"image_id": ids, "image": image, "caption_count": counts, "text": text}
        bad = [
            {
                "image_id": rows[position]["image_id"],
                "file": f"{rows[position]['folder']}/{rows[position]['file_name']}",
                "reason": reason,
            }
            for position, reason in sorted(reasons.items())
        ]
        write_shard(shard_path(cache, (start, stop)), arrays, bad)
        # the captions of unreadable pictures, which the total counts
        yield from repeat(None, sum(len(row["captions"]) for row in rows) - len(texts))


def _check_finite(vectors: np.ndarray, ids: np.ndarray, what: str) -> None:
    broken = ~np.isfinite(vectors).all(axis=1)
    if broken.any():
        raise InputError(
            f"the {what} vector of image {ids[broken][0]} (and {int(broken.sum()) - 1} more of "
            "this shard) has NaN or infinite values; use features.dtype=float32 and hardware "
            "precision float32, or check the checkpoint's weights"
        )


def _count_captions(images: pa.Table, step: int) -> list[int]:
    """Return the number of captions an image; raises where one has none, or an empty one."""
    if not images.num_rows:
        raise InputError("the image table has no rows; there is nothing to extract")
    counts: list[int] = []
    for start in range(0, images.num_rows, step):
        rows = images.slice(start, step)
        pairs = zip(*(rows.column(c).to_pylist() for c in ("image_id", "captions")), strict=True)
        for image_id, captions in pairs:
            if not captions:
                raise InputError(f"image {image_id} has no caption; give it one or leave it out")
            for number, caption in enumerate(captions):
                if not caption.strip():
                    raise InputError(
                        f"image {image_id}: caption {number} is empty; mend the captions file"
                    )
            counts.append(len(captions))
    return counts


def _done(path: Path, on_bad_image: str) -> bool:
    """Return whether the shard counts as done: one with bad pictures is tried again under error."""
    bad = read_bad(path)
    return bad is not None and (on_bad_image == "skip" or not bad)


def _report_bad(skipped: list[dict[str, Any]], count: int, on_bad_image: str) -> None:
    if not skipped:
        return
    names = ", ".join(f"{bad['file']} ({bad['reason']})" for bad in skipped)
    if on_bad_image == "error" or len(skipped) == count:
        raise InputError(
            f"{len(skipped)} of {count} pictures cannot be read: {names}; replace them (what is "
            "done is kept), or leave them out with features.on_bad_image=skip"
        )
    logger.warning("%d of %d pictures cannot be read, left out: %s", len(skipped), count, names)


def _meta(
    towers: Towers,
    dtype: str,
    normalise: bool,
    images: int,
    texts: int,
    skipped: list[dict[str, Any]],
) -> dict[str, Any]:
    return {
        "checkpoint": towers.checkpoint,
        "revision": towers.revision,
        "fingerprint": towers.fingerprint,
        "model_type": towers.model_type,
        "device": describe_device(towers.device),
        "precision": str(towers.precision).removeprefix("torch."),
        "dtype": dtype,
        "width": towers.width_image,
        "width_text": towers.width_text,
        "image_size": towers.pixels.image_size,
        "patch_size": towers.pixels.patch_size,
        "max_num_patches": towers.pixels.max_num_patches,
        "token_length": towers.token_length,
        "logit_scale": towers.logit_scale,
        "logit_bias": towers.logit_bias,
        "normalised": normalise,
        "images": images,
        "captions": texts,
        "skipped": skipped,
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
            "pillow": PIL.__version__,
        },
    }
