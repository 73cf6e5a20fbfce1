"""What a user can put right, said in one line."""

import errno
import logging
import os
import sys
from collections.abc import Callable

logger = logging.getLogger("mmhash")

# What the system may refuse through no mistake of ours, and what a user can do.
MENDS = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EACCES: "choose another place, or change who may write there",
    errno.EPERM: "choose another place, or change who may write there",
    errno.EROFS: "choose another place",
    errno.ENAMETOOLONG: "choose a shorter one",
    errno.EMFILE: "raise the bound (ulimit -n)",
}


class InputError(Exception):
    """A mistake in the input: the message names what is wrong, where, and the mend, on one line."""


def exit_code(main: Callable[[], None], resume_hint: str = "") -> int:
    """Run ``main`` and turn its end into an exit code with at most one line on stderr.

    0: ended well. 1: the user's input is at fault (:class:`InputError`), or the system refuses, as
    a full disk (:data:`MENDS`) and a full GPU do. 130: interrupted with
    Ctrl-C; ``resume_hint`` says what the next run does. Any other exception is a bug of ours and
    keeps its traceback.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logger.setLevel(logging.INFO)  # our own progress, and only warnings of the libraries
    try:
        main()
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in MENDS:
            raise
        print(f"error: {refusal(error)}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # of torch, which takes seconds to import
            raise
        what = str(error).splitlines()[0].rstrip(".") if str(error) else "out of GPU memory"
        mend = "close other programs that use it, or take -S run.hardware=emergency or cpu"
        print(f"error: {what}; {mend}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"interrupted{': ' + resume_hint if resume_hint else ''}", file=sys.stderr)
        return 130
    return 0


def refusal(error: OSError) -> str:
    """Return what the system refuses in one line: the file if known, why, and the mend."""
    named = error.filename2 or error.filename
    where = os.fsdecode(named) if isinstance(named, str | bytes | os.PathLike) else "writing"
    mend = MENDS.get(error.errno or 0)
    return f"{where}: {error.strerror}" + (f"; {mend}" if mend else "")
