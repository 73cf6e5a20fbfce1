"""What a study is: rows of overrides of ``params.yaml``, and what is read from each.

A study is a table: every row is one setting, run with every seed as a DVC experiment; its figures
stand beside those of a baseline row. Only definitions stand here; :mod:`mmhash.experiments` runs
them and :mod:`mmhash.comparison` compares them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Overrides = Mapping[str, Any]

ALPHA = "loss.cosine_weight"


@dataclass(frozen=True)
class Row:
    """One setting. ``head`` is set where a row reads a head of its own instead of the study's.

    ``baseline`` names another row to compare with than the study's.
    """

    name: str
    overrides: Overrides = field(default_factory=dict)
    head: str | None = None
    baseline: str | None = None


@dataclass(frozen=True)
class Study:
    """A table of rows.

    ``heads`` are the columns of test mAP, with differences to ``baseline``; ``also`` names more
    figures of ``metrics/eval.json`` (``{head}`` is the row's head), shown without a difference.
    ``common`` overrides hold for every row. ``kind``: ``compare``; ``folds`` adds the mean over
    the folds and their ensemble; ``cost`` times the search instead of comparing mAP. ``picture``
    names the figure drawn besides the table's. ``expected`` is a second table (its header first).
    """

    id: str
    title: str
    baseline: str
    rows: tuple[Row, ...]
    heads: tuple[str, ...] = ("knn", "classifier")
    also: tuple[str, ...] = ()
    common: Overrides = field(default_factory=dict)
    seeds: int = 3
    notes: tuple[str, ...] = ()
    kind: Literal["compare", "folds", "cost"] = "compare"
    picture: Literal["codes", "h", "across"] | None = None
    expected: tuple[tuple[str, ...], ...] = ()


def rows_of(pattern: str, key: str, values: tuple[Any, ...], **common: Any) -> tuple[Row, ...]:
    """Return a row for each value of ``key``, named by ``pattern``."""
    return tuple(Row(pattern.format(value), {key: value, **common}) for value in values)
