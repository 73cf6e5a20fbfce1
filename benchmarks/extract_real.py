"""Does the extraction of real pictures equal the plain Hugging Face way?

    python benchmarks/extract_real.py ../shared/real/coco-mini

The base architecture with random weights (``base_towers.py``) in float32, on the CPU. The plain way
is transformers' own image processor, and ``get_image_features`` and ``get_text_features`` of one
picture and its captions at a time. The extraction is run with and without workers, in batches of
two sizes, and killed (SIGKILL) in the middle and started again. Prints the largest difference of a
pixel and, for each way, the lowest cosine to the plain one, and writes them to
``benchmarks/results/``.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import pyarrow as pa
import torch
from base_towers import plain_inputs, write_base_checkpoint
from machine import machine_name
from transformers import SiglipModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.utils import logging as transformers_logging

from mmhash.data.coco import image_path, read_coco
from mmhash.encoders.checkpoint import load_checkpoint
from mmhash.encoders.extract import extract
from mmhash.encoders.pixels import decode, tower_inputs
from mmhash.files import write_json

Arrays = dict[str, np.ndarray]
# batch, workers, killed in the middle
WAYS = {
    "batches of 16": (16, 0, False),
    "batches of 16, 2 workers": (16, 2, False),
    "batches of 16, 2 workers, killed and resumed": (16, 2, True),
    "batches of 5": (5, 0, False),
}


def some_pictures(root: Path, count: int) -> pa.Table:
    """Return ``count`` rows of COCO's image table, from all over it."""
    images = read_coco(root).images
    rows = np.linspace(0, images.num_rows - 1, min(count, images.num_rows)).astype(int)
    return images.take(pa.array(rows))


def pixel_difference(images: pa.Table, root: Path, checkpoint: Path) -> float:
    """Return the largest difference of a pixel to the plain way's, of 255."""
    processor = SiglipImageProcessorPil.from_pretrained(checkpoint)
    settings = load_checkpoint(str(checkpoint), None, torch.device("cpu")).pixels
    furthest = 0.0
    for path in _paths(images, root):
        reference = processor(str(path), return_tensors="pt")["pixel_values"]
        own = tower_inputs(decode([path], settings)[0], settings)["pixel_values"]
        furthest = max(furthest, float((own - reference).abs().max()))
    return furthest * max(settings.std) * 255


def plain(images: pa.Table, root: Path, checkpoint: Path) -> Arrays:
    """Return the features the plain way."""
    model = SiglipModel.from_pretrained(checkpoint).eval()
    inputs = plain_inputs(checkpoint)
    image, text = [], []
    for path, captions in zip(_paths(images, root), images["captions"].to_pylist(), strict=True):
        pixels, ids = inputs(path, captions)
        with torch.no_grad():
            image.append(model.get_image_features(pixel_values=pixels).pooler_output.numpy())
            text.append(model.get_text_features(input_ids=ids).pooler_output.numpy())
    return {"image": np.concatenate(image), "text": np.concatenate(text)}


def _paths(images: pa.Table, root: Path) -> list[Path]:
    names = (images[column].to_pylist() for column in ("folder", "file_name"))
    return [image_path(root, *name) for name in zip(*names, strict=True)]


def extracted(
    images: pa.Table, root: Path, checkpoint: Path, folder: Path, batch: int, workers: int
) -> None:
    """Extract into ``folder``, in three shards."""
    extract(
        images,
        partial(image_path, root),
        load_checkpoint(str(checkpoint), None, torch.device("cpu")),
        folder / "out",
        folder / "cache",
        dtype="float32",
        batch=batch,
        workers=workers,
        shard=-(-images.num_rows // 3),
    )


def _in_a_process(threads: int, *arguments: Any) -> None:
    torch.set_num_threads(threads)  # or sums would be cut up in another way
    extracted(*arguments)


def killed(folder: Path, *arguments: Any) -> int:
    """Kill an extraction while it is at its second shard or later; return the shards that stay."""
    process = multiprocessing.get_context("spawn").Process(
        target=_in_a_process, args=(torch.get_num_threads(), *arguments)
    )
    process.start()
    while process.is_alive() and not list((folder / "cache").glob("*.safetensors")):
        time.sleep(0.005)
    process.kill()
    process.join()
    return len(list((folder / "cache").glob("*.safetensors")))


def run_ways(images: pa.Table, root: Path, checkpoint: Path, scratch: Path) -> dict[str, Arrays]:
    """Return the features of each of ``WAYS``."""
    found = {}
    for number, (name, (batch, workers, kill)) in enumerate(WAYS.items()):
        folder = scratch / str(number)
        arguments = (images, root, checkpoint, folder, batch, workers)
        if kill and killed(folder, *arguments) not in (1, 2):
            raise SystemExit("the extraction was not killed in its middle; run this again")
        extracted(*arguments)
        found[name] = {
            key: np.load(folder / "out" / f"{key}.npy", allow_pickle=False)
            for key in ("image", "text")
        }
    return found


def lowest_cosine(ours: np.ndarray, reference: np.ndarray) -> float:
    """Return the lowest cosine of a row (N, D) and the same row of the reference."""
    a, b = ours.astype(np.float64), reference.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / norms).min())


def nearest_other(vectors: np.ndarray) -> float:
    """Return the median, over rows (N, D), of the cosine to the nearest other row."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -1)
    return float(np.median(cosines.max(axis=1)))


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="pictures in COCO's layout")
    parser.add_argument("--pictures", type=int, default=310, help="of which vectors are made")
    arguments = parser.parse_args()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    images = some_pictures(arguments.folder, arguments.pictures)
    with tempfile.TemporaryDirectory(prefix="mmhash-") as scratch:
        checkpoint = Path(scratch) / "base"
        write_base_checkpoint(checkpoint)
        every = read_coco(arguments.folder).images
        pixels = pixel_difference(every, arguments.folder, checkpoint)
        reference = plain(images, arguments.folder, checkpoint)
        ways = run_ways(images, arguments.folder, checkpoint, Path(scratch))
    first = next(iter(ways.values()))
    rows = {
        name: {key: lowest_cosine(arrays[key], reference[key]) for key in reference}
        | {"same_bytes": all(np.array_equal(arrays[key], first[key]) for key in reference)}
        for name, arrays in ways.items()
    }
    near = nearest_other(reference["image"])
    print(f"pixels of {every.num_rows} pictures: {pixels:.6f} / 255 off at most\n")
    print(f"vectors of {images.num_rows} pictures and {len(reference['text'])} captions; the")
    print(f"nearest other picture is at a cosine of {near:.4f} in the median\n")
    print(
        "| way | lowest cosine, pictures | captions | bytes of the first |\n" + "| --- " * 4 + "|"
    )
    for name, row in rows.items():
        same = "yes" if row["same_bytes"] else "no"
        print(f"| {name} | {row['image']:.9f} | {row['text']:.9f} | {same} |")
    machine = machine_name()
    write_json(
        Path(__file__).resolve().parent / "results" / f"extract_real-{machine}.json",
        {"data": "real pictures, random weights", "machine": machine}
        | {"pictures": images.num_rows, "captions": len(reference["text"])}
        | {"pixels": {"pictures": every.num_rows, "of_255": pixels}, "nearest_other": near}
        | {"threads": torch.get_num_threads(), "ways": rows},
    )


if __name__ == "__main__":
    main()
