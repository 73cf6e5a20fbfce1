"""build_index: encode the database side once and index its codes."""

import sys
import time
from pathlib import Path

import _checkout  # noqa: F401
import numpy as np

from mmhash.codes import binarise, pack
from mmhash.cost import measured
from mmhash.encoders.device import choose_device
from mmhash.errors import exit_code
from mmhash.features import features_for, load_features
from mmhash.files import sha256_file, write_json, write_npy
from mmhash.index.kinds import build, save
from mmhash.metrics.codes import code_metrics
from mmhash.models.weights import load_tagger
from mmhash.params import load_params
from mmhash.training.encode import encode

OUT = Path("index")


def main() -> None:
    """Write ``index/`` and ``metrics/index.json``."""
    params = load_params()
    with measured("build_index", params.profile.vram_alert_gb) as cost:
        dataset = load_features(features_for(Path("model")), Path("data"))
        tagger, hash_scale = load_tagger(Path("model"))
        device = choose_device(params.profile.device)
        rows, captions = dataset.database_rows(), params.index.captions
        found = encode(tagger, dataset.features, rows, hash_scale, captions, device=device)
        if "h" in found:
            items = pack(binarise(found["h"]))
            figures = code_metrics(items, found["h"])
            write_npy(OUT / "soft.npy", found["h"].astype(np.float16))
        else:
            items, figures = found["z"], {}
        start = time.perf_counter()
        index = build(items, params.index.kind)
        building = time.perf_counter() - start
        save(index, OUT / "index.faiss")
        write_npy(OUT / "image_id.npy", dataset.image_id[found["row"]])
        write_npy(OUT / "caption.npy", found["caption"])
        write_npy(OUT / "labels.npy", dataset.features.labels[found["row"]])
        described = {
            "kind": params.index.kind,
            "metric": index.metric,
            "bits": index.bits,
            "captions": captions,
            "items": index.size,
        }
        write_json(OUT / "meta.json", {**described, "sha256": sha256_file(OUT / "index.faiss")})
        stored = (OUT / "index.faiss").stat().st_size
        float32_bytes = 4 * (dataset.features.image.shape[1] + dataset.features.text.shape[1])
        write_json(
            "metrics/index.json",
            {
                **described,
                "bytes": stored,
                "bytes_per_item": round(stored / index.size, 3),
                "compression_against_float32": round(float32_bytes * index.size / stored, 2),
                **figures,
            },
        )
        cost["items"] = index.size
        cost["index_build_seconds"] = round(building, 4)  # what index.kind decides


if __name__ == "__main__":
    sys.exit(exit_code(main))
