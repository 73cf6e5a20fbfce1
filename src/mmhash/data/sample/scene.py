"""A scene of the sample: what stands where, and the picture of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from mmhash.data.sample.backdrop import add_light, paint_backdrop
from mmhash.data.sample.glyphs import DRAWINGS, glyph
from mmhash.data.sample.labels import random_content
from mmhash.data.sample.placement import (
    INDOOR,
    RELATIONS,
    SIZES,
    Box,
    attached_position,
    free_position,
    horizon,
    placing_rank,
    visible_fractions,
)

_PICTURE_SIZES = (
    (160, 120),
    (160, 107),
    (176, 118),
    (160, 128),
    (140, 140),
    (120, 160),
    (107, 160),
)
_PICTURE_CHANCES = (0.3, 0.2, 0.1, 0.08, 0.08, 0.14, 0.1)
WALL_COLOURS = ("white", "blue", "green", "yellow", "gray", "pink", "brown")
_SMALLEST = 13  # pixels; a smaller object is a smudge
_ATTACH_CHANCE = 0.75
_LAYOUT_TRIES = 12
_VISIBLE_BOX = 0.35  # fraction of an object's box that a layout leaves free
_VISIBLE_PIXELS = 0.2  # fraction of an object's own pixels that a picture shows


@dataclass(frozen=True)
class Placed:
    """An object in a scene.

    ``box`` is (x, y, width, height) in pixels and tight; ``seed`` fixes what the object looks
    like. ``relation`` and ``host`` say what it is attached to ("riding", "bicycle"), or are empty.
    """

    name: str
    box: Box
    seed: int
    relation: str = ""
    host: str = ""

    @property
    def drawing(self) -> int:
        """Which of its category's drawings the object is: the first number that a glyph draws."""
        return int(_generator(self.seed).integers(len(DRAWINGS[self.name])))

    @property
    def is_child(self) -> bool:
        """Whether a person is a child; children are painted smaller."""
        return _is_child(self.name, self.seed)


@dataclass(frozen=True)
class Scene:
    """What a picture shows. ``objects`` are listed from back to front.

    ``light`` is sunny, cloudy or evening outdoors and bright or dim indoors; ``wall`` is the
    colour of the walls indoors, and empty outdoors.
    """

    kind: str
    width: int
    height: int
    light: str
    wall: str
    objects: tuple[Placed, ...]

    @property
    def names(self) -> set[str]:
        """The categories that occur."""
        return {thing.name for thing in self.objects}


class _Thing(NamedTuple):
    """An object not yet placed: ``depth`` from 0 (far) to 1 (near), ``scale`` about 1."""

    name: str
    seed: int
    depth: float
    scale: float


def random_scene(rng: np.random.Generator, required: Sequence[str] = ()) -> Scene:
    """Draw a scene in which every category of ``required`` occurs.

    Without ``required`` the categories have a long tail and about 1 % of the scenes are empty.
    """
    kind, labels = random_content(rng, required)
    width, height = _PICTURE_SIZES[rng.choice(len(_PICTURE_SIZES), p=_PICTURE_CHANCES)]
    indoor = kind in INDOOR
    lights = ("bright", "bright", "dim") if indoor else ("sunny", "sunny", "cloudy", "evening")
    light = lights[rng.integers(len(lights))]
    wall = WALL_COLOURS[rng.integers(len(WALL_COLOURS))] if indoor else ""
    names = sorted(labels.elements(), key=placing_rank)
    zoom = float(np.clip(rng.normal(1.3 - 0.07 * len(names), 0.1), 0.75, 1.35))
    things = [
        _Thing(name, int(rng.integers(2**62)), rng.random(), zoom * rng.lognormal(0, 0.14))
        for name in names
    ]
    objects: list[Placed] = []
    best = -1.0
    for attempt in range(_LAYOUT_TRIES if names else 0):
        shrink = 1.0 if attempt < 3 else 0.93 ** (attempt - 2)
        layout = _random_layout(rng, kind, things, (width, height), shrink)
        worst = visible_fractions([thing.box for thing in layout], (width, height)).min()
        if worst > best:
            best, objects = float(worst), layout
        if best >= _VISIBLE_BOX:
            break
    return Scene(kind, width, height, light, wall, tuple(objects))


