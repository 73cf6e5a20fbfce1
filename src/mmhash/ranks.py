"""Several processes for one stage, one a GPU: how they start, find each other and end together.

A process is called a rank. torchrun starts them and ends all when one fails; a stage that
``hardware.*.processes`` gives more than one starts itself again under it. Where the user has called
torchrun (several machines with one file system), the stage finds its number in the environment.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from mmhash.errors import InputError

T = TypeVar("T")

# The others may wait for as long as one rank works; torchrun sees to it that none waits for a
# rank that is gone.
PATIENCE = timedelta(days=30)
# What torchrun needs, and more, to end a rank whose peer is gone before it speaks up itself.
GRACE = 10.0


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is; by default the only one."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the rank that speaks, holds the lock and writes the results."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """Return this rank's part of ``items``, dealt one by one."""
        return list(items[self.rank :: self.world])

    def agree(self, value: Callable[[], Any]) -> Any:
        """Return what ``value`` (plain values that JSON can write) gives on the first rank."""
        if self.world == 1:
            return value()
        data = json.dumps(value()).encode() if self.first else b""
        length = torch.tensor([len(data)])
        self.send(length, 0)
        text = torch.zeros(int(length), dtype=torch.uint8)
        if self.first:
            text = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        self.send(text, 0)
        return json.loads(text.numpy().tobytes())

    def send(self, tensor: torch.Tensor, source: int) -> None:
        """Put the values that ``tensor`` has on rank ``source`` into it on every other one."""
        if self.world > 1:
            _talk(lambda: dist.broadcast(tensor, source))

    def wait(self) -> None:
        """Return once every rank has come here."""
        if self.world > 1:
            _talk(lambda: dist.all_reduce(torch.zeros(1)))

    def in_turn(self, work: Callable[[], T]) -> T:
        """Return ``work()``, which is over on the first rank before it begins on the others."""
        if not self.first:
            self.wait()
        done = work()
        if self.first:
            self.wait()
        return done


ALONE = Ranks()


def restarted(processes: int) -> bool:
    """Run this program again in ``processes`` processes; return whether that was needed.

    Not with one process, and not in one that torchrun has started. The cores are shared out to
    the processes unless ``OMP_NUM_THREADS`` is set. Where one fails the program ends here, with
    its exit code; :class:`InputError` says so where it was killed and could not.
    """
    if processes == 1 or _launched():
        return False
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
    )
    logging.disable()  # of a rank that fails it writes thirty lines, beside the rank's own one
    try:
        elastic_launch(config, sys.executable)(*sys.orig_argv[1:])
    except ChildFailedError as error:
        _end_as(list(error.failures.items()), processes)
    except SignalException as error:
        sys.exit(128 + error.sigval)
    finally:
        logging.disable(logging.NOTSET)
    return True


def _end_as(failures: list[tuple[int, Any]], processes: int) -> None:
    """End like the rank that failed first; torchrun has sent SIGTERM to those behind it.

    SIGKILL comes from elsewhere. Another signal may be what became of a rank whose peer had ended
    with an exit code and said why.
    """
    ends = [(rank, failure.exitcode) for rank, failure in failures]
    killed = [end for end in ends if end[1] == -signal.SIGKILL]
    said = [end for end in ends if end[1] > 0]
    crashed = [end for end in ends if end[1] != -signal.SIGTERM]
    rank, code = [*killed, *said, *crashed, *ends][0]
    if code > 0:
        sys.exit(code)
    _leave_the_bar()
    why = " (the system does so where memory runs out)" if killed else ""
    raise InputError(
        f"process {rank + 1} of {processes} was ended by {signal.Signals(-code).name}{why}; what "
        "is finished is kept, so run the stage again"
    )


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Meet the other ranks that torchrun has started; alone where it has not.

    On CUDA the rank's GPU becomes the current device, which ``device`` then means. Of an error or
    Ctrl-C that reaches several ranks, one speaks: the others end with the same exit code and
    without a word. Raises :class:`InputError` for more ranks than GPUs on a machine.
    """
    if not _launched():
        yield ALONE
        return
    rank, world, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    if rank:
        logging.getLogger("mmhash").setLevel(logging.WARNING)
    store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
    try:
        if device.type == "cuda":
            if local >= torch.cuda.device_count():
                raise InputError(
                    f"more processes than GPUs ({torch.cuda.device_count()}) on a machine; lower "
                    "the hardware profile's processes"
                )
            torch.cuda.set_device(local)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=store,
            rank=rank,
            world_size=world,
            timeout=PATIENCE,
        )
        yield Ranks(rank, world)
        dist.destroy_process_group()
    except (InputError, KeyboardInterrupt) as error:
        # Gloo's threads may still let go of a tensor, and would abort the end of Python (pytorch
        # issue 190489). Not after Ctrl-C, nor with NCCL: an exchange under way is waited for.
        if isinstance(error, InputError) and device.type == "cpu" and dist.is_initialized():
            dist.destroy_process_group()
        if store.add("mmhash/ended", 1) > 1:
            sys.exit(1 if isinstance(error, InputError) else 130)
        if rank:
            _leave_the_bar()
        raise


def _leave_the_bar() -> None:
    """Begin a line of its own: the progress bar of the first rank may stand without an end."""
    print(file=sys.stderr)


def _launched() -> bool:
    return {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"} <= os.environ.keys()


def _end_with(parent: int) -> None:
    """End this process soon after its torchrun: left behind it would go on and hold the lock."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _talk(exchange: Callable[[], Any]) -> None:
    """Exchange tensors with the other ranks; a lost connection is the fault of another rank."""
    try:
        exchange()
    except RuntimeError as error:
        time.sleep(GRACE)  # torchrun ends this rank here, where the other one has been on its own
        raise InputError(
            f"another process of this run has ended ({str(error).splitlines()[0]}); see what it "
            "said; what is finished is kept, so run the stage again"
        ) from None
