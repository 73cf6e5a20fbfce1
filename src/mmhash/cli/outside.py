"""What goes wrong outside of the program, said in one line: a full disk, no permission, a pipe."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mmhash.errors import InputError, refusal


@contextmanager
def said_in_a_line() -> Iterator[None]:
    """Raise :class:`InputError` for what the system refuses (OSError), naming the file if known.

    Whoever reads the output may close it early (``| head``): BrokenPipeError ends the command
    quietly with exit code 1.
    """
    try:
        yield
        sys.stdout.flush()  # here, and not at the end of Python, where nobody could catch it
    except BrokenPipeError:
        _drop_output()
        raise SystemExit(1) from None
    except OSError as error:
        _drop_output()
        if error.errno is None:  # made by a library or by us; says nothing about the system
            raise
        raise InputError(refusal(error)) from None


def _drop_output() -> None:
    """Let go of what stdout still holds where it cannot be written, or Python's end would fail."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def keep_streams_open() -> None:
    """Open stdin, stdout and stderr on nothing where the caller closed them (``>&-``).

    Their numbers would go to the next files that are opened, and what is printed into those.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123, SIM115
            setattr(sys, name, nowhere)
