"""``mmhash predict``: tags for pictures, and the neighbours that voted for them."""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmhash.cli.captions import Found, captions_for, find_pictures, read_captions
from mmhash.cli.startup import no_garbage, positive
from mmhash.cli.terminal import (
    THUMBNAIL,
    bar,
    colours,
    columns_of,
    harmless,
    say,
    shortened,
    thumbnail,
)
from mmhash.errors import InputError

if TYPE_CHECKING:
    from mmhash.prediction import Prediction
    from mmhash.trained import TrainedRun

IN_FULL = 3  # pictures that are shown with their neighbours; of more each has a line
SHOWN = 5  # neighbours of a picture
BAR = 20  # columns of a full bar


def add_parser(commands: Any) -> None:
    """Add ``predict`` to the sub-commands."""
    parser = commands.add_parser(
        "predict",
        help="tag pictures with a finished run, and show which neighbours voted",
        description="Tag pictures, with their captions where you have them, and show the "
        "neighbours that voted. ✓ marks the tags whose score reaches the threshold that was chosen "
        "on val. Of more than three pictures each has a line; --json has all of each.",
        epilog="--captions: a table with the header file,caption (.tsv: parted by tabs), or .json "
        'with one object, {"cat.jpg": "a cat on a sofa"}; UTF-8.\n'
        "--json: a line a picture: file, caption, tags (name, score, chosen, threshold), "
        "neighbours (image_id, distance, share, caption, categories, picture), image_only; or file "
        "and error.\n"
        "Exit code 1 where a picture cannot be read; the others are tagged.\n"
        'example: mmhash predict cat.jpg --caption "a cat on a sofa"\n'
        "example: mmhash predict photos/ --captions photos/captions.csv --json > tags.jsonl",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="picture, or folder of pictures")
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--caption", metavar="TEXT", help="the caption of the one picture")
    given.add_argument("--captions", metavar="FILE", type=Path, help="captions by file name")
    parser.add_argument("--json", action="store_true", help="write JSON, a line a picture")
    parser.add_argument(
        "--top", metavar="N", type=positive, help="tags a picture (default: knn.top_n_tags)"
    )
    parser.add_argument(
        "--run", metavar="FOLDER", type=Path, default=Path(), help="a finished run (default: here)"
    )


def predict(chosen: argparse.Namespace) -> bool:
    """Print the predictions; return whether every picture could be read.

    Raises :class:`InputError` where the run, the pictures or the captions are at fault.
    """
    pictures = find_pictures(chosen.images)
    captions = _captions(chosen, pictures)
    in_full = len(pictures) <= IN_FULL and not chosen.json
    with no_garbage():
        from mmhash.progress import track
        from mmhash.trained import TrainedRun

        run = TrainedRun(chosen.run)
        if not in_full:
            for alone in sorted({run.inputs == "both" and one is None for one in captions}):
                print(accuracy_line(run, alone), file=sys.stderr)
        stream = run.stream([one.path for one in pictures], captions, chosen.top)
        outcomes: Iterator[Any] = chain([next(stream)], stream)  # with the first all is loaded
    if len(pictures) > 1:
        outcomes = track(outcomes, len(pictures), "predict", "picture")
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # ? for a lacking letter
    well = True
    for picture, caption, outcome in zip(pictures, captions, outcomes, strict=True):
        if isinstance(outcome, str):
            well = False
            if chosen.json:
                say(json.dumps({"file": str(picture.path), "error": outcome}))
            else:
                say(f"{harmless(str(picture.path))}: cannot be read: {harmless(outcome)}")
            continue
        if chosen.json:
            found = {"file": str(picture.path), "caption": caption, **outcome.as_json()}
            say(json.dumps(found))
        elif in_full:
            say("\n".join(_in_full(run, picture.path, caption, outcome)))
        else:
            say(_in_a_line(picture.path, outcome))
    return well


