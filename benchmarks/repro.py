"""How long a newcomer waits: a fresh clone's ``dvc repro`` on the sample, and one with no work.

    python benchmarks/repro.py

Clones this checkout (what is committed) to a temporary folder, runs ``dvc repro`` there with the
present environment, and again. Prints one table and writes it to ``benchmarks/results/``.
The reference of the ratios is the goal: 180 s for the first run, 1 s for the second, 2 GB.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from machine import clone_environment, cloned, machine_name

from mmhash.cost import read_costs
from mmhash.files import write_json

GOALS = {"fresh clone": 180.0, "nothing to do": 1.0}


def main() -> None:
    """Clone, run twice, print and write."""
    rows = {}
    with tempfile.TemporaryDirectory(prefix="mmhash-repro-") as folder:
        clone = cloned(Path(folder))
        for name in GOALS:
            start = time.perf_counter()
            subprocess.run(["dvc", "repro", "-q"], cwd=clone, env=clone_environment(), check=True)
            rows[name] = round(time.perf_counter() - start, 2)
        stages = read_costs(clone / "metrics/cost")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print("| | seconds | goal | ratio |\n| --- | --- | --- | --- |")
    for name, seconds in rows.items():
        print(f"| {name} | {seconds:.1f} | {GOALS[name]:.0f} | {seconds / GOALS[name]:.2f} |")
    print(f"\npeak RAM of a process: {peak:.2f} GB (goal 2)")
    machine = machine_name()
    write_json(
        Path("benchmarks/results") / f"repro-{machine}.json",
        {
            "data": "sample",
            "machine": machine,
            "seconds": rows,
            "goals": GOALS,
            "peak_ram_gb": round(peak, 3),
            "seconds_by_stage": {stage: cost["seconds"] for stage, cost in stages.items()},
        },
    )


if __name__ == "__main__":
    main()
