"""Training of the methods without steps: fit once, write what a training leaves."""

from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from mmhash.models.cross_modal import CrossModalConfig
from mmhash.models.shallow import fit_shallow
from mmhash.models.weights import save_tensors
from mmhash.training.checkpoint import write_untrained
from mmhash.training.settings import TrainingData


def fit_closed_form(
    data: TrainingData, model: CrossModalConfig, seed: int, out: Path
) -> dict[str, Any]:
    """Fit a shallow method to the training rows with their first captions; write it to ``out``.

    Nothing is chosen, so val is not looked at. Returns what goes to ``metrics/train.json``. Raises
    :class:`mmhash.errors.InputError` for data that the method cannot fit.
    """
    data.check(model)
    features, rows = data.features, data.train_rows
    with threadpool_limits(1):  # sums then do not depend on the number of cores
        hasher = fit_shallow(model, *features.first_pairs(rows), features.labels[rows], seed)
    save_tensors(out / "best.safetensors", hasher.state_dict(), {"hash_scale": "1.0"})
    write_untrained(out, model, data.categories)
    return {
        "train_rows": len(rows),
        "parameters": sum(tensor.numel() for tensor in hasher.state_dict().values()),
        "notes": [f"shallow.method is {model.settings['method']}: fitted at once, no epochs"],
    }
