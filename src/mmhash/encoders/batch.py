"""How many rows go through the towers in one forward pass.

Rows are independent of each other, so the number decides speed and memory and, beyond rounding,
nothing else.
"""

import logging
import math
from pathlib import Path
from typing import Literal

import torch

from mmhash.encoders.checkpoint import Towers
from mmhash.encoders.pixels import Pictures, PixelSettings, empty_pictures
from mmhash.errors import InputError
from mmhash.files import read_json, write_json

logger = logging.getLogger("mmhash")

# A CPU gains nothing from more rows, and the activations of the base architecture leave its caches.
# ``benchmarks/extract.py --batch`` measures it.
CPU_BATCH = 16
# A GPU is filled by far fewer: 256 pictures of 256 patches are products of 65,536 rows.
LARGEST = 256
# Of all memory, the towers included; the rest is for fragments and a desktop's other programs.
# Not of what happens to be free: the same card is to round in the same way every day.
SHARE = 0.6
PROBE = 8  # rows of the smaller of the two batches that are measured


class BatchSize:
    """Rows in one forward pass; halved, for the rest of the run, where they do not fit."""

    def __init__(self, rows: int) -> None:
        """Start at ``rows``."""
        self.rows = rows

    def halve(self) -> None:
        """Halve after an out-of-memory error; raises :class:`InputError` at one row."""
        if self.rows == 1:
            raise InputError(
                "out of device memory with a single row in the batch; free the device, lower "
                "datasets.<name>.encoder.max_num_patches, take a smaller checkpoint, or use "
                "run.hardware=cpu"
            )
        self.rows //= 2
        torch.cuda.empty_cache()
        logger.warning("out of device memory: extraction goes on with a batch of %d", self.rows)


def extraction_batch(
    wanted: int | Literal["auto"], towers: Towers, cache: Path | None = None
) -> int:
    """Return the rows of a batch: ``wanted``, or for ``auto`` as many as suit the towers' device.

    ``cache``, the folder of the resume state, keeps the choice: a run that goes on rounds as it
    began, and is not measured for again.
    """
    if isinstance(wanted, int):
        return wanted
    kept = None if cache is None else cache / "batch.json"
    if towers.device.type != "cuda":
        rows = CPU_BATCH
    elif kept is not None and kept.is_file():
        rows = int(read_json(kept))
    else:
        rows = fitting_batch(towers)
        if kept is not None:
            write_json(kept, rows)
    return rows


def fitting_batch(towers: Towers) -> int:
    """Return the largest power of two up to ``LARGEST`` that fits ``SHARE`` of the device's memory.

    Memory grows by the same amount with every row; two small batches tell how much that is. Where
    not even these fit, the smaller one is returned; the extraction halves what does not fit beside
    other programs.
    """
    try:
        _peak_bytes(towers, PROBE)  # the first pass also takes what the libraries work in
        small, large = (_peak_bytes(towers, rows) for rows in (PROBE, 2 * PROBE))
    except torch.OutOfMemoryError:
        return PROBE
    device = towers.device
    _, total = torch.cuda.mem_get_info(device)
    room = SHARE * total - torch.cuda.memory_allocated(device)
    rows = room * PROBE / max(large - small, 1)
    return 2 ** int(math.log2(min(max(rows, 1), LARGEST)))


def _peak_bytes(towers: Towers, rows: int) -> int:
    """Return the most device memory in use while ``rows`` pictures, then texts, are encoded."""
    torch.cuda.reset_peak_memory_stats(towers.device)
    towers.encode_images(blank_pictures(towers.pixels, rows))
    towers.encode_texts(["a"] * rows)
    return torch.cuda.max_memory_allocated(towers.device)


def blank_pictures(settings: PixelSettings, rows: int) -> Pictures:
    """Return ``rows`` black pictures, for measurements of time and memory.

    They fill the grid of a naflex tower but for a row: without any pad it would need no mask, and
    hardly a real batch is so.
    """
    side = math.isqrt(settings.max_num_patches or 1)
    shape = empty_pictures(settings).pixels.shape[1:]
    grids = torch.tensor([[max(side - 1, 1), side]]).repeat(rows, 1)
    return Pictures(torch.zeros((rows, *shape), dtype=torch.uint8), grids)
