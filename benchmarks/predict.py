"""Predictions on new pictures against the extraction of the same pictures, and how long one takes.

    python benchmarks/predict.py

On the finished run of this checkout (``dvc repro``), with its test pictures and their first
captions. Slices alternate, medians count:

- predict: ``mmhash.load(run).predict`` with everything loaded, from files to tags and voters;
- extract: :func:`mmhash.encoders.extract.extract` of the same pictures and captions, from files to
  feature arrays, with the same batch and workers.

Then one picture: in a loaded run (with a caption, without one), and ``mmhash predict`` from its
start. The seconds of work (of the process and of those that decode) stand beside the clock's:
other programs of the machine slow the clock only. Prints one table and writes it to
``benchmarks/results/``.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import pyarrow as pa
import pyarrow.compute as pc
from machine import HERE, machine_name

import mmhash
from mmhash.data.coco import image_path
from mmhash.encoders.batch import extraction_batch
from mmhash.encoders.extract import extract
from mmhash.files import read_json, read_npy, read_table, write_json
from mmhash.trained import TrainedRun

Times = tuple[float, float]  # seconds by the clock, seconds of work


def timed(work: Callable[[], Any]) -> Times:
    """Return how long ``work`` takes."""
    before, start = os.times(), time.perf_counter()
    work()
    clock, after = time.perf_counter() - start, os.times()
    return clock, sum(after[:4]) - sum(before[:4])


def medians(times: list[Times]) -> Times:
    """Return the median of each kind of seconds."""
    clock, work = zip(*times, strict=True)
    return statistics.median(clock), statistics.median(work)


def test_pictures(run: TrainedRun, count: int) -> tuple[pa.Table, list[Path]]:
    """Return ``count`` rows of the image table with one caption each, and their paths."""
    table = read_table(run.root / "data" / "images.parquet")
    ids = read_npy(run.root / "predictions" / "test" / "image_id.npy")[:count]
    table = table.filter(pc.is_in(table["image_id"], value_set=pa.array(ids)))
    first = pa.array([captions[:1] for captions in table["captions"].to_pylist()])
    table = table.set_column(table.schema.get_field_index("captions"), "captions", first)
    rows = table.select(["folder", "file_name"]).to_pylist()
    root = run.root / run.params.dataset.root
    return table, [image_path(root, row["folder"], row["file_name"]) for row in rows]


def extracted(run: TrainedRun, table: pa.Table) -> None:
    """Extract the features of ``table`` to a folder that is thrown away."""
    profile = run.params.profile
    meta = read_json(run.root / "features" / "meta.json")
    with tempfile.TemporaryDirectory() as folder:
        extract(
            table,
            partial(image_path, run.root / run.params.dataset.root),
            run.towers,
            Path(folder) / "features",
            Path(folder) / "cache",
            dtype=meta["dtype"],
            normalise=meta["normalised"],
            batch=extraction_batch(profile.extract_batch, run.towers),
            workers=profile.num_workers,
            prefetch_factor=profile.prefetch_factor,
        )


def from_the_start(picture: Path) -> None:
    """Run the command on one picture."""
    code = "from mmhash.cli.main import main; main()"
    subprocess.run(
        [sys.executable, "-c", code, "predict", str(picture), "--run", str(HERE)],
        env=os.environ | {"PYTHONPATH": str(HERE / "src")},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def main() -> None:
    """Print the table and write it."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pictures", type=int, default=1000)
    arguments.add_argument("--rounds", type=int, default=5)
    chosen = arguments.parse_args()
    run = mmhash.load(HERE)
    table, paths = test_pictures(run, chosen.pictures)
    captions = [captions[0] for captions in table["captions"].to_pylist()]
    for given in (captions[:2], [None, None]):
        run.predict(paths[:2], given)  # loads what is not loaded yet
    ways: dict[str, Callable[[], Any]] = {
        "predict": lambda: run.predict(paths, captions),
        "predict, image only": lambda: run.predict(paths),
        "extract": lambda: extracted(run, table),
    }
    times: dict[str, list[Times]] = {way: [] for way in ways}
    for _ in range(chosen.rounds):
        for way, work in ways.items():
            times[way].append(timed(work))
    found = {way: medians(each) for way, each in times.items()}
    ratios = {
        way: [
            round(statistics.median(b[kind] / a[kind] for a, b in zip(each, base, strict=True)), 3)
            for kind in (0, 1)
        ]
        for way, each in times.items()
        if (base := times["extract"])
    }
    some = list(zip(paths, captions, strict=True))[:50]
    one = {
        "one picture, loaded run": [timed(partial(run.predict, [p], [c])) for p, c in some],
        "one picture, image only": [timed(partial(run.predict, [p])) for p, _ in some],
        "one picture, from the start": [
            timed(lambda: from_the_start(paths[0])) for _ in range(chosen.rounds)
        ],
    }
    print(f"{len(paths)} pictures{'':<16}{'clock s':>10}{'work s':>10}{'extract / it':>16}")
    for way, (clock, cost) in found.items():
        print(f"{way:<29}{clock:>10.2f}{cost:>10.2f}{ratios[way][0]:>9.2f}, {ratios[way][1]:.2f}")
    for way, each in one.items():
        clock, cost = medians(each)
        longest = max(seconds for seconds, _ in each)
        print(f"{way:<29}{clock:>10.3f}{cost:>10.3f}   longest {longest:.3f}")
    write_json(
        HERE / "benchmarks" / "results" / f"predict-{machine_name()}.json",
        {
            "machine": machine_name(),
            "pictures": len(paths),
            "seconds": {way: {"clock": c, "work": w} for way, (c, w) in found.items()},
            "extract_over_it": {
                way: {"clock": clock, "work": work} for way, (clock, work) in ratios.items()
            },
            "one": {
                way: {
                    **dict(zip(("clock", "work"), medians(each), strict=True)),
                    "longest": max(clock for clock, _ in each),
                }
                for way, each in one.items()
            },
        },
    )


if __name__ == "__main__":
    main()
