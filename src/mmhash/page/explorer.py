"""Neighbours: the pictures that were asked with, what they were given, and who voted."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmhash.errors import InputError
from mmhash.page.source import Run, Section, rounded
from mmhash.seeding import numpy_stream

QUERIES = 1000  # on the page at most
NEIGHBOURS = 20  # listed of each; the votes of the others are summed
TAGS = 8  # best classes of each head


def chosen_queries(run: Run, first: Sequence[int]) -> list[int]:
    """Return the rows of the test images that the page shows, at most :data:`QUERIES`.

    Those of the images ``first`` (the worst mistakes, the pictures of the bits) come first, in
    their order, then a sample of the others from a seeded stream, the same whenever it is drawn.
    """
    row_of = {int(image): row for row, image in enumerate(run.image_id)}
    rows = dict.fromkeys(row_of[image] for image in first if image in row_of)
    others = numpy_stream(0, "page", "queries").permutation(len(run.image_id))
    rows |= dict.fromkeys(int(row) for row in others)
    return list(rows)[:QUERIES]


def explorer(run: Run, rows: Sequence[int]) -> Section:
    """Return the queries ``rows``: their best classes by head and their nearest neighbours.

    ``tags`` are [class, score] by head, best first, of equals the lower class; whether a score
    reaches the threshold, the page finds out. ``near`` are [id, distance, weight], nearest first;
    ``rest`` is the weight of listed neighbours beyond them, ``beyond`` that of items outside the
    list (with knn.ties=expected equally near items vote too).
    """
    table = run.neighbours
    if table["image_id"].to_pylist() != run.image_id.tolist():
        raise InputError("predictions/test: neighbours and scores differ in images; run evaluate")
    width = table["neighbour_ids"].type.list_size
    ids, distances, weights = (
        table[name].combine_chunks().flatten().to_numpy().reshape(-1, width)
        for name in ("neighbour_ids", "distances", "weights")
    )
    best = {h: np.argsort(-s, axis=1, kind="stable")[:, :TAGS] for h, s in run.scores.items()}
    queries = []
    for row in rows:
        near = zip(
            ids[row, :NEIGHBOURS].tolist(),
            rounded(distances[row, :NEIGHBOURS], 4),
            rounded(weights[row, :NEIGHBOURS], 4),
            strict=True,
        )
        tags = {
            head: [[int(c), round(float(run.scores[head][row, c]), 3)] for c in best[head][row]]
            for head in best
        }
        queries.append(
            {
                "id": int(run.image_id[row]),
                "tags": tags,
                "near": [list(entry) for entry in near],
                "rest": round(float(weights[row, NEIGHBOURS:].sum()), 4),
                "beyond": round(max(0.0, 1 - float(weights[row].sum(dtype=float))), 4),
            }
        )
    knn = run.params.knn
    return {
        "queries": queries,
        "images": len(run.image_id),
        "limit": QUERIES,
        "k": width,
        "listed": min(NEIGHBOURS, width),
        "distance": _distance_name(run),
        "bits": run.bits if knn.distance == "hamming" else 0,  # of a Hamming distance
        "voting": knn.voting,
        "head": knn.head,
        "top": knn.top_n_tags,
    }


def query_ids(section: Section) -> list[int]:
    """Return the images of the queries, each followed by its neighbours."""
    return [
        image
        for query in section.get("queries", [])
        for image in (query["id"], *(entry[0] for entry in query["near"]))
    ]


def _distance_name(run: Run) -> str:
    if not run.bits:
        return "cosine distance, 1 − cos"
    return {
        "hamming": "Hamming distance, bits that differ",
        "hybrid": "cosine distance of the soft codes, 1 − cos",
        "cosine": "cosine distance of the soft codes, 1 − cos",
        "asymmetric": "asymmetric distance, 1 − hᵀb / B",
    }[run.params.knn.distance]


def captions_of(row: dict[str, Any], count: int, characters: int) -> list[str]:
    """Return the first ``count`` captions of an image, each cut at ``characters``.

    Empty ones are left out: sets of features have them where there is no text.
    """
    found = [str(text) for text in (row["captions"] or [])[:count] if text and text.strip()]
    return [cut(text, characters) for text in found]


def cut(text: str, characters: int) -> str:
    """Return ``text`` with at most ``characters``; … says that more follows."""
    return text if len(text) <= characters else f"{text[: characters - 1].rstrip()}…"
