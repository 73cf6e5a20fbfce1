"""mmhash: tag and retrieve image + caption pairs with short learned binary codes.

Read the modules in the order of the data: :mod:`mmhash.data` (raw → index), :mod:`mmhash.encoders`
(→ features), :mod:`mmhash.models`, :mod:`mmhash.losses`, :mod:`mmhash.training` (→ codes),
:mod:`mmhash.index` (→ neighbours), :mod:`mmhash.voting` (→ scores), :mod:`mmhash.metrics` and
:mod:`mmhash.plots`. A module imports only what stands before it.
"""

import os

# Idle OpenMP threads sleep instead of spinning: a spinning pool that shares its cores with anything
# else is many times slower on small matrices. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from mmhash.trained import TrainedRun


def load(run: "Path | str" = ".") -> "TrainedRun":
    """Open the finished run in the checkout ``run`` to tag new pictures with it.

    Raises :class:`mmhash.errors.InputError` where something that predictions need is not there.
    """
    from mmhash.trained import TrainedRun  # loads torch, which takes seconds

    return TrainedRun(run)
