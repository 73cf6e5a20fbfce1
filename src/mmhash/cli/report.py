"""``mmhash report``: the run as one page that opens without a network."""

import argparse
import time
from pathlib import Path
from typing import Any

OUT = Path("reports/index.html")


def add_parser(commands: Any) -> None:
    """Add the sub-command to ``commands``, what ``add_subparsers`` gave."""
    parser = commands.add_parser(
        "report",
        help="write reports/index.html: the run on one page that opens offline",
        description="Write one self-contained page (pictures, charts and data inside it, nothing "
        "fetched): figures with intervals, every class, who voted for what, the worst mistakes, "
        "confusion, what each bit does, training, experiments, cost. Sections whose files are "
        "missing say so. The same run gives the same bytes.",
        epilog="example: mmhash report\nexample: mmhash report --out run.html",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, default=OUT, metavar="FILE", help=f"where to (default: {OUT})"
    )


def report(out: Path) -> None:
    """Write the page of the run in the working directory and print its path and size."""
    # torch and scikit-learn take seconds
    from mmhash.page.build import MOST_BYTES
    from mmhash.page.write import write_page

    start = time.monotonic()
    size = write_page(Path(), out)
    print(f"{out}: {size / 1e6:.1f} MB in {time.monotonic() - start:.0f} s")
    if size > MOST_BYTES:
        print(f"advice: over {MOST_BYTES / 1e6:.0f} MB; a browser needs a while to open it")
