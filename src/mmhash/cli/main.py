"""``mmhash``: one command with sub-commands, each with an example in its help."""

import argparse
import sys
from collections.abc import Sequence

from mmhash.errors import InputError, exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mmhash",
        description="Look at the machine and at the runs of an mmhash checkout.",
        epilog="Exit codes: 0 ok, 1 failed, 2 wrong usage. Run it from the repository's root.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    doctor = commands.add_parser(
        "doctor",
        help="check what a run needs: each line ok, warn or fail, with the mend",
        description="Check Python, torch, faiss, the dataset, the checkpoint, disk, memory and "
        "time for the run that params.yaml describes.",
        epilog="example: mmhash doctor\n"
        "example: mmhash doctor --checkpoint google/siglip2-base-patch16-256",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    doctor.add_argument(
        "--checkpoint",
        metavar="ID",
        help="load this checkpoint (hub id or folder) and check that its features are sound",
    )
    doctor.add_argument("--revision", metavar="COMMIT", help="commit of a hub checkpoint")
    doctor.add_argument(
        "--no-timing", action="store_true", help="leave out the measured estimates of time"
    )
    commands.add_parser(
        "cost",
        help="seconds and peak memory of each stage's last run",
        description="Show metrics/cost/, what the last run of each stage took on this machine.",
        epilog="example: mmhash cost",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with 0, 1 or 2 (130 after Ctrl-C)."""
    chosen = _parser().parse_args(arguments)
    failed = False

    def run() -> None:
        nonlocal failed
        if chosen.command == "cost":
            from mmhash.cli.cost import show_costs

            show_costs()
        elif chosen.checkpoint is not None:
            from mmhash.cli.checkpoint import check_checkpoint

            failed = not check_checkpoint(chosen.checkpoint, chosen.revision)
        else:
            if chosen.revision is not None:
                raise InputError("--revision goes with --checkpoint")
            from mmhash.cli.doctor import examine

            failed = not examine(timing=not chosen.no_timing)

    code = exit_code(run)
    sys.exit(code or int(failed))
