"""Draw the sample: a small synthetic COCO 2014 with Karpathy's split, the same on every run.

Each picture has random streams of its own, named by its number, so the bytes do not depend on
the number of workers and any picture can be drawn again alone.
"""

import io
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
from PIL import Image

from mmhash.data.sample import formats
from mmhash.data.sample.captions import describe
from mmhash.data.sample.formats import Annotated, picture_name
from mmhash.data.sample.labels import CATEGORY_NAMES, random_content
from mmhash.data.sample.scene import Scene, paint, random_scene
from mmhash.errors import InputError
from mmhash.files import digest, read_json, write_bytes, write_json
from mmhash.progress import track
from mmhash.seeding import numpy_stream

SAMPLE_COUNTS = {"train": 2700, "restval": 900, "val": 600, "test": 1000}
SAMPLE_SEED = 20140
_QUOTA = 100  # every category occurs in at least one of so many pictures of each split
_LARGEST_ID = 600_000
_JPEG_QUALITY = 88
_RECORD = "sample.json"
_ANNOTATIONS = (
    "annotations/instances_train2014.json",
    "annotations/instances_val2014.json",
    "annotations/captions_train2014.json",
    "annotations/captions_val2014.json",
    "dataset_coco.json",
)


class _Picture(NamedTuple):
    """A picture of the plan; ``required`` are categories that its split would else lack."""

    number: int
    image_id: int
    split: str
    required: tuple[str, ...]

    @property
    def folder(self) -> str:
        return "train2014" if self.split == "train" else "val2014"

    @property
    def path(self) -> str:
        return f"images/{self.folder}/{picture_name(self.folder, self.image_id)}"


def draw_sample(
    root: Path,
    seed: int = SAMPLE_SEED,
    workers: int | None = None,
    counts: Mapping[str, int] = SAMPLE_COUNTS,
) -> None:
    """Draw the sample under ``root``; draw only what is missing where it was begun before.

    Writes ``images/{train2014,val2014}/*.jpg``, ``annotations/{instances,captions}_*.json`` and
    ``dataset_coco.json``, and last ``sample.json``, the record of what was drawn. ``workers``
    processes share the work (default: one a core); ``counts`` is the number of pictures a split.

    Raises :class:`InputError` where ``root`` holds annotations that this function did not write.
    """
    root = Path(root)
    recipe = _recipe(seed, dict(counts))
    record = _read_record(root)
    if record is None and (root / "annotations").exists():
        raise InputError(
            f"{root}: holds annotations but no {_RECORD}, so it is not a drawn sample; "
            "name another folder"
        )
    pictures = plan(seed, counts)
    if record is None or record.get("recipe") != recipe:
        old = record or {"seed": seed, "counts": counts}
        stale = _named_pictures(old["seed"], old["counts"]) + pictures
        for name in (*_ANNOTATIONS, *(picture.path for picture in stale)):
            (root / name).unlink(missing_ok=True)
        record = {"recipe": recipe, "seed": seed, "counts": dict(counts), "bytes": {}}
        write_json(root / _RECORD, record)
    sizes: dict[str, int] = record["bytes"]
    to_paint = {picture.path for picture in pictures if not _is_whole(root, picture.path, sizes)}
    annotated = all(_is_whole(root, name, sizes) for name in _ANNOTATIONS)
    to_visit = [p for p in pictures if not annotated or p.path in to_paint]
    if not to_visit:
        return
    job = partial(_draw_one, root, seed, to_paint)
    drawn = list(track(_in_parallel(job, to_visit, workers), len(to_visit), "drawing", "pictures"))
    if not annotated:
        for name, content in _contents(drawn).items():
            write_json(root / name, content)
    names = [*(picture.path for picture in pictures), *_ANNOTATIONS]
    record["bytes"] = {name: (root / name).stat().st_size for name in names}
    write_json(root / _RECORD, record)


def missing_pictures(root: Path) -> list[Path]:
    """Return the pictures of the sample that are not there or have another size than recorded.

    Without a record of an equal drawing every picture of the default sample is missing.
    """
    root = Path(root)
    record = _read_record(root)
    if record is None or not _is_current(record):
        return [root / picture.path for picture in _named_pictures(SAMPLE_SEED, SAMPLE_COUNTS)]
    sizes: dict[str, int] = record["bytes"]
    return [
        root / name
        for name, size in sizes.items()
        if name.endswith(".jpg") and _size(root / name) != size
    ]


def sample_is_complete(root: Path) -> bool:
    """Tell whether every file of the sample is there, drawn by this version of the code."""
    root = Path(root)
    record = _read_record(root)
    if record is None or not _is_current(record):
        return False
    return all(_size(root / name) == size for name, size in record["bytes"].items())


def stream_pairs(
    seed: int, start: int, stop: int
) -> Iterator[tuple[Image.Image, list[str], set[str]]]:
    """Yield pictures ``start`` to ``stop`` of an endless stream: (picture, captions, categories).

    The stream is drawn like the sample but from other random streams, so that an encoder trained
    on it has seen no picture of the sample.
    """
    for number in range(start, stop):
        scene = random_scene(numpy_stream(seed, "pairs", number, "scene"))
        yield (
            paint(scene, numpy_stream(seed, "pairs", number, "paint")),
            _write_captions(scene, numpy_stream(seed, "pairs", number, "captions")),
            scene.names,
        )