def _random_layout(
    rng: np.random.Generator,
    kind: str,
    things: list[_Thing],
    picture: tuple[int, int],
    zoom: float,
) -> list[Placed]:
    """Place every object; hosts come before guests in ``things``. Returns them back to front."""
    placed: list[tuple[float, Placed]] = []
    guests_of: dict[int, int] = {}
    for thing in things:
        name = thing.name
        own_zoom = 0.7 * zoom if _is_child(name, thing.seed) else zoom
        size = SIZES[name] * thing.scale * own_zoom * float(np.sqrt(picture[0] * picture[1]))
        hosts = [
            number
            for number, (_, host) in enumerate(placed)
            if (name, host.name) in RELATIONS
            and guests_of.get(number, 0) < (5 if host.name == "dining table" else 1)
        ]
        if hosts and rng.random() < _ATTACH_CHANCE:
            number = hosts[rng.integers(len(hosts))]
            guests_of[number] = guests_of.get(number, 0) + 1
            rank, host = placed[number]
            relation = RELATIONS[name, host.name]
            if host.name == "person":
                size = min(size, 0.45 * host.box[3])
            measures = _glyph(name, _longest(size, picture), thing.seed).size
            box = attached_position(rng, relation, host.box, measures, picture)
            rank += -0.5 if relation.behind else 0.01 * (len(placed) + 1)
            placed.append((rank, Placed(name, box, thing.seed, relation.word, host.name)))
        else:
            longest = _longest(size * (0.8 + 0.4 * thing.depth), picture)
            measures = _glyph(name, longest, thing.seed).size
            tries = [
                free_position(rng, kind, name, measures, picture, thing.depth) for _ in range(4)
            ]
            others = [other.box for _, other in placed]
            box, rank = min(tries, key=lambda choice: _overlap(choice[0], others))
            placed.append((rank, Placed(name, box, thing.seed)))
    return [thing for _, thing in sorted(placed, key=lambda pair: pair[0])]


def _longest(size: float, picture: tuple[int, int]) -> int:
    """Return the longest side in pixels of an object of ``size`` that fits the picture."""
    return min(max(_SMALLEST, round(size)), round(0.95 * min(picture)))


@lru_cache(maxsize=256)  # a layout is tried several times, and painted, with the same objects
def _glyph(name: str, longest: int, seed: int) -> Image.Image:
    return glyph(name, longest, _generator(seed))


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def _is_child(name: str, seed: int) -> bool:
    return name == "person" and seed % 4 == 0


def _overlap(box: Box, others: list[Box]) -> float:
    x, y, w, h = box
    return sum(
        max(0, min(x + w, a + c) - max(x, a)) * max(0, min(y + h, b + d) - max(y, b))
        for a, b, c, d in others
    )


def paint(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Paint ``scene`` as an RGB picture; ``rng`` draws what the scene leaves open.

    No object is completely hidden: one that the others cover too much comes to the front.
    """
    size = (scene.width, scene.height)
    picture = paint_backdrop(scene.kind, size, horizon(scene.kind), scene.light, scene.wall, rng)
    glyphs = [_glyph(thing.name, max(thing.box[2:]), thing.seed) for thing in scene.objects]
    masks = [np.asarray(image)[:, :, 3] > 128 for image in glyphs]
    order = _uncovered_order(scene, masks)
    pen = ImageDraw.Draw(picture)
    for number in order:
        x, y, w, h = scene.objects[number].box
        if scene.objects[number].name in ("stop sign", "traffic light") and not scene.wall:
            pen.line(
                [x + w // 2, y + h // 2, x + w // 2, round(0.8 * scene.height)], (90, 90, 95), 2
            )
        picture.paste(glyphs[number], (x, y), glyphs[number])
    return add_light(picture, scene.light, rng)


def _uncovered_order(scene: Scene, masks: list[np.ndarray]) -> list[int]:
    """Return the order of painting in which every object keeps some of its own pixels."""
    order = list(range(len(masks)))
    for _ in masks:
        top = np.full((scene.height, scene.width), -1, dtype=np.int8)
        for number in order:
            x, y, w, h = scene.objects[number].box
            top[y : y + h, x : x + w][masks[number]] = number
        seen = np.bincount(top[top >= 0].astype(np.intp), minlength=len(masks))
        hidden = [n for n in order if seen[n] < _VISIBLE_PIXELS * masks[n].sum()]
        if not hidden:
            break
        order = [n for n in order if n not in hidden] + hidden
    return order
