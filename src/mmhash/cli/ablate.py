"""``mmhash ablate``: run what a study needs as DVC experiments, then write its table."""

import csv
import logging
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from mmhash.ablations.catalogue import check, studies
from mmhash.ablations.study import Row, Study
from mmhash.errors import InputError
from mmhash.experiments.plan import (
    DATASET,
    Experiment,
    Namer,
    Values,
    apply,
    canonical,
    lookup,
    row_overrides,
)
from mmhash.experiments.records import Checkout, Record, Records
from mmhash.experiments.run import run_experiment
from mmhash.files import write_text
from mmhash.params import load_params

logger = logging.getLogger(__name__)

OUT = Path("reports/ablations")
LOGS = Path(".cache/ablate")
ALL = "all"


@dataclass(frozen=True)
class Job:
    """A study with the experiment of each row and seed (rows by name, seeds in order)."""

    study: Study
    experiments: dict[str, list[Experiment]]
    overrides: dict[str, dict[str, Any]]
    seeds: int


def list_studies() -> None:
    """Print every study: rows, distinct settings, seeds."""
    values = _values()
    known = studies(lookup(values, DATASET))
    width = max(len(name) for name in known) + 1
    print(f"{'id':<{width}}{'rows':>5}{'runs a seed':>13}{'seeds':>7}  what varies")
    for study in known.values():
        try:
            settings = {str(canonical(values, row_overrides(study, r, {}))) for r in study.rows}
        except InputError:
            continue  # not for this dataset
        numbers = f"{len(study.rows):>5}{len(settings):>13}{study.seeds:>7}"
        print(f"{study.id:<{width}}{numbers}  {study.title}")


def ablate(wanted: str, seeds: int | None, extra: Mapping[str, Any]) -> None:
    """Run study ``wanted`` (or all) with ``seeds`` (None: as it says) and write its report.

    ``extra`` overrides hold for every row. Raises :class:`InputError` for values out of range,
    before anything runs, and for an experiment that fails.
    """
    values = _values()
    dataset = lookup(apply(values, extra), DATASET)
    known = studies(dataset)
    jobs = list(_jobs(known, wanted, values, extra, seeds))
    checkout = Checkout(Path.cwd())
    changed = checkout.changed_files()
    if changed:
        logger.warning(
            "uncommitted changes (%s) go into the experiments: the commit does not describe them",
            ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else ""),
        )
    with _kill_is_an_interruption():
        found = _run(jobs, checkout)
        for job in jobs:
            runs = {
                name: [found[experiment.name] for experiment in experiments]
                for name, experiments in job.experiments.items()
            }
            _report(job, runs, checkout.head, bool(changed), apply(values, extra), extra)


def _values() -> Values:
    load_params()  # in one line what is wrong with it
    text = Path("params.yaml").read_text(encoding="utf-8")
    return YAML(typ="safe", pure=True).load(text)


def _jobs(
    known: Mapping[str, Study],
    wanted: str,
    values: Values,
    extra: Mapping[str, Any],
    seeds: int | None,
) -> Iterator[Job]:
    namer = Namer(known.values(), values, extra)
    dataset = lookup(apply(values, extra), DATASET)
    for study in known.values() if wanted == ALL else [known[wanted]]:
        count = seeds or study.seeds
        try:
            check(study, dataset)
            experiments = {
                row.name: [namer.experiment(study, row, seed) for seed in range(1, count + 1)]
                for row in study.rows
            }
        except InputError as error:
            if wanted != ALL:
                raise
            logger.warning("%s is left out: %s", study.id, error)
            continue
        overrides = {row.name: _shown(study, row, values, extra) for row in study.rows}
        yield Job(study, experiments, overrides, count)


