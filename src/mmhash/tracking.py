"""Training curves in DVCLive, and under the same names in TensorBoard and Weights & Biases.

The latter two packages are optional and imported only when asked for. What they write goes below
``.cache/tracking`` of the main checkout, never into DVC's outs, and cannot change a result.

A training shows its rows from the first epoch on whenever it starts: resumed after a kill, or over
again with a smaller batch. Its event files and its offline W&B folder replace those of the earlier
attempt of the same name, so that no curve has an epoch twice. With W&B online, where logged rows
cannot be taken back, each attempt is a run of its own in the group of that name.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmhash.errors import InputError
from mmhash.files import dvc_root

Log = Callable[[Mapping[str, float]], None]


def require_packages(tracking: Mapping[str, bool]) -> None:
    """Raise :class:`InputError` naming the pip command for a package that is on but not there."""
    missing = [name for name, enabled in tracking.items() if enabled and find_spec(name) is None]
    if missing:
        off = " and ".join(f"tracking.{name}=false" for name in missing)
        raise InputError(
            f"tracking.{missing[0]} is true, but {' and '.join(missing)} is not installed; "
            f"pip install -c constraints.txt {' '.join(missing)}, or set {off}"
        )


@contextmanager
def dvclive_log(folder: str) -> Iterator[Log]:
    """Yield a function that adds the history row of a finished epoch to DVCLive's ``folder``.

    The row of epoch 0 clears it: the training also starts over after memory ran out. A folder
    without a row holds an empty summary.
    """
    from dvclive import Live  # loads pandas

    # Without these settings DVCLive rewrites dvc.yaml and saves experiments by itself.
    with Live(folder, dvcyaml=None, report=None, save_dvc_exp=False) as live:
        live.make_summary()

        def log(row: Mapping[str, float]) -> None:
            if row["epoch"] == 0:
                shutil.rmtree(folder, ignore_errors=True)
            live.step = int(row["epoch"])
            for name, value in _metrics(row).items():
                live.log_metric(name, value)
            live.make_summary()

        yield log


@contextmanager
def trackers(tracking: Mapping[str, bool], name: str, config: Mapping[str, Any]) -> Iterator[Log]:
    """Yield a function that takes the history row of each finished epoch, in order.

    ``tracking`` is that block of ``params.yaml``: package → on or off. ``name`` is the name of the
    run and of its folder, ``config`` what W&B shows as its parameters. Nothing is opened before the
    row of epoch 0, and everything closed when the block is left, Ctrl-C included.

    Raises :class:`InputError` for a package that is not installed, and where W&B cannot start a
    run (online without a login, for instance).
    """
    require_packages(tracking)
    folder = re.sub(r"[^\w.-]+", "-", name)
    starts = [_STARTS[package] for package, enabled in tracking.items() if enabled]
    logs: list[Log] = []
    with ExitStack() as opened:

        def log(row: Mapping[str, float]) -> None:
            if row["epoch"] == 0:
                opened.close()
                logs[:] = [opened.enter_context(start(folder, config)) for start in starts]
            for one in logs:
                one(row)

        yield log


def _metrics(row: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != "epoch"}


def _folder(package: str, name: str) -> Path:
    return dvc_root() / ".cache" / "tracking" / package / name


@contextmanager
def _tensorboard(name: str, _: Mapping[str, Any]) -> Iterator[Log]:
    from torch.utils.tensorboard import SummaryWriter  # seconds to import

    folder = _folder("tensorboard", name)
    shutil.rmtree(folder, ignore_errors=True)
    # A TensorBoard that is open forgets the rows it has read when it sees the purge.
    with SummaryWriter(str(folder), purge_step=0) as writer:

        def log(row: Mapping[str, float]) -> None:
            for metric, value in _metrics(row).items():
                writer.add_scalar(metric, value, int(row["epoch"]))
            writer.flush()

        yield log


@contextmanager
def _wandb(name: str, config: Mapping[str, Any]) -> Iterator[Log]:
    # Read when wandb is imported: reports of its own crashes, unless the user asks for them.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    folder = _folder("wandb", name)
    users = wandb.setup().settings
    mode: Any = users.mode if "mode" in users.model_fields_set else "offline"
    if mode in ("offline", "dryrun"):  # two names of the same
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    quiet = wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True)
    try:
        run = wandb.init(
            project=users.project or "mmhash",
            name=name,
            group=name,
            dir=folder,
            config=dict(config),
            mode=mode,
            settings=quiet,
        )
    except wandb.Error as error:
        raise InputError(
            f"tracking.wandb: {error}; set WANDB_MODE=offline, or tracking.wandb=false"
        ) from None
    try:
        yield lambda row: run.log(_metrics(row), step=int(row["epoch"]))
    except BaseException:
        run.finish(exit_code=1)
        raise
    run.finish()


_STARTS: dict[str, Callable[[str, Mapping[str, Any]], AbstractContextManager[Log]]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}
