"""What a stage cost: seconds and peak memory, kept apart from every result.

Clock and memory readings differ from run to run, so they go to ``metrics/cost/<stage>.json``,
which neither git nor DVC tracks; every other output is the same bytes each time.
"""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmhash.files import read_json, write_json

COST_DIR = Path("metrics/cost")


def peak_ram_mb() -> float:
    """Return the largest resident memory so far of this process or one of its children, in MB."""
    largest = max(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
    )
    return largest / 1e6 if sys.platform == "darwin" else largest / 1e3  # bytes there, KiB here


@contextmanager
def measured(stage: str, vram_alert_gb: float | None = None) -> Iterator[dict[str, float]]:
    """Time the block and write ``metrics/cost/<stage>.json``; the block may add figures of its own.

    Warns when the peak of allocated GPU memory went over ``vram_alert_gb``.
    """
    figures: dict[str, float] = {}
    start = time.perf_counter()
    yield figures
    figures = {"seconds": round(time.perf_counter() - start, 3), **figures}
    figures["peak_ram_mb"] = round(peak_ram_mb(), 1)
    torch = sys.modules.get("torch")  # takes seconds to import, and not every stage needs it
    if torch is not None and torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated()
        figures["peak_vram_mb"] = round(peak / 1e6, 1)
        if vram_alert_gb is not None and peak > vram_alert_gb * 1e9:
            print(
                f"warning: {stage} used {peak / 1e9:.1f} GB of GPU memory, over the alert of "
                f"{vram_alert_gb} GB; try -S run.hardware=emergency",
                file=sys.stderr,
            )
    write_json(COST_DIR / f"{stage}.json", figures)


def read_costs(folder: Path = COST_DIR) -> dict[str, dict[str, float]]:
    """Return the cost of every stage that has run, by stage name."""
    return {path.stem: read_json(path) for path in sorted(folder.glob("*.json"))}
