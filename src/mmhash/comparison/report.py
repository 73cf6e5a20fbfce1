"""A study as Markdown and CSV."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmhash.ablations.study import Study
from mmhash.comparison.summary import Cell, Line
from mmhash.experiments.plan import override_argument
from mmhash.heads import HEADS

DATASETS = {
    "sample": "sample (synthetic, drawn by this repository; its figures say nothing about COCO)",
    "coco2014": "MS-COCO 2014",
    "features": "features (brought by the user)",
    "wiki": "Wiki",
    "mirflickr25k": "MIRFlickr-25K",
    "nuswide": "NUS-WIDE (10 labels)",
}
Records = list[dict[str, Any]]  # rows of a CSV file


@dataclass(frozen=True)
class Origin:
    """Where the figures come from: said above every table."""

    dataset: str
    seeds: int
    commit: str
    changed: bool
    extra: Mapping[str, Any]

    def line(self) -> str:
        """Return it as one line."""
        seeds = "seed 1" if self.seeds == 1 else f"seeds 1 to {self.seeds}"
        parts = [
            f"Dataset: {DATASETS.get(self.dataset, self.dataset)}",
            f"{seeds} (n = {self.seeds})",
            f"commit {self.commit[:12]}{' with uncommitted changes' if self.changed else ''}",
        ]
        if self.extra:
            settings = " ".join(override_argument(k, v) for k, v in self.extra.items())
            parts.append(f"for every row: `{settings}`")
        return "; ".join(parts) + "."


def mean_and_std(values: Sequence[float], digits: int = 4) -> str:
    """Return "mean ± standard deviation"; the latter needs two values."""
    if not values:
        return "–"
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, the others are aligned to the right."""
    ruler = ["---", *("---:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ruler, *rows)) + "\n"


def column_name(head: str) -> str:
    """Return the title of a column of mAP; the empty head is the row's own."""
    return f"mAP, {HEADS.get(head, head)}" if head else "mAP"


def comparison_markdown(study: Study, lines: Sequence[Line], origin: Origin, samples: int) -> str:
    """Return the page of a study."""
    baselines = dict.fromkeys(line.baseline for line in lines)
    against = f"“{study.baseline}”" if len(baselines) == 1 else "its baseline"
    header = ["row"]
    for column in lines[0].cells:
        header += [column_name(column), "difference [95 %]"]
    header += [*lines[0].also, "n", "overrides", "experiments"]
    rows = []
    for line in lines:
        cells = [line.name]
        for cell in line.cells.values():
            cells += _pair(cell)
        cells += [mean_and_std(line.also.get(key, ())) for key in lines[0].also]
        cells += [str(_count(line)), _settings(line.overrides), _experiments(line.experiments)]
        rows.append(cells)
    text = [
        f"# {study.id}: {study.title}\n",
        origin.line() + "\n",
        markdown_table(header, rows),
        "Test split; mAP is the macro mean over classes. Mean ± standard deviation over the n "
        f"runs. Difference: to {against}, paired over the test images within a seed, averaged over "
        f"the seeds; 95 % interval of {samples} resamples of the images, the same for every row. "
        "The interval does not contain the scatter over seeds.\n",
        *(f"{note}\n" for note in (*_shared(study, lines), *_missing(lines), *study.notes)),
    ]
    if study.expected:
        text.append(markdown_table(study.expected[0], study.expected[1:]))
    return "\n".join(text)


def comparison_records(study: Study, lines: Sequence[Line], origin: Origin) -> Records:
    """Return the same as rows of a CSV file, one a row, head and figure."""
    found: Records = []
    for line in lines:
        about = {
            "study": study.id,
            "dataset": origin.dataset,
            "commit": origin.commit,
            "uncommitted_changes": int(origin.changed),
            "row": line.name,
            "overrides": _settings(line.overrides, mark=""),
            "experiments": " ".join(line.experiments),
        }
        entries: list[tuple[str, str, Cell]] = [
            (head, "mAP", cell) for head, cell in line.cells.items() if cell is not None
        ]
        entries += [("", key, Cell(values)) for key, values in line.also.items() if values]
        for head, metric, cell in entries:
            difference, low, high = cell.difference or (None, None, None)
            std = float(np.std(cell.values, ddof=1)) if len(cell.values) > 1 else None
            found.append(
                {
                    **about,
                    "head": head,
                    "metric": metric,
                    "n": len(cell.values),
                    "mean": float(np.mean(cell.values)),
                    "std": std,
                    "baseline": line.baseline if cell.difference else "",
                    "difference": difference,
                    "low": low,
                    "high": high,
                }
            )
    return found


def _pair(cell: Cell | None) -> list[str]:
    if cell is None:
        return ["–", "–"]
    if cell.difference is None:
        return [mean_and_std(cell.values), ""]
    mean, low, high = cell.difference
    return [mean_and_std(cell.values), f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"]


def _count(line: Line) -> int:
    return max((len(cell.values) for cell in line.cells.values() if cell), default=0)


def _settings(overrides: Mapping[str, Any], mark: str = "`") -> str:
    text = " ".join(override_argument(key, value) for key, value in overrides.items())
    return f"{mark}{text}{mark}" if text else "none" if mark else ""


def _experiments(names: Sequence[str]) -> str:
    """Shorten ``A-s1, A-s2, A-s3`` to ``A-s1 … s3``."""
    stems = {name.rpartition("-s")[0] for name in names}
    if len(names) > 1 and len(stems) == 1:
        return f"{names[0]} … s{names[-1].rpartition('-s')[2]}"
    return ", ".join(names) if len(names) < 4 else f"{names[0]} … {names[-1]}"


def _shared(study: Study, lines: Sequence[Line]) -> list[str]:
    """Say which rows are one experiment."""
    rows = {row.name for row in study.rows}
    groups: dict[tuple[str, ...], list[str]] = {}
    for line in lines:
        if line.name in rows:
            groups.setdefault(line.experiments, []).append(line.name)
    return [
        f"One experiment, read as several rows: {'; '.join(names)}."
        for names in groups.values()
        if len(names) > 1
    ]


def _missing(lines: Sequence[Line]) -> list[str]:
    names = [line.name for line in lines if any(cell is None for cell in line.cells.values())]
    return [f"–: no such head in the run ({'; '.join(names)})."] if names else []
