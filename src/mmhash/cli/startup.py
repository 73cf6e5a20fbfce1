"""What the commands share of their start: kinds of arguments, and a start that takes less time."""

import argparse
import gc
from collections.abc import Iterator
from contextlib import contextmanager


def positive(text: str) -> int:
    """Return an argument that is a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number of at least 1")
    return int(text)


@contextmanager
def no_garbage() -> Iterator[None]:
    """Look for no garbage while thousands of modules come and none of them goes.

    Looking among them, now and at the end, takes a third of the time of a short command.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
