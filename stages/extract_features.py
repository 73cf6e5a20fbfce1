"""extract_features: every picture and caption through the frozen towers, once."""

import sys
from functools import partial
from pathlib import Path

import _checkout  # noqa: F401

from mmhash.cost import measured
from mmhash.data.coco import image_path
from mmhash.data.folder import copy_features, read_feature_folder
from mmhash.data.source import ensure_raw
from mmhash.encoders.batch import extraction_batch
from mmhash.encoders.checkpoint import load_checkpoint
from mmhash.encoders.device import choose_device, choose_precision
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

OUT = Path("features")


def encode(params: Params, root: Path) -> int:
    """Run the dataset's towers over all pictures and captions; return the rows of a batch."""
    source, profile = params.dataset.encoder, params.profile
    assert source is not None  # the schema sees to it for datasets with pictures
    ensure_raw(params.run.dataset, root)
    device = choose_device(profile.device)
    towers = load_checkpoint(
        source.checkpoint,
        source.revision,
        device,
        source.max_num_patches,
        precision=choose_precision(profile.precision, device),
        compile_towers=profile.compile,
    )
    images = read_table("data/images.parquet")
    stored = {"dtype": params.features.dtype, "normalise": params.features.normalise}
    key = extraction_key(images, towers, **stored, raw=sha256_file("data/manifest.json"))
    cache = cache_dir("extract_features", key)
    batch = extraction_batch(profile.extract_batch, towers, cache)
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
    )
    return batch


def main() -> None:
    """Write ``features/`` and ``metrics/features.json``."""
    params = load_params()
    root = dvc_root() / params.dataset.root
    with measured("extract_features", params.profile.vram_alert_gb) as cost:
        if params.run.dataset == "features":
            folder = read_feature_folder(root)
            copy_features(folder, OUT, params.features.dtype)
        else:
            cost["batch"] = encode(params, root)
        write_json("metrics/features.json", feature_summary(OUT))


if __name__ == "__main__":
    sys.exit(exit_code(main, "the next dvc repro goes on behind the last finished shard"))