def plan(seed: int, counts: Mapping[str, int] = SAMPLE_COUNTS) -> list[_Picture]:
    """Return every picture of the sample with its identifier, split and required categories.

    Labels are drawn in advance. Where a split has too few positives of a category, pictures of
    that split are drawn anew with the category required, until every category has its quota:
    one in a hundred pictures, 10 in the test split.
    """
    planned: list[_Picture] = []
    for split, members in groupby(_named_pictures(seed, counts), lambda picture: picture.split):
        planned += _with_quota(seed, split, list(members))
    return planned


def _with_quota(seed: int, split: str, members: list[_Picture]) -> list[_Picture]:
    """Require categories in some of ``members`` until each occurs in its quota of them."""
    quota = len(members) // _QUOTA
    labels = [_planned_labels(seed, picture) for picture in members]
    free = list(numpy_stream(seed, "sample", "quota", split).permutation(len(members)))
    while True:
        positives = Counter(name for names in labels for name in names)
        short = [name for name in CATEGORY_NAMES if positives[name] < quota]
        if not short:
            return members
        for name in short:
            for _ in range(quota - positives[name]):
                at = int(free.pop())
                members[at] = members[at]._replace(required=(name,))
                labels[at] = _planned_labels(seed, members[at])


def _planned_labels(seed: int, picture: _Picture) -> set[str]:
    """Return the categories of ``picture``, as :func:`random_scene` will draw them."""
    _, labels = random_content(_scene_stream(seed, picture), picture.required)
    return set(labels)


def _scene_stream(seed: int, picture: _Picture) -> np.random.Generator:
    return numpy_stream(seed, "sample", picture.number, "scene")


def _named_pictures(seed: int, counts: Mapping[str, int]) -> list[_Picture]:
    """Return the pictures without quotas; the identifiers of the splits are interleaved."""
    splits = [split for split in SAMPLE_COUNTS for _ in range(counts.get(split, 0))]
    ids = numpy_stream(seed, "sample", "ids").choice(_LARGEST_ID, len(splits), replace=False) + 1
    return [
        _Picture(number, int(image_id), split, ())
        for number, (image_id, split) in enumerate(zip(ids, splits, strict=True))
    ]


def _draw_one(root: Path, seed: int, to_paint: set[str], picture: _Picture) -> Annotated:
    """Draw one picture of the plan, write its JPEG where asked, and return its annotations."""
    scene = random_scene(_scene_stream(seed, picture), picture.required)
    if picture.path in to_paint:
        image = paint(scene, numpy_stream(seed, "sample", picture.number, "paint"))
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=_JPEG_QUALITY)
        write_bytes(root / picture.path, stream.getvalue())
    words = _write_captions(scene, numpy_stream(seed, "sample", picture.number, "captions"))
    return Annotated(picture.image_id, picture.split, picture.folder, scene, tuple(words))


def _write_captions(scene: Scene, rng: np.random.Generator) -> list[str]:
    return describe(scene, rng, 5 if rng.random() < 0.8 else 6)


def _in_parallel(
    job: Callable[[_Picture], Annotated], pictures: list[_Picture], workers: int | None
) -> Iterable[Annotated]:
    """Yield ``job`` of every picture in order, computed by ``workers`` processes."""
    workers = min(workers or os.cpu_count() or 1, len(pictures))
    if workers == 1:
        yield from map(job, pictures)
        return
    # A forked worker starts at once; macOS cannot fork safely and spawns.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(workers, context, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    try:
        yield from pool.map(job, pictures, chunksize=max(1, min(32, len(pictures) // workers)))
    finally:
        pool.shutdown(cancel_futures=True)


def _contents(drawn: list[Annotated]) -> dict[str, Any]:
    folders = ("train2014", "val2014")
    return {
        **{f"annotations/instances_{f}.json": formats.instances(drawn, f) for f in folders},
        **{f"annotations/captions_{f}.json": formats.captions(drawn, f) for f in folders},
        "dataset_coco.json": formats.karpathy(drawn),
    }


def _recipe(seed: int, counts: Mapping[str, int]) -> str:
    """Return a digest of everything that the drawn bytes depend on."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    versions = [np.__version__, PIL.__version__]
    return digest(seed, dict(counts), versions, *(source.read_bytes() for source in sources))


def _read_record(root: Path) -> dict[str, Any] | None:
    path = root / _RECORD
    return read_json(path) if path.exists() else None


def _is_current(record: dict[str, Any]) -> bool:
    """Tell whether ``record`` is of a finished drawing by this version of the code."""
    return bool(record["bytes"]) and record["recipe"] == _recipe(record["seed"], record["counts"])


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _is_whole(root: Path, name: str, sizes: Mapping[str, int]) -> bool:
    """Tell whether a file has its recorded size; unrecorded, whether it is a JPEG with an end."""
    size = _size(root / name)
    if size is None or name in sizes:
        return size is not None and size == sizes[name]
    return name.endswith(".jpg") and (root / name).read_bytes().endswith(b"\xff\xd9")
