"""From a run to the values of the page: every section, the images they show, the thumbnails."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from mmhash.collection import BUILT, read_state
from mmhash.data.coco import image_path
from mmhash.data.raw import ensure_raw
from mmhash.errors import InputError
from mmhash.heads import HEADS
from mmhash.page import bits, classes, compared, explorer, overview, pictures, training
from mmhash.page.document import embedded
from mmhash.page.source import Run, Section

logger = logging.getLogger(__name__)

MOST_BYTES = 20_000_000  # of the page; thumbnails are left out above
RESERVED_BYTES = 1_500_000  # scripts, styles, and the frame of the thumbnails' JSON
CHARACTERS = 300  # of a caption
CAPTIONS = 6  # of a picture that was asked with; a neighbour shows its first, which was indexed


def page_values(run: Run) -> tuple[Section, dict[str, str]]:
    """Return what the page shows, ready for JSON, and its thumbnails (base64) by image id.

    A section whose files are missing or do not fit holds ``missing``, the line that says what and
    where, in place of its content; such lines are logged too.
    """
    values = YAML(typ="safe").load((run.root / "params.yaml").read_text(encoding="utf-8"))
    sections: dict[str, Section] = {}

    def add(name: str, make: Callable[[], Section]) -> Section:
        try:
            sections[name] = make()
        except InputError as error:
            _warned(f"section {name}", error)
            sections[name] = {"missing": " ".join(str(error).split())}
        return sections[name]

    add("overview", lambda: overview.overview(run))
    add("classes", lambda: classes.classes(run))
    worst = classes.mistake_ids(add("mistakes", lambda: classes.mistakes(run)), run.params.knn.head)
    add("confusion", lambda: classes.confusion(run))
    by_bit = bits.bit_ids(add("bits", lambda: bits.bits(run)))
    crossed = overview.across_ids(add("across", lambda: overview.across(run)))
    asked = add(
        "explorer",
        lambda: explorer.explorer(run, explorer.chosen_queries(run, [*worst, *by_bit])),
    )
    add("training", lambda: training.training(run))
    add("data", lambda: training.data(run))
    add("experiments", lambda: compared.experiments(run, values))
    add("ablations", lambda: compared.ablations(run.root / "reports/ablations"))
    add("cost", lambda: overview.cost(run))
    empty = sum("missing" in section for section in sections.values())
    if empty:
        logger.warning("empty sections: %d of %d; dvc repro fills them", empty, len(sections))

    # Thumbnails go to the first of these while there is room.
    order = [*worst, *by_bit, *crossed, *explorer.query_ids(asked)]
    queries = {query["id"] for query in asked.get("queries", [])} | {*worst, *by_bit, *crossed}
    images, files, note = _described(run, order, queries)
    values = {
        "dataset": {"name": run.dataset, "line": run.dataset_line},
        "facts": _facts(run),
        "categories": _names(run),
        "heads": HEADS,
        "sections": sections,
        "images": images,
    }
    room = MOST_BYTES - RESERVED_BYTES - len(embedded(values).encode())
    thumbs, left_out = pictures.thumbnails(order, files, room) if files else ({}, 0)
    if left_out:
        note = (
            f"{len(thumbs):,} of {len(thumbs) + left_out:,} pictures are on the page, which stays "
            f"under {MOST_BYTES // 1_000_000} MB; they went to the worst mistakes first, then to "
            "the bits, then query by query to the pictures asked with and their neighbours."
        )
    return {**values, "note": note}, {str(image): text for image, text in thumbs.items()}


def _facts(run: Run) -> list[list[str]]:
    params = run.params
    try:
        bits_text = f"{run.bits} bits" if run.bits else "no codes"
    except InputError:
        bits_text = "unknown"
    return [
        ["dataset", run.dataset],
        ["method", run.method],
        ["codes", bits_text],
        ["neighbours that vote", "{k}, {distance}, {voting}".format_map(run.votes)],
        ["tags named by", HEADS[params.knn.head]],
        *_changed_since(run),
    ]


def _changed_since(run: Run) -> list[list[str]]:
    """Return the fact that predictions search another database than the page shows, if so."""
    try:
        version = read_state(run.root).current
    except InputError as error:
        _warned("database", error)
        return []
    if version == BUILT:
        return []
    return [["database", f"as built; predictions search version {version} of mmhash index"]]


def _names(run: Run) -> list[str]:
    try:
        return run.names
    except InputError:
        return []


def _described(
    run: Run, order: Iterable[int], queries: set[int]
) -> tuple[dict[str, Any], dict[int, Path], str]:
    """Return captions and labels by image id, the picture files, and what is missing of these.

    Images of ``queries`` have several captions, the others their first.
    """
    ids = set(order)
    if not ids:
        return {}, {}, ""
    try:
        rows = run.described(ids)
        column = {entry["id"]: place for place, entry in enumerate(run.categories)}
    except InputError as error:
        return {}, {}, _warned("Captions, labels and pictures are missing", error)
    images = {
        str(image): {
            "c": explorer.captions_of(row, CAPTIONS if image in queries else 1, CHARACTERS),
            "l": [column[number] for number in row["category_ids"] if number in column],
        }
        for image, row in sorted(rows.items())
    }
    files = {
        image: image_path(run.pictures, row["folder"], row["file_name"])
        for image, row in rows.items()
        if row["file_name"]
    }
    if not files:
        return images, {}, "This dataset came without pictures: images are shown by id."
    try:
        ensure_raw(run.dataset, run.pictures)
    except InputError as error:
        return images, {}, _warned("Pictures are missing", error)
    return images, files, ""


def _warned(what: str, error: InputError) -> str:
    """Return what is wrong as one line, which is logged too."""
    line = f"{what}: {' '.join(str(error).split())}"
    logger.warning("%s", line)
    return line
