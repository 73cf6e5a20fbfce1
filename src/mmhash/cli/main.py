"""``mmhash``: one command with sub-commands, each with an example in its help."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from mmhash.cli import export, index, predict, report, serve
from mmhash.cli.outside import keep_streams_open, said_in_a_line
from mmhash.cli.startup import positive
from mmhash.errors import InputError, exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mmhash",
        description="Look at the machine, run studies, and use what was trained: tag, add, show.",
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
        description="Show metrics/cost/, what the last run of each stage took on this machine. "
        "Peak RAM is that of the largest process, or of the stage's process with its workers where "
        "that is more (looked at every half second); where several processes share a stage "
        "(hardware.*.processes) it is the first one's, like the VRAM; files read through memory "
        "maps count. Peak VRAM is what PyTorch had allocated, without its reserve and the CUDA "
        "context.",
        epilog="example: mmhash cost",
    )
    ablate = commands.add_parser(
        "ablate",
        help="run an ablation as DVC experiments and write its table",
        description="Run every row of a study with several seeds, one DVC experiment after "
        "another (those that exist are read, not run), and write reports/ablations/ID.md, .csv "
        "and .png: mean, standard deviation, paired difference to a baseline. Stopped, it goes "
        "on at the next call. --list shows the studies; ID may be all.",
        epilog="example: mmhash ablate A2 --seeds 5\n"
        "example: mmhash ablate grid --dataset coco2014 -S run.hardware=rtx5080_16gb\n"
        "example: mmhash ablate --list",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    ablate.add_argument("study", metavar="ID", nargs="?", type=_study, help="such as A2 or grid")
    ablate.add_argument("--list", action="store_true", help="show the studies and stop")
    ablate.add_argument("--seeds", type=positive, metavar="N", help="seeds 1 to N (default: 3)")
    ablate.add_argument("--dataset", metavar="NAME", help="the same as -S run.dataset=NAME")
    ablate.add_argument(
        "-S",
        dest="overrides",
        action="append",
        default=[],
        type=_override,
        metavar="KEY=VALUE",
        help="a parameter for every row; may be given several times",
    )
    for command in (predict, index, report, serve, export):
        command.add_parser(commands)
    return parser


def _study(text: str) -> str:
    from mmhash.ablations.catalogue import studies

    known = [*studies(""), "all"]
    if text not in known:
        raise argparse.ArgumentTypeError(f"{text!r}: choose one of {', '.join(known)}")
    return text


def _override(text: str) -> tuple[str, Any]:
    from mmhash.experiments.plan import parse_override

    try:
        return parse_override(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with 0, 1 or 2 (130 after Ctrl-C)."""
    keep_streams_open()
    parser = _parser()
    chosen = parser.parse_args(arguments)
    failed, resume_hint = False, ""
    if chosen.command == "ablate":
        if not chosen.list and chosen.study is None:
            parser.error("mmhash ablate needs an ID; mmhash ablate --list shows them")
        resume_hint = "the same command goes on with what is missing"
    elif chosen.command == "index":
        resume_hint = "nothing was changed"
    elif chosen.command == "export" and chosen.load and chosen.engine is None:
        parser.error("mmhash export --load needs --for pgvector or --for milvus")

    def run() -> None:
        nonlocal failed
        if chosen.command == "cost":
            from mmhash.cli.cost import show_costs

            show_costs()
        elif chosen.command == "ablate":
            from mmhash.cli.ablate import ablate, list_studies

            if chosen.list:
                list_studies()
            else:
                dataset = {} if chosen.dataset is None else {"run.dataset": chosen.dataset}
                ablate(chosen.study, chosen.seeds, {**dict(chosen.overrides), **dataset})
        elif chosen.command == "predict":
            failed = not predict.predict(chosen)
        elif chosen.command == "index":
            index.run_index(chosen)
        elif chosen.command == "report":
            report.report(chosen.out)
        elif chosen.command == "serve":
            serve.serve(chosen.run, chosen.port)
        elif chosen.command == "export":
            export.export(chosen.folder, chosen.engine, chosen.load)
        elif chosen.checkpoint is not None:
            from mmhash.cli.checkpoint import check_checkpoint

            failed = not check_checkpoint(chosen.checkpoint, chosen.revision)
        else:
            if chosen.revision is not None:
                raise InputError("--revision goes with --checkpoint")
            from mmhash.cli.doctor import examine

            failed = not examine(timing=not chosen.no_timing)

    code = exit_code(said_in_a_line()(run), resume_hint)
    sys.exit(code or int(failed))