def _shown(study: Study, row: Row, values: Values, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides of a row beside those that the table's header names."""
    user = canonical(values, extra)
    found = canonical(values, row_overrides(study, row, extra))
    return {key: value for key, value in found.items() if user.get(key, ...) != value}


def _run(jobs: Sequence[Job], checkout: Checkout) -> dict[str, Record]:
    """Return the run of every experiment by name, after running those that are missing."""
    distinct = {
        experiment.name: experiment
        for job in jobs
        for seed in range(job.seeds)
        for experiments in job.experiments.values()
        for experiment in [experiments[seed]]
    }
    records = Records(checkout)
    found: dict[str, Record] = {}
    missing = []
    for name, experiment in distinct.items():
        if (record := records.find(experiment)) is not None:
            found[name] = record
        else:
            missing.append(experiment)
    rows = sum(len(experiments) for job in jobs for experiments in job.experiments.values())
    logger.info(
        "%d rows and seeds are %d experiments: %d exist, %d to run",
        rows,
        len(distinct),
        len(found),
        len(missing),
    )
    if missing:
        logger.info("what they say goes to %s", LOGS)
    start = time.monotonic()
    for rank, experiment in enumerate(missing):
        left = (time.monotonic() - start) / rank * (len(missing) - rank) if rank else None
        eta = f", about {_duration(left)} left" if left is not None else ""
        logger.info("[%d/%d] %s%s", rank + 1, len(missing), experiment.name, eta)
        records.clear(experiment.name)
        run_experiment(experiment, checkout.root, LOGS / f"{experiment.name}.log")
        records.refresh()
        record = records.find(experiment)
        if record is None:
            raise InputError(
                f"experiment {experiment.name} ran with other code, data or parameters than this "
                "checkout has now; did files change meanwhile? Start again"
            )
        found[experiment.name] = record
    return found


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _last_table(file: Path, dataset: str, seeds: int) -> str:
    """Return what a table is of that is worth more than a new one; "" where there is none.

    One of more seeds, or of another data set; a table of search costs does not say.
    """
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            row = next(csv.DictReader(stream), {})
    except OSError:
        return ""
    data, count = row.get("dataset", ""), row.get("n", "")
    if not data or not count.isdecimal() or (data == dataset and int(count) <= seeds):
        return ""
    return f"the table of {data}, {count} seed{'s' if int(count) > 1 else ''},"


def _report(
    job: Job,
    runs: Mapping[str, Sequence[Record]],
    commit: str,
    changed: bool,
    values: Values,
    extra: Mapping[str, Any],
) -> None:
    """Write the study's Markdown, CSV and PNG, and print the Markdown."""
    # Reading results needs torch's and matplotlib's neighbours, which take seconds to import.
    from mmhash.comparison import report, search_cost, summary
    from mmhash.plots import comparison, figures, tables

    study = job.study
    origin = report.Origin(lookup(values, DATASET), job.seeds, commit, changed, extra)
    title, subject = f"{study.id}: {study.title}", f"{origin.dataset}, test, n = {job.seeds}"
    dpi, k = lookup(values, "plots.dpi"), lookup(values, "knn.k")
    drawn: dict[str, Any] = {}
    if study.kind == "cost":
        costs = search_cost.cost_table(runs, k)
        text, records = search_cost.cost_markdown(study, costs, origin, k), costs
        drawn[study.id] = lambda: comparison.cost_figure(costs, title, subject)
    else:
        settings = lookup(values, "evaluate")
        samples = settings["bootstrap_samples"]
        scores = summary.Scores(samples, settings["bootstrap_seed"])
        lines = summary.summarise(study, runs, job.overrides, scores)
        if study.kind == "folds":
            lines += summary.fold_lines(study, lines, runs, scores)
        text = report.comparison_markdown(study, lines, origin, samples)
        records = report.comparison_records(study, lines, origin)
        drawn[study.id] = lambda: comparison.comparison_figure(lines, title, subject)
        if study.picture == "across":
            drawn[f"{study.id}-across"] = lambda: comparison.across_figure(lines, title, subject)
        if study.picture == "codes":
            drawn[f"{study.id}-codes"] = lambda: comparison.code_figure(lines, title, subject)
        if study.picture == "h":
            soft = {
                name: tables.read_csv(records[0].files("train", "model")["h_histogram.csv"])
                for name, records in runs.items()
            }
            first = f"{origin.dataset}, seed 1"
            drawn[f"{study.id}-h"] = lambda: comparison.soft_code_panels(soft, title, first)
    for name, draw in drawn.items():
        with figures.style():
            figures.save_png(OUT / f"{name}.png", draw(), dpi)
    if last := _last_table(OUT / f"{study.id}.csv", origin.dataset, job.seeds):
        logger.warning(
            "%s held %s and now holds what has just run; git keeps what was committed",
            *(OUT / f"{study.id}.md", last),
        )
    columns = list(records[0])
    table = {column: [record[column] for record in records] for column in columns}
    tables.write_csv(OUT / f"{study.id}.csv", table)
    pictures = "".join(f"\n![{name}]({name}.png)\n" for name in drawn)
    write_text(OUT / f"{study.id}.md", text + pictures)
    print(text)
    logger.info("written: %s", OUT / f"{study.id}.md, .csv, .png")


@contextmanager
def _kill_is_an_interruption() -> Iterator[None]:
    """Let ``kill``, or a terminal that is closed, end the command as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM, signal.SIGHUP]
    before = {n: signal.getsignal(n) for n in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup stays in force
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
