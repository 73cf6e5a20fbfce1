"""What a stage cost: seconds and peak memory, kept apart from every result.

Clock and memory readings differ from run to run, so they go to ``metrics/cost/<stage>.json``,
which neither git nor DVC tracks; every other output is the same bytes each time.
"""

import resource
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from mmhash.files import read_json, write_json

COST_DIR = Path("metrics/cost")
SAMPLE_S = 0.5  # seconds between two looks at the memory of worker processes
SLOW_MS = 10.0  # a query that takes longer is worth advice


def peak_ram_mb() -> float:
    """Return the largest resident memory so far of this process or one of its children, in MB.

    Linux begins it at what the process that started this one had.
    """
    largest = max(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
    )
    return largest / 1e6 if sys.platform == "darwin" else largest / 1e3  # bytes there, KiB here


def ram_with_workers_mb() -> float:
    """Return the memory of this process and its workers at this moment, in MB; 0 without workers.

    A page that several of them share is counted once: the sum of the proportional set sizes
    (Linux), or of what each holds alone.
    """
    this = psutil.Process()
    workers = this.children(recursive=True)
    total = 0
    for process in (this, *workers) if workers else ():
        with suppress(psutil.Error):  # it has just ended
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.uss)
    return total / 1e6


@contextmanager
def _workers_watched() -> Iterator[list[float]]:
    """Look at :func:`ram_with_workers_mb` during the block and once at its end.

    Yields a list whose one entry is the largest figure so far.
    """
    largest = [0.0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(SAMPLE_S):
            largest[0] = max(largest[0], ram_with_workers_mb())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield largest
        largest[0] = max(largest[0], ram_with_workers_mb())
    finally:
        done.set()
        thread.join()


@contextmanager
def measured(stage: str, vram_alert_gb: float | None = None) -> Iterator[dict[str, float]]:
    """Time the block and write ``metrics/cost/<stage>.json``; the block may add figures of its own.

    ``peak_ram_mb`` is the largest of: the peak of any single process, which the system keeps
    exactly, and the sum over this process and its workers, looked at every half second. Warns when
    the peak of allocated GPU memory went over ``vram_alert_gb``.
    """
    figures: dict[str, float] = {}
    start = time.perf_counter()
    with _workers_watched() as together:
        yield figures
    figures = {"seconds": round(time.perf_counter() - start, 3), **figures}
    figures["peak_ram_mb"] = round(max(peak_ram_mb(), *together), 1)
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


def latency_note(figures: Mapping[str, float]) -> str | None:
    """Return one line of advice where a single query takes more than 10 ms on average.

    ``figures`` are those of stage evaluate; the search that ``knn`` describes counts. None where it
    is fast enough or was not timed.
    """
    single = figures.get("knn_query_ms_mean", 0.0)
    if single <= SLOW_MS:
        return None
    return (
        f"a query takes {single:.1f} ms, over {SLOW_MS:.0f} ms: send queries in batches "
        f"({figures['knn_queries_per_second_batched']:.0f} a second), search on a GPU, or set "
        "index.kind=ivf or multihash (for knn.distance=hamming or hybrid: the others compare all)"
    )