def _captions(chosen: argparse.Namespace, pictures: Sequence[Found]) -> Sequence[str | None]:
    """Return the caption of each picture, or None."""
    if chosen.caption is not None:
        if len(pictures) > 1:
            raise InputError(
                f"--caption is for one picture, and {len(pictures)} are named; use --captions FILE"
            )
        return [chosen.caption]
    if chosen.captions is None:
        return [None] * len(pictures)
    captions, unknown = captions_for(pictures, read_captions(chosen.captions))
    if unknown:
        print(
            f"{chosen.captions}: {len(unknown)} of its names are none of the pictures, such as "
            f"{harmless(unknown[0])}",
            file=sys.stderr,
        )
    return captions


def accuracy_line(run: "TrainedRun", image_only: bool) -> str:
    """Return how good predictions of this kind were on test, with the 95 % interval."""
    paired, alone = run.accuracy(False), run.accuracy(True)
    unknown = "accuracy not measured" + (f": {run.moved}; dvc repro measures it" * bool(run.moved))
    told = unknown if paired is None else f"test mAP {_figure(paired['mAP'])}"
    before = " (before mmhash index changed the database)" if run.database.version else ""
    if not image_only:
        kind = "with caption" if run.inputs == "both" else f"by the {run.inputs} alone"
        return f"{kind}: {told}" + (before if paired else "")
    if alone is None:
        return f"image only: {unknown}"
    low, high = _figure(alone["mAP_low"]), _figure(alone["mAP_high"])
    return (
        f"image only: test mAP {_figure(alone['mAP'])} (95 % {low} to {high}), with caption "
        f"{told.removeprefix('test mAP ')}{before}"
    )


def _in_full(
    run: "TrainedRun", picture: Path, caption: str | None, made: "Prediction"
) -> list[str]:
    """Return the lines of one picture: tags as bars, then the nearest voters."""
    columns = max(40, shutil.get_terminal_size().columns)
    shades = colours(sys.stdout)
    lines = [*thumbnail(picture, shades), harmless(str(picture))]
    if caption is not None:
        lines.append(f"  {shortened(caption, columns - 2)}")
    lines.append(f"  {accuracy_line(run, made.image_only)}")
    width = min(max((len(tag.name) for tag in made.tags), default=0), columns - BAR - 12)
    for tag in made.tags:
        name = shortened(tag.name, width)
        name += " " * (width - columns_of(name))
        mark = "✓" if tag.chosen else " "
        lines.append(f"  {mark} {name}  {_figure(tag.score)}  {bar(tag.score, BAR)}")
    added = set(run.database.added_categories)
    if own := [tag.name for tag in made.tags if tag.name in added]:
        told = f"added after the training, scored by their own examples: {', '.join(own)}"
        lines.append(f"  {shortened(told, columns - 2)}")
    shown = made.neighbours[:SHOWN]
    lines.append(f"  neighbours that voted, the nearest {len(shown)} of {len(made.neighbours)}:")
    bits = run.database.retriever.index.bits
    hamming = bits and run.params.knn.distance == "hamming"
    for voter in shown:
        far = f"{voter.distance:.0f} of {bits} bits" if hamming else f"{voter.distance:.3f}"
        small = thumbnail(voter.picture, shades)
        room = columns - 4 - (THUMBNAIL[0] + 2 if small else 0)
        beside = [
            f"distance {far}, {100 * voter.share:.1f} % of the vote, image {voter.image_id}",
            shortened(voter.caption, room),
            shortened(", ".join(voter.categories) or "no label", room),
        ]
        for left, right in zip_longest(small, beside, fillvalue=""):
            lines.append(f"    {left}{'  ' if small else ''}{right}".rstrip(" "))
    return lines


def _in_a_line(picture: Path, made: "Prediction") -> str:
    tags = (f"{'✓' if tag.chosen else ''}{tag.name} {_figure(tag.score)}" for tag in made.tags)
    alone = " (image only)" if made.image_only else ""
    return f"{harmless(str(picture))}: {harmless(', '.join(tags))}{alone}"


def _figure(value: float) -> str:
    """Return a number in [0, 1] with three decimals, without its zero: .601."""
    return f"{value:.3f}".removeprefix("0")
