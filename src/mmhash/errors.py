"""What a user can put right, said in one line."""

import logging
import sys
from collections.abc import Callable

logger = logging.getLogger("mmhash")


class InputError(Exception):
    """A mistake in the input: the message names what is wrong, where, and the mend, on one line."""


def exit_code(main: Callable[[], None], resume_hint: str = "") -> int:
    """Run ``main`` and turn its end into an exit code with at most one line on stderr.

    0: ended well. 1: the user's input is at fault (:class:`InputError`). 130: interrupted with
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
    except KeyboardInterrupt:
        print(f"interrupted{': ' + resume_hint if resume_hint else ''}", file=sys.stderr)
        return 130
    return 0
