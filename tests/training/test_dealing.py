"""Work without gradient that ranks share; steps are tested with whole processes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier

import pytest
import torch

from mmhash.ranks import ALONE, Ranks
from mmhash.training.dealing import told

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Thread(Ranks):
    """A rank that is a thread: what one sends lies on the ``board`` until all have it."""

    barrier: Barrier = field(default_factory=lambda: Barrier(1))
    board: dict[str, torch.Tensor] = field(default_factory=dict)

    def send(self, tensor: torch.Tensor, source: int) -> None:
        if self.rank == source:
            self.board["sent"] = tensor.clone()
        self.barrier.wait(timeout=30)
        tensor.copy_(self.board["sent"])
        self.barrier.wait(timeout=30)


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_every_rank_is_told_everything_and_computes_its_share(world, count):
    lengths = [3 + number for number in range(count)]
    done: list[tuple[int, int]] = []

    def work(rank: Ranks) -> list[torch.Tensor]:
        def compute(number: int) -> torch.Tensor:
            done.append((number, rank.rank))
            return torch.arange(lengths[number]) + 100.0 * number

        return told(rank, lengths, compute, CPU)

    barrier, board = Barrier(world), {}
    ranks = [Thread(rank, world, barrier, board) for rank in range(world)]
    with ThreadPoolExecutor(world) as pool:
        results = list(pool.map(work, ranks))
    expected = [torch.arange(length) + 100.0 * at for at, length in enumerate(lengths)]
    for result in results:
        assert len(result) == count
        assert all(torch.equal(*pair) for pair in zip(result, expected, strict=True))
    assert sorted(done) == [(number, number % world) for number in range(count)]


def test_alone_nothing_is_sent():
    (only,) = told(ALONE, [2], lambda _: torch.ones(2), CPU)
    assert only.tolist() == [1, 1]
