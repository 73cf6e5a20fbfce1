"""Predictions as the page takes them: plain values with thumbnails in place of paths."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmhash.data.picture import UnreadableError, read_picture
from mmhash.errors import InputError
from mmhash.page.build import CHARACTERS
from mmhash.page.explorer import cut
from mmhash.page.pictures import thumbnail
from mmhash.prediction import Prediction
from mmhash.serve.watched import Watched
from mmhash.trained import TrainedRun

SHOWN = 20  # neighbours with a thumbnail; the others are sent without
HELD = 2000  # thumbnails kept in memory, some 5 kB each


class RefusedError(Exception):
    """A request that cannot be answered: the message is one line for the user who sent it."""


def answers(
    watched: Watched, pictures: list[tuple[str, bytes]], captions: list[str | None]
) -> list[dict[str, Any]]:
    """Return what :meth:`mmhash.prediction.Prediction.as_json` says of each picture, and more.

    ``pictures`` are (name, content of the file). Paths are left out; a neighbour has ``thumbnail``,
    a data URL or null, in its place. ``accuracy`` are the figures on test of predictions made like
    this one (:meth:`mmhash.trained.TrainedRun.accuracy`) or null; ``changed`` says that they are of
    the database before ``mmhash index`` changed it. Raises :class:`RefusedError` for
    the first picture that cannot be read, and where the run cannot predict.
    """
    found = []
    try:
        run = watched.now()
        outcomes = run.stream([content for _, content in pictures], captions)
        for (name, content), outcome in zip(pictures, outcomes, strict=True):
            if isinstance(outcome, str):
                reason = outcome if content else "the file is empty"
                raise RefusedError(f"{shown_name(name)}: {one_line(reason)}")
            found.append(_answer(run, outcome))
    except InputError as error:
        # It may name files of the run; where the run lies is nobody's business.
        line = str(error)
        for root in (str(watched.root.resolve()), str(watched.root)):
            line = line.replace(f"{root}/", "")
        raise RefusedError(one_line(line)) from None
    return found


def _answer(run: TrainedRun, prediction: Prediction) -> dict[str, Any]:
    values = prediction.as_json()
    for place, (entry, voter) in enumerate(
        zip(values["neighbours"], prediction.neighbours, strict=True)
    ):
        del entry["picture"]
        entry["caption"] = cut(entry["caption"], CHARACTERS)
        held = place < SHOWN and voter.picture is not None
        entry["thumbnail"] = _thumbnail(voter.picture) if held else None
    accuracy, changed = run.accuracy(prediction.image_only), bool(run.database.version)
    return {**values, "accuracy": accuracy, "changed": changed}


@lru_cache(HELD)
def _thumbnail(path: Path) -> str | None:
    """Return a picture of the database as a data URL, encoded anew; None: it cannot be read."""
    try:
        return f"data:image/webp;base64,{thumbnail(read_picture(path))}"
    except UnreadableError:
        return None


def shown_name(name: str) -> str:
    """Return the name of an uploaded file as a message may repeat it: short, no folder, one line.

    >>> shown_name("../../etc/cat\\n.jpg")
    'cat .jpg'
    """
    last = one_line(re.split(r"[/\\]", name)[-1])
    return "picture" if not last else last if len(last) <= 60 else f"{last[:59]}…"


def one_line(text: str) -> str:
    """Return ``text`` without control characters, line breaks and runs of spaces."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
