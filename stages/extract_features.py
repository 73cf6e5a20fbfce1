"""extract_features: every picture and caption through the frozen towers, once."""

import logging
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import _checkout  # noqa: F401
import torch

from mmhash.cost import measured
from mmhash.data.coco import image_path
from mmhash.data.folder import copy_features
from mmhash.data.raw import ensure_raw, is_folder_dataset, open_feature_dataset
from mmhash.encoders.batch import extraction_batch
from mmhash.encoders.checkpoint import load_checkpoint
from mmhash.encoders.device import choose_device, choose_precision, describe_device
from mmhash.encoders.extract import extract, extraction_key
from mmhash.encoders.summary import feature_summary
from mmhash.errors import exit_code
from mmhash.files import (
    cache_dir,
    dvc_root,
    read_table,
    sha256_file,
    write_json,
)
from mmhash.params import Params, load_params
from mmhash.ranks import Ranks, joined, restarted

OUT = Path("features")
logger = logging.getLogger("mmhash")


def encode(params: Params, root: Path, device: torch.device, ranks: Ranks) -> int:
    """Run the dataset's towers over all pictures and captions; return the rows of a batch."""
    source, profile = params.dataset.encoder, params.profile
    assert source is not None  # the schema sees to it for datasets with pictures
    ranks.in_turn(partial(ensure_raw, params.run.dataset, root))
    towers = ranks.in_turn(
        partial(
            load_checkpoint,
            source.checkpoint,
            source.revision,
            device,
            source.max_num_patches,
            precision=choose_precision(profile.precision, device),
            compile_towers=profile.compile,
        )
    )
    images = read_table("data/images.parquet")
    stored = {"dtype": params.features.dtype, "normalise": params.features.normalise}
    key = extraction_key(images, towers, **stored, raw=sha256_file("data/manifest.json"))
    cache = Path(ranks.agree(lambda: str(cache_dir("extract_features", key))))
    batch = ranks.agree(lambda: extraction_batch(profile.extract_batch, towers, cache))
    if ranks.first:
        precision = str(towers.precision).removeprefix("torch.")
        logger.info(
            "extraction on %s in %s: batches of %d rows", describe_device(device), precision, batch
        )
    extract(
        images,
        partial(image_path, root),
        towers,
        OUT,
        cache,
        **stored,
        on_bad_image=params.features.on_bad_image,
        batch=batch,
        workers=profile.num_workers,
        prefetch_factor=profile.prefetch_factor,
        pin_memory=profile.pin_memory,
        ranks=ranks,
    )
    return batch


def main() -> None:
    """Write ``features/`` and ``metrics/features.json``."""
    params = load_params()
    name, root = params.run.dataset, dvc_root() / params.dataset.root
    copied = is_folder_dataset(name)
    device = choose_device("cpu" if copied else params.profile.device)
    if not copied and restarted(params.profile.processes):
        return
    with joined(device) as ranks:
        cost = measured("extract_features", params.profile.vram_alert_gb)
        with cost if ranks.first else nullcontext({}) as figures:
            if not copied:
                figures["batch"] = encode(params, root, device, ranks)
            elif ranks.first:
                copy_features(open_feature_dataset(name, root), OUT, params.features.dtype)
            if ranks.first:
                write_json("metrics/features.json", feature_summary(OUT))


if __name__ == "__main__":
    sys.exit(exit_code(main, "the next dvc repro goes on behind the last finished shard"))
