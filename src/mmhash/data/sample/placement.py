"""Where things stand in a picture of the sample: sizes, zones, and what goes with what."""

from typing import NamedTuple

import numpy as np

Box = tuple[int, int, int, int]  # x, y, width, height in pixels

# Longest side of an object as a fraction of the picture's mean side. True proportions are
# flattened, as in photographs: small things are photographed from near.
_SIZES: dict[float, str] = {
    0.75: "train",
    0.68: "bus, bed, dining table, giraffe",
    0.60: "truck, airplane, couch, elephant, person",
    0.52: "horse, zebra, refrigerator",
    0.46: "car, motorcycle, bicycle, cow, bear, surfboard, boat",
    0.40: "bench, oven, chair, toilet, skis, sheep, laptop",
    0.34: "umbrella, dog, cat, tv, keyboard, suitcase, pizza, snowboard, parking meter, sink, kite",
    0.29: "traffic light, stop sign, potted plant, microwave, cake, hot dog, sandwich, bottle, "
    "skateboard, tennis racket, baseball bat, fire hydrant, bowl, teddy bear, vase, toothbrush",
    0.25: "bird, backpack, toaster, hair drier, fork, knife, spoon, wine glass, banana, "
    "broccoli, carrot, scissors, handbag, donut, book, remote",
    0.21: "clock, tie, cup, frisbee, baseball glove, apple, orange, cell phone, mouse",
    0.15: "sports ball",
}
SIZES = {name: size for size, names in _SIZES.items() for name in names.split(", ")}

_WALL = {"clock", "traffic light", "stop sign"}
_SURFACE = set(
    """
    bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,
    hot dog,pizza,donut,cake,laptop,mouse,remote,keyboard,cell phone,microwave,toaster,sink,
    book,vase,scissors,hair drier,toothbrush,tv
    """.replace("\n    ", "")
    .strip()
    .split(",")
)
HORIZON = {"beach": 0.38, "snow": 0.42, "airport": 0.5, "savanna": 0.45, "farm": 0.42}
INDOOR = {"kitchen", "restaurant", "living room", "bedroom", "bathroom", "office"}
# The heights between which small things stand when there is no table to put them on.
_SURFACE_BAND = {
    "kitchen": (0.54, 0.62),
    "bathroom": (0.54, 0.62),
    "office": (0.84, 0.97),
    "restaurant": (0.84, 0.97),
}


class Relation(NamedTuple):
    """How a guest is attached to its host.

    ``word`` joins the two in a caption. The middle of the guest's lower edge lies at
    (``across`` ± ``spread``, ``down``) in fractions of the host's box.
    """

    word: str
    across: float
    spread: float
    down: float
    behind: bool = False


_RIDE = {
    "bicycle": Relation("riding", 0.5, 0.05, 0.62, behind=True),
    "motorcycle": Relation("riding", 0.45, 0.05, 0.6, behind=True),
    "horse": Relation("riding", 0.45, 0.05, 0.55, behind=True),
    "elephant": Relation("riding", 0.45, 0.1, 0.35, behind=True),
    "boat": Relation("in", 0.5, 0.2, 0.75, behind=True),
    "couch": Relation("sitting on", 0.5, 0.3, 0.95),
    "bench": Relation("sitting on", 0.5, 0.35, 1.0),
    "chair": Relation("sitting on", 0.6, 0.3, 0.95),
    "bed": Relation("lying on", 0.5, 0.3, 0.8),
}
_CARRIED = {
    "tie": Relation("wearing", 0.5, 0.0, 0.62),
    "backpack": Relation("wearing", 0.15, 0.1, 0.66),
    "baseball glove": Relation("wearing", 1.0, 0.1, 0.62),
    "handbag": Relation("carrying", 1.0, 0.1, 0.8),
    "suitcase": Relation("pulling", 1.25, 0.1, 1.0),
    "umbrella": Relation("holding", 0.7, 0.15, 0.45),
    "baseball bat": Relation("swinging", 1.1, 0.1, 0.5),
    "tennis racket": Relation("holding", 1.1, 0.1, 0.65),
    "surfboard": Relation("carrying", 1.15, 0.1, 0.95),
    "skis": Relation("holding", 1.15, 0.1, 1.02),
    "snowboard": Relation("riding", 0.5, 0.1, 1.1),
    "skateboard": Relation("riding", 0.5, 0.1, 1.12),
    "frisbee": Relation("holding", 1.1, 0.15, 0.5),
    "cell phone": Relation("holding", 1.0, 0.1, 0.55),
    "remote": Relation("holding", 1.0, 0.1, 0.6),
    "book": Relation("reading", 0.8, 0.15, 0.72),
    "teddy bear": Relation("holding", 0.9, 0.15, 0.75),
    "hot dog": Relation("eating", 0.9, 0.1, 0.5),
    "sandwich": Relation("eating", 0.9, 0.1, 0.5),
    "donut": Relation("eating", 0.9, 0.1, 0.5),
    "toothbrush": Relation("using", 0.9, 0.1, 0.4),
    "hair drier": Relation("using", 1.0, 0.1, 0.4),
    "cup": Relation("holding", 1.0, 0.1, 0.6),
    "wine glass": Relation("holding", 1.0, 0.1, 0.6),
}
_LAID = {
    "cat": ("couch", "bed", "bench", "chair"),
    "dog": ("couch", "bed"),
    "teddy bear": ("couch", "bed", "chair", "bench"),
    "book": ("couch", "bed"),
    "laptop": ("couch", "bed"),
    "remote": ("couch", "bed"),
    "suitcase": ("bed",),
    "backpack": ("bed", "bench", "couch"),
    "handbag": ("bed", "bench", "couch"),
    "tie": ("bed",),
    "hair drier": ("bed",),
    "cell phone": ("bed", "couch"),
}
# (guest, host) -> how the guest is attached.
RELATIONS: dict[tuple[str, str], Relation] = {
    **{("person", host): relation for host, relation in _RIDE.items()},
    **{(guest, "person"): relation for guest, relation in _CARRIED.items()},
    **{(guest, host): Relation("on", 0.5, 0.35, 0.72) for guest in _LAID for host in _LAID[guest]},
    **{(guest, "dining table"): Relation("on", 0.5, 0.42, 0.3) for guest in sorted(_SURFACE)},
    ("potted plant", "dining table"): Relation("on", 0.5, 0.4, 0.25),
}


