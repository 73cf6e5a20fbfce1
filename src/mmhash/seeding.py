"""Seeded random streams: one stream a purpose, so that adding a draw in one place moves no other.

A stream is named by the experiment's seed and the words of its purpose, for instance
``torch_stream(seed, "caption", epoch)``. The name is hashed with SHA-256, so streams of different
names are independent and a stream can be opened again at any epoch without replaying the earlier
ones; that is what makes a resumed run equal an undisturbed one.
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def stream_seed(seed: int, *purpose: str | int) -> int:
    """Return the 63-bit seed of the stream that ``purpose`` names under ``seed``."""
    name = "\x1f".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") >> 1


def numpy_stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return a NumPy generator (PCG64) for the stream that ``purpose`` names."""
    return np.random.Generator(np.random.PCG64(stream_seed(seed, *purpose)))


def torch_stream(
    seed: int, *purpose: str | int, device: "torch.device | str" = "cpu"
) -> "torch.Generator":
    """Return a PyTorch generator on ``device`` for the stream that ``purpose`` names."""
    import torch  # drawing the sample needs no torch, which takes seconds to import

    return torch.Generator(device=device).manual_seed(stream_seed(seed, *purpose))
