from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmhash.encoders import batch
from mmhash.encoders.batch import extraction_batch, fitting_batch
from mmhash.encoders.checkpoint import Towers, load_checkpoint
from mmhash.encoders.pixels import Pictures, tower_inputs

GB, MB = 10**9, 10**6


class Card:
    """Counters of a GPU on which the towers weigh 1 GB and a row of a batch takes ``row`` bytes."""

    def __init__(self, total: int, row: int, others: int = 0) -> None:
        self.total, self.row, self.others = total, row, others
        self.weights, self.peak, self.batches = GB, 0, list[int]()

    def pass_through(self, rows: int) -> None:
        """Count one forward pass; a batch that does not fit is out of memory."""
        if self.weights + rows * self.row > self.total - self.others:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.batches.append(rows)
        self.peak = max(self.peak, self.weights + rows * self.row)

    def reset(self, device: torch.device) -> None:
        self.peak = self.weights


def put_in(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``torch.cuda`` read the counters of ``card``, and the towers move them."""
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", card.reset)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: card.peak)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: card.weights)
    free = card.total - card.others - card.weights
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, card.total))
    encode_images, encode_texts = Towers.encode_images, Towers.encode_texts

    def images(self: Towers, pictures: Pictures) -> torch.Tensor:
        card.pass_through(len(pictures.grids))
        return encode_images(self, pictures)

    def texts(self: Towers, captions: Sequence[str]) -> torch.Tensor:
        card.pass_through(len(captions) // 4)
        return encode_texts(self, captions)

    monkeypatch.setattr(Towers, "encode_images", images)
    monkeypatch.setattr(Towers, "encode_texts", texts)


@pytest.mark.parametrize(
    ("total", "row", "others", "rows"),
    [
        (16 * GB, 10 * MB, 0, 256),  # 860 would fit
        (16 * GB, 100 * MB, 0, 64),  # 86
        (5 * GB, 10 * MB, 0, 128),  # 200
        (5 * GB, 10 * MB, 3 * GB, 128),  # the same, whatever other programs take
        (12 * GB, 500 * MB, 0, 8),  # 12
        (3 * GB, 60 * MB, 0, 8),  # 13
    ],
)
def test_the_batch_is_the_power_of_two_that_fits_a_share_of_the_memory(
    towers: Towers,
    monkeypatch: pytest.MonkeyPatch,
    total: int,
    row: int,
    others: int,
    rows: int,
) -> None:
    card = Card(total, row, others)
    put_in(card, monkeypatch)
    assert fitting_batch(towers) == rows
    assert card.weights + rows * row <= batch.SHARE * total
    assert max(card.batches) == 16  # the measurement itself stays small


def test_where_the_probe_does_not_fit_the_extraction_finds_the_batch_by_halving(
    towers: Towers, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in(Card(total=2 * GB, row=200 * MB), monkeypatch)
    assert fitting_batch(towers) == 8


@pytest.mark.parametrize("patches", [1, 4, 16, 20])
def test_the_pictures_that_are_measured_need_a_mask_as_real_ones_do(
    naflex_folder: Path, patches: int
) -> None:
    """A naflex tower drops it, and takes another kernel, where no picture of a batch has pads."""
    settings = load_checkpoint(str(naflex_folder), None, torch.device("cpu"), patches).pixels
    mask = tower_inputs(batch.blank_pictures(settings, 3), settings)["pixel_attention_mask"]
    assert mask.any(dim=1).all()
    assert not mask.all() or patches == 1


def test_a_number_is_taken_as_it_stands_and_a_cpu_has_one_of_its_own(
    fixed_towers: Towers,
) -> None:
    assert extraction_batch(48, fixed_towers) == 48
    assert extraction_batch("auto", fixed_towers) == batch.CPU_BATCH


def test_a_run_that_goes_on_keeps_the_batch_it_began_with(
    fixed_towers: Towers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([64, 32])  # another program came to the GPU meanwhile
    monkeypatch.setattr(batch, "fitting_batch", lambda towers: next(found))
    cuda = replace(fixed_towers, device=torch.device("cuda"))
    assert [extraction_batch("auto", cuda, tmp_path) for _ in range(2)] == [64, 64]
    assert extraction_batch("auto", cuda, tmp_path / "of another result") == 32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_batch_found_on_cuda_stays_within_its_share(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = load_checkpoint(str(folder), None, torch.device("cuda"))
    before = torch.cuda.memory_allocated()
    total = before + 100 * MB
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (total, total))
    rows = fitting_batch(cuda)
    assert 1 <= rows <= batch.LARGEST
    assert batch._peak_bytes(cuda, rows) <= batch.SHARE * total + MB
