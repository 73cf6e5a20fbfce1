"""The headline: every head on val and test, retrieval, health of the codes, the data."""

from typing import Any

from mmhash.files import read_json, read_table
from mmhash.heads import HEADS
from mmhash.metrics.tasks import CROSSING, TASKS
from mmhash.page.source import SPLIT, Run, Section, rounded
from mmhash.plots import tables

SPLITS = ("test", "val")
DIGITS = 6


def overview(run: Run) -> Section:
    """Return the figures of ``metrics/eval.json`` with what they were measured on."""
    figures = run.figures
    heads = [
        {"split": split, "head": HEADS[head], "figures": rounded(figures[split][head], DIGITS)}
        for split in SPLITS
        for head in HEADS
        if head in figures.get(split, {})
    ]
    retrieval = figures.get("retrieval", {})
    return {
        "heads": heads,
        "retrieval": rounded({s: retrieval[s] for s in SPLITS if s in retrieval}, DIGITS),
        "index_recall": retrieval.get("index_recall"),
        "codes": rounded(figures.get("codes", {}), DIGITS),
        "data": figures.get("data", {}),
        "samples": run.params.evaluate.bootstrap_samples,
        "thresholds": run.params.evaluate.thresholds,
    }


def across(run: Run) -> Section:
    """Return retrieval from one modality to the other: figures, curves and a few queries."""
    figures = run.figures.get("across", {})
    if not figures.get(SPLIT):
        return {
            "absent": "Not measured: this method has one code for image and caption together.",
            "mend": "mmhash measures it for the cross-modal methods (model.name=agch, ucmfh or "
            "shallow), and for others with evaluate.across=always.",
        }
    rows = [
        {"split": split, "task": TASKS[task].title, "figures": rounded(found, DIGITS)}
        for split in SPLITS
        for task, found in figures.get(split, {}).items()
        if task in TASKS
    ]
    folder = run.root / "predictions" / SPLIT
    curves = read_table(folder / "across_by_distance.parquet").to_pydict()
    found = read_table(folder / "across_sheet.parquet").to_pylist()
    sheets: dict[str, list[dict[str, Any]]] = {TASKS[task].title: [] for task in CROSSING}
    for row in found:
        queries = sheets[TASKS[row["task"]].title]
        if not queries or queries[-1]["id"] != row["query_id"]:
            queries.append({"id": row["query_id"], "items": []})
        queries[-1]["items"].append(
            [row["item_id"], rounded(row["distance"], 4), bool(row["shared"])]
        )
    return {
        "rows": rows,
        "curve": rounded(tables.across_distance_table(curves), 5),
        "first": rounded(tables.top_n_table(figures[SPLIT]), 5),
        "sheets": sheets,
        "asks": {task.title: [task.ask, task.answer] for task in TASKS.values()},
    }


def across_ids(section: Section) -> list[int]:
    """Return the images that :func:`across` shows."""
    queries = [query for sheet in section.get("sheets", {}).values() for query in sheet]
    return [i for query in queries for i in (query["id"], *(item[0] for item in query["items"]))]


def cost(run: Run) -> Section:
    """Return what each stage took, the size of the index and the time of a query."""
    folder = run.root / "metrics/cost"
    stages = {path.stem: read_json(path) for path in sorted(folder.glob("*.json"))}
    found: Section = {"stages": stages}
    size = run.root / "metrics/index.json"
    if size.is_file():
        names = ("kind", "metric", "bits", "items", "bytes", "bytes_per_item")
        facts = read_json(size)
        kept = [name for name in (*names, "compression_against_float32") if name in facts]
        found["index"] = {name: facts[name] for name in kept}
    if not stages:
        found["absent"] = "metrics/cost is empty: no stage has run in this checkout."
        found["mend"] = "dvc repro writes what each stage takes on this machine."
    return found
