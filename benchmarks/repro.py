"""How long a newcomer waits: a fresh clone's ``dvc repro`` on the sample, and one with no work.

    python benchmarks/repro.py

Clones this checkout (what is committed) to a temporary folder and runs ``dvc repro`` there with the
present environment; then again, with nothing to do, in turns with DVC alone: a repository whose
stages have the same names and parameters, and ``params.yaml`` for their only dependency. What is
above DVC alone is the price of code dependencies that leave no old result standing. Medians count.
Prints one table and writes it to ``benchmarks/results/``. The reference of ``ratio`` is the goal:
180 s for the first run, 1 s for the second, 2 GB.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from shutil import copy

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from machine import HERE, clone_environment, cloned, machine_name
from ruamel.yaml import YAML

from mmhash.cost import read_costs
from mmhash.files import write_json

GOALS = {"fresh clone": 180.0, "nothing to do": 1.0, "nothing to do, DVC alone": 1.0}
ROUNDS = 7


def repro(folder: Path) -> float:
    """Return the seconds that ``dvc repro`` takes in ``folder``."""
    start = time.perf_counter()
    subprocess.run(["dvc", "repro", "-q"], cwd=folder, env=clone_environment(), check=True)
    return time.perf_counter() - start


def alone(folder: Path) -> Path:
    """Make a repository with the stages of this one that do nothing and depend on no code."""
    folder.mkdir()
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, cwd=folder, env=clone_environment(), check=True)
    yaml = YAML(typ="safe")
    stages = {
        name: {"cmd": "true", "deps": ["params.yaml"], "params": stage.get("params", [])}
        for name, stage in yaml.load((HERE / "dvc.yaml").read_text(encoding="utf-8"))[
            "stages"
        ].items()
    }
    yaml.dump({"stages": stages}, folder / "dvc.yaml")
    for name in ("params.yaml", ".dvc/config"):
        copy(HERE / name, folder / name)
    repro(folder)
    return folder


def main() -> None:
    """Clone, run, print and write."""
    with tempfile.TemporaryDirectory(prefix="mmhash-repro-") as folder:
        clone, floor = cloned(Path(folder)), alone(Path(folder) / "alone")
        first = repro(clone)
        times = [(repro(clone), repro(floor)) for _ in range(ROUNDS)]
        medians = [statistics.median(column) for column in zip(*times, strict=True)]
        rows = dict(zip(GOALS, [round(t, 2) for t in (first, *medians)], strict=True))
        stages = read_costs(clone / "metrics/cost")
    ratio = {name: seconds / GOALS[name] for name, seconds in rows.items()}
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print("| | seconds | goal | ratio |\n| --- | --- | --- | --- |")
    for name, seconds in rows.items():
        print(f"| {name} | {seconds:.1f} | {GOALS[name]:.0f} | {ratio[name]:.2f} |")
    print(f"\npeak RAM of a process: {peak:.2f} GB (goal 2)")
    machine = machine_name()
    write_json(
        Path("benchmarks/results") / f"repro-{machine}.json",
        {
            "data": "sample",
            "machine": machine,
            "seconds": rows,
            "goals": GOALS,
            "ratio": {name: round(value, 3) for name, value in ratio.items()},
            "peak_ram_gb": round(peak, 3),
            "seconds_by_stage": {stage: cost["seconds"] for stage, cost in stages.items()},
        },
    )


if __name__ == "__main__":
    main()
