"""What a prediction says: tags with scores, and the neighbours that voted for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np


@dataclass(frozen=True)
class Tag:
    """A category with its score in [0, 1]; ``chosen``: it reaches ``threshold``, chosen on val."""

    name: str
    score: float
    chosen: bool
    threshold: float


class Voter(NamedTuple):
    """An item of the database that voted.

    ``distance`` as in the index (bits that differ, or 1 - cosine), ``share`` in [0, 1] its part of
    the vote, ``caption`` the one that it was indexed with, ``categories`` the names of its labels,
    ``picture`` the file, or None where there is none.
    """

    image_id: int
    distance: float
    share: float
    caption: str
    categories: list[str]
    picture: Path | None


class Item(NamedTuple):
    """What there is to say of an item of the database, whatever the query: see :class:`Voter`."""

    image_id: int
    caption: str
    categories: tuple[str, ...]
    picture: Path | None


class Voters(Sequence[Voter]):
    """Voters, nearest first, each put together when it is asked for.

    There are 50 a picture: made beforehand they would take as long as the search, and more memory
    than the picture's pixels.
    """

    def __init__(self, items: Sequence[Item], distances: np.ndarray, shares: np.ndarray) -> None:
        """Keep ``items`` with their ``distances`` (n,) and ``shares`` (n,) of the vote."""
        self._items, self._distances, self._shares = items, distances, shares

    def __len__(self) -> int:
        """Return how many items voted."""
        return len(self._items)

    @overload
    def __getitem__(self, at: int) -> Voter: ...
    @overload
    def __getitem__(self, at: slice) -> list[Voter]: ...
    def __getitem__(self, at: int | slice) -> Voter | list[Voter]:
        """Return one voter, or a list of them."""
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self)))]
        item, distance, share = self._items[at], self._distances[at], self._shares[at]
        return Voter(
            item.image_id,
            float(distance),
            float(share),
            item.caption,
            list(item.categories),
            item.picture,
        )

    def __eq__(self, other: object) -> bool:
        """Return whether ``other`` holds the same voters in the same order."""
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def __repr__(self) -> str:
        """Return the voters as a list shows them."""
        return repr(list(self))


@dataclass(frozen=True)
class Prediction:
    """The best tags, best first, and the voters, nearest first.

    ``image_only``: no caption was given to a model that reads pairs, so that the captions of
    similar pictures stood in for it.
    """

    tags: list[Tag]
    neighbours: Sequence[Voter]
    image_only: bool

    def as_json(self) -> dict[str, Any]:
        """Return plain values that JSON can write.

        ``{"tags": [{"name", "score", "chosen", "threshold"}], "neighbours": [{"image_id",
        "distance", "share", "caption", "categories", "picture"}], "image_only"}``; ``picture`` is a
        path or null.
        """
        return {
            "tags": [
                {
                    "name": tag.name,
                    "score": round(tag.score, 6),
                    "chosen": tag.chosen,
                    "threshold": round(tag.threshold, 6),
                }
                for tag in self.tags
            ],
            "neighbours": [
                {
                    "image_id": voter.image_id,
                    "distance": round(voter.distance, 6),
                    "share": round(voter.share, 6),
                    "caption": voter.caption,
                    "categories": voter.categories,
                    "picture": None if voter.picture is None else str(voter.picture),
                }
                for voter in self.neighbours
            ],
            "image_only": self.image_only,
        }


def best_tags(
    scores: np.ndarray, thresholds: np.ndarray, names: Sequence[str], top_n: int
) -> list[Tag]:
    """Return the ``top_n`` classes of the highest ``scores`` (C,), of equals the lower number.

    ``thresholds`` (C,): a class is chosen where its score is at least that.
    """
    best = np.argsort(-scores, kind="stable")[:top_n]
    return [
        Tag(names[c], float(scores[c]), bool(scores[c] >= thresholds[c]), float(thresholds[c]))
        for c in best
    ]


def thresholds_of(
    cuts: Mapping[str, Any], head: str, mode: str, classes: int, total: int
) -> np.ndarray:
    """Return the decision threshold of each of ``total`` categories, (total,) float64.

    ``cuts`` is ``predictions/thresholds.json`` (or its part for pictures alone), ``mode`` global or
    per_class. Categories beyond the first ``classes`` were added to the database after the
    training: votes alone score them, and no image of val has them, so that they take the global
    threshold of the votes.
    """
    known = cuts[head]["global"] if mode == "global" else cuts[head]["per_class"]
    found = np.full(total, float(cuts["knn"]["global"]))
    found[:classes] = known
    return found
