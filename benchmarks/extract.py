"""Extraction against its towers alone, and against one picture at a time.

    python benchmarks/extract.py

The base architecture with random weights (``base_towers.py``), JPEGs of 640 × 480 on disk, five
captions each, precision as ``run.hardware=auto`` chooses it. Slices alternate, medians count:

- ours: :func:`mmhash.encoders.extract.extract`, from files to feature arrays;
- (a): the towers alone, same precision, batch and threads, on normalised pixels and token ids that
  are in memory already: nothing is read, decoded, tokenised, copied or written, and no other
  process wants a core;
- (b): the plan's way: the Hugging Face processor on one picture and its captions, float32, the
  joint model on these; measured on a few pictures.

On a CPU the seconds of work (of this process and of those that decode) stand beside the clock's:
other programs of the machine slow the clock only. Prints one table of speed, and one of what
decoding a picture costs and of the memory that extraction takes; writes all to
``benchmarks/results/``.
"""

import argparse
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import torch
from base_towers import TINY, draw_pictures, image_table, plain_inputs, write_base_checkpoint
from machine import machine_name
from PIL import Image
from transformers import SiglipModel
from transformers.utils import logging as transformers_logging

from mmhash.cost import peak_ram_mb
from mmhash.data.picture import read_picture
from mmhash.encoders.batch import extraction_batch
from mmhash.encoders.checkpoint import Towers, load_checkpoint
from mmhash.encoders.device import choose_device, choose_precision, describe_device
from mmhash.encoders.extract import extract
from mmhash.encoders.pixels import PixelSettings, decode, fit, tower_inputs
from mmhash.encoders.text import token_ids
from mmhash.files import write_json

FILES = 64  # different pictures on disk; more rows name them again
MEMORY = (1_024, 4_096)  # rows at which the peak of memory is read


def locate(root: Path, folder: str, file_name: str) -> Path:
    """Return a picture's path."""
    return root / folder / file_name


def ours(root: Path, towers: Towers, count: int, batch: int, workers: int) -> None:
    """Extract ``count`` rows to arrays that are thrown away."""
    with tempfile.TemporaryDirectory(prefix="mmhash-") as scratch:
        extract(
            image_table(count, FILES),
            partial(locate, root),
            towers,
            Path(scratch) / "out",
            Path(scratch) / "cache",
            batch=batch,
            workers=workers,
            pin_memory=True,
        )


def towers_alone(root: Path, towers: Towers, batch: int) -> Callable[[int], None]:
    """Return reference (a): encode so many rows of one batch that is there already."""
    table = image_table(batch, FILES)
    paths = [locate(root, "train2014", name) for name in table["file_name"].to_pylist()]
    pictures, _ = decode(paths, towers.pixels)
    pixels = tower_inputs(pictures, towers.pixels)["pixel_values"].to(towers.device)
    texts = [text for texts in table["captions"].to_pylist() for text in texts]
    ids = token_ids(texts[:batch], towers.tokenizer, towers.token_length).to(towers.device)
    model: Any = towers.model

    def run(count: int) -> None:
        with torch.inference_mode(), towers._autocast():
            for start in range(0, count, batch):
                model.get_image_features(pixel_values=pixels[: count - start])
            for start in range(0, 5 * count, batch):
                model.get_text_features(input_ids=ids[: 5 * count - start])
        if towers.device.type == "cuda":
            torch.cuda.synchronize(towers.device)

    return run


def one_at_a_time(root: Path, checkpoint: Path, device: torch.device) -> Callable[[int], None]:
    """Return reference (b): so many pictures with their captions, one after the other."""
    model = SiglipModel.from_pretrained(checkpoint).eval().to(device)
    inputs = plain_inputs(checkpoint)

    def run(count: int) -> None:
        for row in image_table(count, FILES).to_pylist():
            path = locate(root, row["folder"], row["file_name"])
            pixels, ids = inputs(path, row["captions"])
            with torch.no_grad():
                out = model(pixel_values=pixels.to(device), input_ids=ids.to(device))
            out.image_embeds.cpu(), out.text_embeds.cpu()

    return run


def work_seconds() -> float:
    """Return the processor time so far of this process and of its children that have ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds that ``work`` takes: by the clock, and of the processors."""
    worked, start = work_seconds(), time.perf_counter()
    work()
    return time.perf_counter() - start, work_seconds() - worked


def decoding(root: Path, settings: PixelSettings) -> dict[str, dict[str, float]]:
    """Return ms a picture, and the largest difference of a pixel, of ways to decode with Pillow.

    ``reducing_gap`` shrinks to a whole part first. Letting libjpeg shrink while it decodes
    (``draft``) changes nothing here: half of 480 rows would be fewer than the towers want.
    """
    paths = [locate(root, "train2014", f"{number}.jpg") for number in range(FILES)]
    size, filter_ = settings.image_size, Image.Resampling(settings.resample)
    assert size is not None

    def gap(path: Path) -> np.ndarray:
        return np.asarray(read_picture(path).resize((size, size), filter_, reducing_gap=1.1))

    ways: dict[str, Callable[[Path], Any]] = {
        "decoded and resized (ours)": lambda path: fit(read_picture(path), settings)[0],
        "decoded": read_picture,
        "decoded and resized with reducing_gap": gap,
    }
    found: dict[str, dict[str, float]] = {}
    for name, way in ways.items():
        worked = work_seconds()
        pictures = [way(path) for path in paths]
        found[name] = {"ms": round((work_seconds() - worked) / FILES * 1e3, 2)}
        if isinstance(pictures[0], np.ndarray):
            truth = (fit(read_picture(path), settings)[0].astype(int) for path in paths)
            steps = (np.abs(p - t).max() for p, t in zip(pictures, truth, strict=True))
            found[name]["difference_255"] = int(max(steps))
    return found