def placing_rank(name: str) -> int:
    """Return 0 for what may carry a person, 1 for a person or a table, 2 for anything else."""
    if ("person", name) in RELATIONS:
        return 0
    return 1 if name in ("person", "dining table") else 2


def horizon(kind: str) -> float:
    """Return where floor or ground begin, as a fraction of the height."""
    return HORIZON.get(kind, 0.66 if kind in INDOOR else 0.5)


def free_position(
    rng: np.random.Generator,
    kind: str,
    name: str,
    size: tuple[int, int],
    picture: tuple[int, int],
    depth: float,
) -> tuple[Box, float]:
    """Place an object that stands by itself; return its box and its rank from back to front.

    ``size`` and ``picture`` are (width, height); ``depth`` runs from 0 (far) to 1 (near).
    """
    width, height = picture
    ground = horizon(kind)
    in_sky = name == "kite" or (name in ("airplane", "bird") and depth > 0.5)
    if kind not in INDOOR and in_sky:
        low, high, layer = 0.15, ground * 0.85, 0
    elif name in _WALL:
        low, high, layer = 0.2, 0.55, 0
    elif name in _SURFACE:
        low, high = _SURFACE_BAND.get(kind, (max(0.78, ground), 0.97))
        layer = 2
    elif name == "boat" and kind == "beach":
        low, high, layer = ground + 0.04, ground + 0.2, 0
    elif kind in ("office", "restaurant"):
        low, high, layer = ground + 0.06, 0.84, 1
    else:
        low, high, layer = ground + 0.1, 0.98, 1
    bottom = (low + (high - low) * depth) * height
    return place(rng.uniform(0, width), bottom, size, picture), layer * 1000 + bottom


def attached_position(
    rng: np.random.Generator,
    relation: Relation,
    host: Box,
    size: tuple[int, int],
    picture: tuple[int, int],
) -> Box:
    """Place a guest of ``size`` at its host's box."""
    x, y, w, h = host
    across = relation.across + rng.uniform(-relation.spread, relation.spread)
    if relation.across > 0.5 and rng.random() < 0.5:
        across = 1 - across
    return place(x + across * w, y + relation.down * h, size, picture)


def place(middle: float, bottom: float, size: tuple[int, int], picture: tuple[int, int]) -> Box:
    """Return the box of ``size`` standing at (``middle``, ``bottom``), moved inside the picture."""
    w, h = size
    x = round(min(max(middle - w / 2, 0), picture[0] - w))
    y = round(min(max(bottom - h, 0), picture[1] - h))
    return x, y, w, h


def visible_fractions(boxes: list[Box], picture: tuple[int, int]) -> np.ndarray:
    """Return for each box, listed back to front, the fraction that later boxes leave free."""
    top = np.full((picture[1], picture[0]), -1, dtype=np.int8)
    for number, (x, y, w, h) in enumerate(boxes):
        top[y : y + h, x : x + w] = number
    seen = np.bincount(top[top >= 0].astype(np.intp), minlength=len(boxes))
    return np.array([count / (w * h) for count, (_, _, w, h) in zip(seen, boxes, strict=True)])
