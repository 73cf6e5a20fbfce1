"""encode_classes: the text vector of each class name, for zero-shot."""

import sys

import _checkout  # noqa: F401
import numpy as np

from mmhash.cost import measured
from mmhash.encoders.checkpoint import load_checkpoint
from mmhash.encoders.device import choose_device, choose_precision
from mmhash.encoders.prototypes import prototypes
from mmhash.errors import exit_code
from mmhash.files import read_json, write_npy
from mmhash.params import load_params


def main() -> None:
    """Write ``data/prototypes.npy`` (C, D_t), or (0, 0) for features without a text tower."""
    params = load_params()
    source = params.dataset.encoder
    with measured("encode_classes", params.profile.vram_alert_gb):
        vectors = np.empty((0, 0), dtype=np.float32)
        if source is not None:
            device = choose_device(params.profile.device)
            towers = load_checkpoint(
                source.checkpoint,
                source.revision,
                device,
                source.max_num_patches,
                precision=choose_precision(params.profile.precision, device),
            )
            names = [category["name"] for category in read_json("data/categories.json")]
            vectors = prototypes(towers.encode_texts, names, params.zeroshot.prompts)
        write_npy("data/prototypes.npy", vectors)


if __name__ == "__main__":
    sys.exit(exit_code(main))
