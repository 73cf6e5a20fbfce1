"""The cross-modal methods by name: settings as they are published, models, seeded weights."""

from collections.abc import Callable
from typing import Any

import torch

from mmhash.models.agch import Agch, agch_settings
from mmhash.models.cross_modal import CrossModalConfig, CrossModalHasher
from mmhash.models.shallow import ShallowHasher
from mmhash.models.ucmfh import Ucmfh, ucmfh_settings
from mmhash.seeding import stream_seed

HASHERS: dict[str, Callable[[CrossModalConfig], CrossModalHasher]] = {
    "agch": Agch,
    "ucmfh": Ucmfh,
    "shallow": ShallowHasher,
}


def method_settings(name: str, block: dict[str, Any], dataset: str) -> dict[str, Any]:
    """Return the block of method ``name`` with the published values where it is empty."""
    if name == "agch":
        return agch_settings(block, dataset)
    if name == "ucmfh":
        return ucmfh_settings(block, dataset)
    return block


def build_hasher(config: CrossModalConfig, seed: int) -> CrossModalHasher:
    """Build a hasher with weights drawn from the stream ("init") of ``seed``.

    The global random state is left as it was and plays no part.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stream_seed(seed, "init"))
        return HASHERS[config.name](config)
