"""One progress bar for all long work: done / total, rate and time left, on stderr."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def track(items: Iterable[T], total: int | None, what: str, unit: str = "it") -> Iterator[T]:
    """Yield ``items`` and show ``what``, the rate in ``unit`` a second and the time left.

    In a log file or a pipe a line is written at most every ten seconds instead of an animation.
    Of several processes that torchrun has started the first one shows its share.
    """
    import os
    import sys

    quiet_interval = 0.2 if sys.stderr.isatty() else 10.0
    silent = os.environ.get("RANK", "0") != "0"
    yield from tqdm(items, what, total, unit=unit, mininterval=quiet_interval, disable=silent)
