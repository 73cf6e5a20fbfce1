"""From a run to the values of the page: every section, the images they show, the thumbnails."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from ruamel.yaml import YAML

from mmhash.data.coco import image_path
from mmhash.data.raw import ensure_raw
from mmhash.errors import InputError
from mmhash.heads import HEADS
from mmhash.page import bits, classes, compared, explorer, overview, pictures, training
from mmhash.page.source import Run, Section

logger = logging.getLogger(__name__)

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
            line = " ".join(str(error).split())
            logger.warning("section %s: %s", name, line)
            sections[name] = {"missing": line}
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

    # Thumbnails go to the first of these while there is room.
    order = [*worst, *by_bit, *crossed, *explorer.query_ids(asked)]
    queries = {query["id"] for query in asked.get("queries", [])} | {*worst, *by_bit, *crossed}
    images, thumbs, pictures_of = _images(run, order, queries)
    return {
        "dataset": {"name": run.dataset, "line": run.dataset_line},
        "facts": _facts(run),
        "categories": _names(run),
        "heads": HEADS,
        "sections": sections,
        "images": images,
        "pictures": pictures_of,
    }, thumbs


def _facts(run: Run) -> list[list[str]]:
    params = run.params
    try:
        bits_text = f"{run.bits} bits" if run.bits else "no codes"
    except InputError:
        bits_text = "unknown"
    return [
        ["dataset", run.dataset],
        ["method", params.model.name],
        ["codes", bits_text],
        ["neighbours that vote", f"{params.knn.k}, {params.knn.distance}, {params.knn.voting}"],
        ["tags named by", HEADS[params.knn.head]],
    ]


def _names(run: Run) -> list[str]:
    try:
        return run.names
    except InputError:
        return []


def _images(
    run: Run, order: Iterable[int], queries: set[int]
) -> tuple[dict[str, Any], dict[str, str], Section]:
    """Return captions and labels by image id, the thumbnails, and what is said about them."""
    ids = set(order)
    if not ids:
        return {}, {}, {"note": ""}
    try:
        rows = run.described(ids)
        column = {entry["id"]: place for place, entry in enumerate(run.categories)}
    except InputError as error:
        line = " ".join(str(error).split())
        logger.warning("captions and labels: %s", line)
        return {}, {}, {"note": f"Captions, labels and pictures are missing: {line}"}
    images = {
        str(image): {
            "c": explorer.captions_of(row, CAPTIONS if image in queries else 1, CHARACTERS),
            "l": [column[number] for number in row["category_ids"]],
        }
        for image, row in sorted(rows.items())
    }
    files = {
        image: image_path(run.pictures, row["folder"], row["file_name"])
        for image, row in rows.items()
        if row["file_name"]
    }
    if not files:
        return images, {}, {"note": "This dataset came without pictures: images are shown by id."}
    try:
        ensure_raw(run.dataset, run.pictures)
    except InputError as error:
        line = " ".join(str(error).split())
        logger.warning("pictures: %s", line)
        return images, {}, {"note": f"Pictures are missing: {line}"}
    thumbs, left_out = pictures.thumbnails(order, files)
    note = ""
    if left_out:
        note = (
            f"{len(thumbs):,} of {len(thumbs) + left_out:,} pictures are on the page, which stays "
            "under 20 MB; they went to the worst mistakes first, then to the bits, then query "
            "by query to the pictures asked with and their neighbours."
        )
    return images, {str(image): text for image, text in thumbs.items()}, {"note": note}
