"""Towers that learn with the tagger, and encode the data set with what they learnt."""

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from mmhash.data.coco import image_path
from mmhash.data.raw import ensure_raw
from mmhash.encoders.batch import extraction_batch
from mmhash.encoders.checkpoint import load_checkpoint
from mmhash.encoders.extract import extract, extraction_key
from mmhash.encoders.pictures import decode_once
from mmhash.errors import InputError
from mmhash.features import Dataset
from mmhash.files import cache_dir, dvc_root, read_table, sha256_file
from mmhash.params import Params
from mmhash.ranks import ALONE, Ranks
from mmhash.training.end_to_end import EndToEnd
from mmhash.tuned import trained_towers


def towers_in_training(
    params: Params, dataset: Dataset, device: torch.device, ranks: Ranks = ALONE
) -> EndToEnd:
    """Return the towers that ``encoder.unfreeze`` lets learn, with what they see.

    Their pictures are those of the rows of ``dataset``, decoded once into ``.cache/pictures`` of
    the main checkout. ``ranks`` share the training and the extraction behind it. Raises
    :class:`InputError` where raw data is missing or the features are those of another checkpoint.
    """
    source, profile = params.dataset.encoder, params.profile
    assert source is not None  # the schema sees to it
    assert params.encoder.unfreeze != "none"
    root = dvc_root() / params.dataset.root
    ranks.in_turn(partial(ensure_raw, params.run.dataset, root))
    load = partial(
        load_checkpoint,
        source.checkpoint,
        source.revision,
        max_num_patches=source.max_num_patches,
    )
    towers = ranks.in_turn(partial(load, torch.device("cpu")))
    if towers.fingerprint != dataset.meta["fingerprint"]:
        raise InputError(
            f"features/meta.json: extracted with checkpoint {dataset.meta['checkpoint']}, and "
            f"{source.checkpoint} holds other weights; run dvc repro extract_features"
        )
    images = _images_of(dataset)
    locate, raw = partial(image_path, root), sha256_file("data/manifest.json")
    workers, prefetch_factor = profile.num_workers, profile.prefetch_factor
    stored = {"dtype": dataset.meta["dtype"], "normalise": dataset.meta["normalised"]}

    def encode(model: Path) -> None:
        tuned = trained_towers(params, model, device, compile_towers=profile.compile)
        key = extraction_key(images, tuned, **stored, raw=raw)
        cache = Path(ranks.agree(lambda: str(cache_dir("tuned_features", key))))
        extract(
            images,
            locate,
            tuned,
            model / "features",
            cache,
            **stored,
            batch=ranks.agree(lambda: extraction_batch(profile.extract_batch, tuned, cache)),
            workers=workers,
            prefetch_factor=prefetch_factor,
            pin_memory=profile.pin_memory,
            ranks=ranks,
        )

    pictures = partial(
        decode_once,
        images,
        locate,
        towers.pixels,
        dvc_root() / ".cache" / "pictures",
        raw=raw,
        workers=workers,
        prefetch_factor=prefetch_factor,
    )
    return EndToEnd(
        load=load,
        checkpoint={
            "checkpoint": source.checkpoint,
            "revision": towers.revision,
            "fingerprint": towers.fingerprint,
            "max_num_patches": towers.pixels.max_num_patches,
        },
        unfreeze=params.encoder.unfreeze,
        last_n=params.encoder.last_n,
        pictures=ranks.in_turn(pictures),
        captions=pc.list_flatten(images["captions"]).combine_chunks(),
        encode=encode,
        normalise=dataset.meta["normalised"],
        gradient_checkpointing=profile.gradient_checkpointing,
        ranks=ranks,
    )


def _images_of(dataset: Dataset) -> pa.Table:
    """Return the rows of the image table that the features have, in their order."""
    images = read_table("data/images.parquet")
    rows = np.searchsorted(images["image_id"].to_numpy(), dataset.image_id)
    images = images.take(pa.array(rows))
    counts = np.diff(dataset.features.caption_offset)
    if not np.array_equal(pc.list_value_length(images["captions"]).to_numpy(), counts):
        raise InputError(
            "features/caption_offset.npy: other captions than in data/images.parquet; run "
            "dvc repro extract_features"
        )
    return images
