"""Experiments side by side: the DVC experiments of the repository, the tables of the ablations."""

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmhash.comparison.summary import METRICS, figure
from mmhash.errors import InputError
from mmhash.experiments.plan import Values, override_argument
from mmhash.experiments.records import Checkout, Record, Records
from mmhash.heads import HEADS
from mmhash.metrics.tasks import CROSSING
from mmhash.page.source import Run, Section, rounded

# Title of a column and the key of metrics/eval.json in it.
COLUMNS = {
    **{f"mAP, {title}": f"test.{head}.mAP" for head, title in HEADS.items()},
    "mAP@50": "retrieval.test.mAP@50",
    **{f"mAP@50, {task.replace('_', ' ')}": f"across.test.{task}.mAP@50" for task in CROSSING},
    "unique codes": "codes.unique_share",
}
UNCOMPARED = ("hardware.", "run.hardware", "tracking.", "plots.")  # cannot change a result
NUMBERS = ("n", "mean", "std", "difference", "low", "high")


def experiments(run: Run, values: Values) -> Section:
    """Return the DVC experiments with the parameters that differ from ``values`` and figures.

    ``values`` are those of this checkout's ``params.yaml``; the first row is the run itself. Keys
    that only one side knows (other versions of the schema) are left out, as are columns that no
    experiment has.
    """
    rows = [_row("this run", "", run.dataset, {}, run.figures)]
    rows[0]["this"] = True
    unread = 0
    absent = "This repository has no DVC experiment to compare with."
    try:
        records = Records(Checkout(run.root)).all()
    except InputError as error:  # no repository, for instance
        records, absent = [], f"DVC experiments cannot be read: {error}."
    for record in records:
        try:
            rows.append(_experiment(record, values))
        except InputError:
            unread += 1  # an experiment that failed before it was evaluated
    columns = [
        title
        for place, title in enumerate(COLUMNS)
        if any(row["figures"][place] is not None for row in rows)
    ]
    kept = [list(COLUMNS).index(title) for title in columns]
    for row in rows:
        row["figures"] = [row["figures"][place] for place in kept]
    found: Section = {"columns": columns, "rows": rows, "unread": unread}
    if len(rows) == 1:
        found["absent"] = absent
        found["mend"] = "mmhash ablate A1 runs some; dvc exp run -S hash.bits=32 runs one."
    return found


def ablations(folder: Path) -> Section:
    """Return the studies of ``reports/ablations``: id, title, where from, and the rows.

    A study of mAP has the rows of its CSV file as [row, head, metric, n, mean, std, difference,
    low, high, overrides]; one of search cost ``columns`` and ``cells`` as they are.
    """
    studies = []
    for path in sorted(folder.glob("*.csv")):
        lines = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        page = path.with_suffix(".md")
        text = page.read_text(encoding="utf-8") if page.is_file() else ""
        title = re.match(r"# [^:\n]+: ([^\n]+)", text)
        study: Section = {"id": path.stem, "title": title[1] if title else path.stem}
        origin = re.search(r"^Dataset: [^\n]+", text, re.MULTILINE)
        study["origin"] = origin[0] if origin else ""
        if lines and {"row", "metric", *NUMBERS} <= lines[0].keys():
            study["baseline"] = next((x["baseline"] for x in lines if x["baseline"]), "")
            study["rows"] = [
                [
                    *(line["row"], HEADS.get(line["head"], line["head"]), line["metric"]),
                    *(_number(line[name]) for name in NUMBERS),
                    line["overrides"],
                ]
                for line in lines
            ]
        elif lines:
            study["columns"] = list(lines[0])
            study["cells"] = [
                [value if _number(value) is None else _number(value) for value in line.values()]
                for line in lines
            ]
        studies.append(study)
    if not studies:
        return {
            "absent": f"{folder}: no ablation has been run.",
            "mend": "mmhash ablate A1 runs the first; mmhash ablate --list shows all.",
        }
    return {"studies": studies}


def changed(values: Any, others: Any, prefix: str = "") -> dict[str, Any]:
    """Return what ``others`` has under the keys of ``values``, by dotted key, where it differs.

    >>> changed({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3, "d": 4}})
    {'a.c': 3}
    """
    if isinstance(values, Mapping) and isinstance(others, Mapping):
        found: dict[str, Any] = {}
        for key in values:
            if key in others:
                found |= changed(values[key], others[key], f"{prefix}{key}.")
        return found
    return {} if values == others else {prefix.removesuffix("."): others}


def _experiment(record: Record, values: Values) -> Section:
    params = record.params()
    dataset = params["run"]["dataset"]
    # Of a dataset's block the encoder counts, if it is the dataset that was used.
    encoder = f"datasets.{dataset}.encoder."
    differs = {
        key: value
        for key, value in changed(values, params).items()
        if not key.startswith(UNCOMPARED)
        and (key.startswith(encoder) or not key.startswith("datasets."))
    }
    metrics = record.metrics(METRICS)
    return _row(record.name, record.baseline[:10], dataset, differs, metrics)


def _row(name: str, commit: str, dataset: str, differs: Mapping[str, Any], metrics: Any) -> Section:
    return {
        "name": name,
        "commit": commit,
        "dataset": dataset,
        "params": [override_argument(key, value) for key, value in differs.items()],
        "figures": rounded([figure(metrics, key) for key in COLUMNS.values()], 4),
    }


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