def peak_of_rows(root: Path, count: int, workers: int) -> float:
    """Return the MB of the largest process that extracts ``count`` rows with the tiny encoder."""
    towers = load_checkpoint(str(TINY), None, torch.device("cpu"))
    ours(root, towers, count, batch=64, workers=workers)
    return peak_ram_mb()


def peaks(root: Path, workers: int) -> dict[int, float]:
    """Return :func:`peak_of_rows` for each number of ``MEMORY``, in a process of its own each."""
    found = {}
    for count in MEMORY:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            found[count] = round(fresh.submit(peak_of_rows, root, count, workers).result(), 1)
    return found


def main() -> None:
    """Alternate, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    device = choose_device("auto")
    on_gpu = device.type == "cuda"
    parser.add_argument("--pictures", type=int, default=8_192 if on_gpu else 64)
    parser.add_argument("--batch", type=int, help="default: as extract_batch: auto finds it")
    parser.add_argument("--workers", type=int, default=min(os.cpu_count() or 1, 16))
    parser.add_argument("--single", type=int, default=16, help="pictures of (b)")
    parser.add_argument("--slices", type=int, default=3)
    arguments = parser.parse_args()
    count, workers, single = arguments.pictures, arguments.workers, arguments.single
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="mmhash-") as scratch:
        root, checkpoint = Path(scratch) / "images", Path(scratch) / "base"
        draw_pictures(root, FILES)
        # First of all, for a process begins its peak at that of the process that starts it.
        memory = peaks(root, workers)
        write_base_checkpoint(checkpoint)
        precision = choose_precision("auto", device)
        towers = load_checkpoint(str(checkpoint), None, device, precision=precision)
        batch = arguments.batch or extraction_batch("auto", towers)
        decoded = decoding(root, towers.pixels)
        alone = towers_alone(root, towers, batch)
        plan = one_at_a_time(root, checkpoint, device)
        work: dict[str, tuple[int, Callable[[], None]]] = {
            "ours": (count, lambda: ours(root, towers, count, batch, workers)),
            "a": (count, lambda: alone(count)),
            "b": (single, lambda: plan(single)),
        }
        alone(batch), plan(1)  # warm up
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
        for _ in range(arguments.slices):
            for name, (pictures, run) in work.items():
                clock, worked = timed(run)
                taken[name].append((clock / pictures, worked / pictures))
    clocks = {name: statistics.median(c for c, _ in slices) for name, slices in taken.items()}
    cores = {name: statistics.median(w for _, w in slices) for name, slices in taken.items()}
    titles = {
        "ours": "ours, files to arrays",
        "a": "(a) towers alone",
        "b": "(b) one picture at a time, float32",
    }
    wanted = {"ours": "", "a": "at least 0.9", "b": "at least 10" if on_gpu else "2.4 with bf16"}
    columns = ["", "pictures/s", "ours / this", "core-s a picture", "this / ours", "wanted"]
    print("| " + " | ".join(columns) + " |\n" + "| --- " * len(columns) + "|")
    for name, title in titles.items():
        print(
            f"| {title} | {1 / clocks[name]:.3f} | {clocks[name] / clocks['ours']:.3f} "
            f"| {cores[name]:.4f} | {cores[name] / cores['ours']:.3f} | {wanted[name]} |"
        )
    print("\n| besides | |\n| --- | --- |")
    for name, figures in decoded.items():
        off = figures.get("difference_255")
        seen = "" if off is None else f", pixels off by {off} / 255 at most"
        print(f"| a picture {name} | {figures['ms']:.2f} ms of a core{seen} |")
    for rows, peak in memory.items():
        print(f"| peak RAM of the largest process, tiny encoder, {rows} pictures | {peak:.0f} MB |")
    print(f"| the same, this whole benchmark, two base models | {peak_ram_mb():.0f} MB |")
    machine = describe_device(device).replace(" ", "-")
    machine = machine if on_gpu else machine_name()
    write_json(
        Path(__file__).resolve().parent / "results" / f"extract-{machine}.json",
        {"data": "drawn pictures, random weights", "machine": machine, "pictures": count}
        | {"batch": batch, "workers": workers, "threads": torch.get_num_threads()}
        | {"precision": str(precision).removeprefix("torch.")}
        | {"ratio": {name: round(clocks[name] / clocks["ours"], 3) for name in ("a", "b")}}
        | {"ratio_of_work": {name: round(cores[name] / cores["ours"], 3) for name in ("a", "b")}}
        | {"seconds_a_picture": {name: round(value, 4) for name, value in clocks.items()}}
        | {"core_seconds_a_picture": {name: round(value, 4) for name, value in cores.items()}}
        | {"decoding": decoded}
        | {"peak_ram_mb": {str(rows): peak for rows, peak in memory.items()}},
    )


if __name__ == "__main__":
    main()
