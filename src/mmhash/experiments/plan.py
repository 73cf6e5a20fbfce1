"""From rows of overrides to distinct experiments with readable names."""

import copy
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mmhash.ablations.study import ALPHA, Overrides, Row, Study
from mmhash.errors import InputError
from mmhash.files import digest
from mmhash.params import parse_params

Values = dict[str, Any]
SEED, DATASET = "train.seed", "run.dataset"


@dataclass(frozen=True)
class Experiment:
    """One run: its name, the overrides that DVC gets, and all parameters after them."""

    name: str
    overrides: dict[str, Any]
    values: Values


def parse_override(text: str) -> tuple[str, Any]:
    """Return key and value of ``key=value``, the value as YAML; ValueError for other text."""
    key, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)+", key):
        raise ValueError(f"{text!r} is not of the form block.key=value")
    try:
        return key, YAML(typ="safe", pure=True).load(value)
    except YAMLError:
        raise ValueError(f"{text!r}: the value is not valid YAML") from None


def override_argument(key: str, value: Any) -> str:
    """Return what ``dvc exp run -S`` takes for a value: JSON, but plain words unquoted."""
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}"


def lookup(values: Mapping[str, Any], key: str) -> Any:
    """Return the value under a dotted key; raises :class:`InputError` where there is none."""
    found: Any = values
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            raise InputError(f"unknown key {key}; params.yaml has no such entry")
        found = found[part]
    return found


def apply(values: Values, overrides: Overrides) -> Values:
    """Return a copy of ``values`` with ``overrides``; an unknown key is an :class:`InputError`."""
    changed = copy.deepcopy(values)
    for key, value in overrides.items():
        lookup(changed, key)
        *blocks, last = key.split(".")
        inner = changed
        for block in blocks:
            inner = inner[block]
        inner[last] = value
    return changed


def canonical(values: Values, overrides: Overrides) -> dict[str, Any]:
    """Return the overrides that can change a result, sorted by key.

    Left out: what equals ``values`` already, and the weight of the alignment term where it has no
    gradient (frozen towers and no projection, or a model without the term).
    """
    changed = apply(values, overrides)
    kept = {k: v for k, v in sorted(overrides.items()) if lookup(values, k) != v}
    name = changed["model"]["name"]
    frozen = changed["encoder"]["unfreeze"] == "none" and not changed["align"]["projection"]
    if frozen or name in ("mlp", "zeroshot"):
        kept.pop(ALPHA, None)
    return kept


def row_overrides(study: Study, row: Row, extra: Overrides) -> dict[str, Any]:
    """Return all overrides of a row; ``extra`` come from the user and precede the study's own.

    Raises :class:`InputError` where ``extra`` sets what the rows vary.
    """
    varied = {key for other in study.rows for key in other.overrides}
    for key in extra:
        if key in varied:
            raise InputError(f"{study.id} varies {key}: leave it out of -S")
    return {**study.common, **extra, **row.overrides}


def slug(text: str) -> str:
    """Return ``text`` as part of an experiment's name: letters, digits, dots, hyphens and _."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")


class Namer:
    """Names of settings: one name a distinct setting, whichever study asks for it.

    A setting is named after the first study and row that define it (``base`` without overrides),
    so that it is the same experiment in every table. Settings under a user's overrides carry a
    the dataset's name and a few digits of the digest of the others.
    """

    def __init__(self, studies: Iterable[Study], values: Values, extra: Overrides) -> None:
        if SEED in extra:
            raise InputError(f"{SEED} is set for each run: choose how many seeds with --seeds")
        self.values, self.extra = values, extra
        user = canonical(values, extra)
        others = {key: value for key, value in user.items() if key != DATASET}
        self._suffix = f"-{slug(str(user[DATASET]))}" if DATASET in user else ""
        self._suffix += f"-x{digest(others)[:6]}" if others else ""
        self._names = {self._key(user): "base"}
        for study in studies:
            for row in study.rows:
                try:
                    key = self._key(canonical(values, row_overrides(study, row, extra)))
                except InputError:
                    continue  # does not fit these overrides or this dataset: cannot be run either
                # heads of one run are read from one experiment: its name leaves the head out
                name = row.name.split(",")[0] if row.head else row.name
                self._names.setdefault(key, f"{study.id}-{slug(name)}")

    @staticmethod
    def _key(overrides: Overrides) -> str:
        return json.dumps(overrides, sort_keys=True)

    def experiment(self, study: Study, row: Row, seed: int) -> Experiment:
        """Return the experiment of a row; raises :class:`InputError` for values out of range."""
        overrides = canonical(self.values, row_overrides(study, row, self.extra))
        name = f"{self._names[self._key(overrides)]}{self._suffix}-s{seed}"
        overrides = {**overrides, SEED: seed}
        values = apply(self.values, overrides)
        parse_params(values, f"{study.id}, row {row.name!r}")
        return Experiment(name, overrides, values)
