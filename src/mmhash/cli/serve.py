"""``mmhash serve``: the report page with a predict form, for the user of this machine."""

import argparse
import io
import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmhash.errors import InputError

if TYPE_CHECKING:
    from mmhash.trained import TrainedRun

logger = logging.getLogger(__name__)

PORT = 8000
PACKAGES = ("flask", "waitress")
MEND = "pip install -r requirements-serve.txt"


def add_parser(commands: Any) -> None:
    """Add the sub-command to ``commands``, what ``add_subparsers`` gave."""
    parser = commands.add_parser(
        "serve",
        help="show the report page with a form that tags your pictures, on this machine only",
        description="Show the page of mmhash report with a form: choose a picture, with a caption "
        "or without, and see its tags and the neighbours that voted for them. The server answers "
        "this machine alone (127.0.0.1) and keeps nothing of what is sent to it; Ctrl-C ends it. "
        "The page is written first where it is missing or older than the run. "
        f"Needs two more packages: {MEND}",
        epilog="example: mmhash serve\n"
        "example: mmhash serve --run ../other-checkout --port 8080\n"
        "from another machine: ssh -L 8000:127.0.0.1:8000 HOST, with the same port at both ends",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=PORT,
        metavar="N",
        help=f"port at 127.0.0.1, 0 for any that is free (default: {PORT})",
    )
    parser.add_argument(
        "--run",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="checkout with a finished run (default: the working directory)",
    )


def serve(root: Path, port: int) -> None:
    """Serve the run in the checkout ``root`` until Ctrl-C, which raises KeyboardInterrupt.

    Raises :class:`InputError` where a package is missing, the port taken, or no run has ended in
    ``root`` that could tag pictures.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(f"mmhash serve needs {' and '.join(missing)}: {MEND}")
    from mmhash.serve.app import make_app
    from mmhash.serve.listen import HOST, open_socket, serve_until_interrupted
    from mmhash.serve.shown import current_page
    from mmhash.trained import TrainedRun

    with open_socket(port) as listening:  # what is wrong is said before the long work
        run = TrainedRun(root)
        page = current_page(root)
        _warm_up(run)
        number = listening.getsockname()[1]
        app = make_app(run, page, number)
        print(f"http://{HOST}:{number}/ (Ctrl-C ends it)", flush=True)
        serve_until_interrupted(app, listening)


def _warm_up(run: "TrainedRun") -> None:
    """Load all that predictions need, so that the first one does not wait for it."""
    from PIL import Image

    held = io.BytesIO()
    Image.new("RGB", (32, 32), "gray").save(held, "PNG")
    run.predict([held.getvalue()], ["a picture"])
    try:
        run.predict([held.getvalue()])
    except InputError as error:  # such requests will be answered so too
        logger.warning("without a caption no picture can be tagged: %s", error)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number from 0 to 65535")
    return int(text)
