"""What ``evaluate`` measured of a run: the accuracy and the thresholds that predictions state.

They hold for the settings that ``evaluate`` ran with. Predictions follow ``params.yaml`` as it is
now, and whoever changes ``knn.k`` there has votes that nobody measured; ``dvc.lock`` tells.
"""

import re
from numbers import Real
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mmhash.errors import InputError
from mmhash.files import read_json
from mmhash.heads import HEADS
from mmhash.params import Knn

FIGURES = ("mAP", "mAP_low", "mAP_high")
VOTES = ("k", "distance", "voting", "tau", "threshold", "rerank", "ties")  # of the block knn


def accuracy(root: Path, head: str, image_only: bool) -> dict[str, float] | None:
    """Return mAP, mAP_low and mAP_high on test of predictions by ``head``, from metrics/eval.json.

    ``image_only``: of those without a caption. None where they were not measured; InputError where
    the file is damaged.
    """
    path = root / "metrics" / "eval.json"
    if not path.is_file():
        return None
    try:
        figures = read_json(path).get("test", {})
        found = (figures.get("image_only", {}) if image_only else figures).get(head)
        return None if found is None else {name: float(found[name]) for name in FIGURES}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(f"{path}: lacks {head}'s mAP of test; run dvc repro evaluate") from None


def read_thresholds(root: Path) -> dict[str, Any]:
    """Read predictions/thresholds.json; InputError where it is damaged or holds no thresholds."""
    path = root / "predictions" / "thresholds.json"
    cuts = read_json(path)
    if not _are_cuts(cuts) or not _are_cuts(cuts.get("image_only", cuts)):
        raise InputError(f"{path}: holds no thresholds of the votes; run dvc repro evaluate")
    return dict(cuts)


def _are_cuts(cuts: Any) -> bool:
    """Whether ``cuts`` holds thresholds for the votes, and whole ones for each head it names."""
    if not isinstance(cuts, dict) or "knn" not in cuts:
        return False
    of_heads = [cuts[head] for head in HEADS if head in cuts]
    return all(
        isinstance(one, dict)
        and isinstance(one.get("global"), Real)
        and isinstance(one.get("per_class"), list)
        and len(one["per_class"]) > 0
        and all(isinstance(cut, Real) for cut in one["per_class"])
        for one in of_heads
    ) and ("hybrid" not in cuts or isinstance(cuts["hybrid"].get("knn_weight"), Real))


def evaluated_votes(root: Path) -> dict[str, Any]:
    """Return the settings of :data:`VOTES` that ``evaluate`` last ran with, {} if unknown.

    DVC writes them to ``dvc.lock`` after a stage.
    """
    try:
        text = (root / "dvc.lock").read_text(encoding="utf-8")
        stage = re.search(r"^  evaluate:\n(?: {4}.*\n?)+", text, re.MULTILINE)  # a tenth of it
        if stage is None:
            return {}
        knn = YAML(typ="safe").load(stage[0])["evaluate"]["params"]["params.yaml"]["knn"]
        return {name: knn[name] for name in VOTES if name in knn}
    except (OSError, ValueError, YAMLError, KeyError, TypeError):
        return {}


def moved_since(root: Path, knn: Knn) -> str:
    """Return in words how ``knn`` differs from what ``evaluate`` ran with; "" where it does not."""
    then = evaluated_votes(root)
    changed = {name: value for name, value in then.items() if value != getattr(knn, name)}
    return ", ".join(
        f"knn.{name} is {getattr(knn, name)} and was {value} when evaluate ran"
        for name, value in changed.items()
    )
