"""Which categories a picture of the sample shows: kinds of scenes, a long tail, co-occurrence.

A picture has a kind (street, kitchen, ...). ``SCENES`` says how often each category occurs in
pictures of each kind; categories that belong together (fork and dining table, surfboard and
person) do so because they share kinds. Nothing here paints.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

MAX_OBJECTS = 8
EMPTY_CHANCE = 0.01
STRAY_CHANCE = 0.03  # one more category, out of its usual scene
MISPLACED_CHANCE = 0.08  # a required category in a kind of scene where it is not expected

# kind: (percent of all pictures, {category: percent of all pictures that are of this kind and
# show the category}). A category's own frequency is the sum over its rows.
SCENES: dict[str, tuple[float, dict[str, float]]] = {
    "street": (
        14,
        {
            **{"person": 7.6, "car": 6.5, "truck": 2.8, "traffic light": 2.8, "bus": 2.4},
            **{"motorcycle": 2.2, "bicycle": 2.1, "handbag": 1.8, "stop sign": 1.6},
            **{"fire hydrant": 1.6, "backpack": 1.5, "umbrella": 1.4, "parking meter": 1.4},
            **{"bench": 0.9, "skateboard": 0.7, "dog": 0.6, "cell phone": 0.5, "clock": 0.4},
            **{"hot dog": 0.3, "tie": 0.3, "suitcase": 0.3, "potted plant": 0.3, "bird": 0.3},
        },
    ),
    "kitchen": (
        10,
        {
            **{"oven": 3.1, "sink": 2.9, "refrigerator": 2.7, "bottle": 2.3, "cup": 2.2},
            **{"bowl": 2.2, "microwave": 2.1, "person": 1.8, "toaster": 1.5, "knife": 1.4},
            **{"spoon": 1.2, "chair": 1.1, "dining table": 1.0, "banana": 1.1, "apple": 0.9},
            **{"orange": 0.8, "broccoli": 0.8, "carrot": 0.8, "potted plant": 0.5, "clock": 0.5},
            **{"wine glass": 0.4, "cake": 0.4, "sandwich": 0.3, "vase": 0.3, "book": 0.3},
            **{"donut": 0.3, "cat": 0.2},
        },
    ),
    "restaurant": (
        10,
        {
            **{"dining table": 6.5, "person": 3.8, "chair": 2.8, "cup": 2.6, "fork": 2.4},
            **{"pizza": 2.1, "wine glass": 2.0, "bottle": 1.9, "bowl": 1.7, "knife": 1.6},
            **{"sandwich": 1.5, "spoon": 1.2, "cake": 1.3, "donut": 1.2, "hot dog": 1.1},
            **{"broccoli": 0.9, "carrot": 0.9, "orange": 0.6, "apple": 0.5, "banana": 0.4},
            **{"vase": 0.4, "cell phone": 0.4, "potted plant": 0.2},
        },
    ),
    "living room": (
        9,
        {
            **{"couch": 3.9, "person": 3.4, "tv": 3.1, "chair": 2.0, "remote": 1.6},
            **{"book": 1.6, "potted plant": 1.6, "cat": 1.5, "dog": 0.9, "laptop": 0.9},
            **{"vase": 1.0, "dining table": 0.9, "clock": 0.7, "cup": 0.6, "teddy bear": 0.5},
            **{"cell phone": 0.4, "bottle": 0.3, "wine glass": 0.3, "suitcase": 0.2},
            **{"scissors": 0.2, "umbrella": 0.1},
        },
    ),
    "bedroom": (
        6,
        {
            **{"bed": 5.2, "person": 1.2, "teddy bear": 1.1, "book": 1.0, "cat": 0.9},
            **{"chair": 0.8, "laptop": 0.7, "suitcase": 0.6, "dog": 0.5, "tv": 0.5},
            **{"clock": 0.5, "hair drier": 0.5, "tie": 0.4, "backpack": 0.4, "remote": 0.3},
            **{"handbag": 0.3, "cell phone": 0.3, "vase": 0.3, "potted plant": 0.4},
        },
    ),
    "bathroom": (
        6,
        {
            **{"toilet": 4.2, "sink": 3.6, "toothbrush": 1.6, "hair drier": 1.1, "bottle": 0.9},
            **{"person": 0.8, "cup": 0.6, "scissors": 0.4, "vase": 0.4, "potted plant": 0.4},
            **{"cat": 0.3, "book": 0.2, "clock": 0.2, "cell phone": 0.2},
        },
    ),
    "office": (
        6,
        {
            **{"person": 2.6, "keyboard": 2.4, "mouse": 2.1, "laptop": 2.0, "chair": 1.9},
            **{"book": 1.3, "tv": 1.2, "cup": 1.2, "tie": 1.2, "cell phone": 1.0},
            **{"scissors": 1.0, "potted plant": 0.6, "clock": 0.5, "bottle": 0.5},
            **{"backpack": 0.3, "remote": 0.2, "vase": 0.1},
        },
    ),
    "beach": (
        6,
        {
            **{"person": 4.4, "surfboard": 2.6, "boat": 2.4, "umbrella": 1.2, "bird": 1.1},
            **{"kite": 1.0, "dog": 0.6, "chair": 0.6, "frisbee": 0.4, "sports ball": 0.4},
            **{"handbag": 0.3, "bench": 0.3, "backpack": 0.2},
        },
    ),
    "snow": (
        5,
        {
            **{"person": 4.3, "skis": 2.7, "snowboard": 1.8, "backpack": 1.1, "bear": 0.5},
            **{"dog": 0.5, "bench": 0.3, "truck": 0.3, "bird": 0.3, "car": 0.3},
        },
    ),
    "park": (
        8,
        {
            **{"person": 4.8, "dog": 2.0, "bench": 2.0, "frisbee": 1.6, "kite": 1.5},
            **{"bicycle": 1.2, "bird": 1.2, "skateboard": 1.2, "sports ball": 0.8},
            **{"backpack": 0.7, "umbrella": 0.6, "handbag": 0.5, "horse": 0.4, "cat": 0.3},
            **{"book": 0.3, "teddy bear": 0.2, "fire hydrant": 0.2, "motorcycle": 0.2},
            **{"bear": 0.2, "boat": 0.2, "cell phone": 0.2, "cake": 0.2, "apple": 0.2},
        },
    ),
    "farm": (
        5,
        {
            **{"cow": 2.1, "sheep": 1.9, "horse": 1.8, "person": 1.3, "truck": 0.8},
            **{"dog": 0.7, "bird": 0.7, "car": 0.3, "cat": 0.3, "apple": 0.3, "bench": 0.2},
            **{"bicycle": 0.2, "carrot": 0.2},
        },
    ),
    "savanna": (
        4,
        {
            **{"elephant": 1.9, "giraffe": 1.9, "zebra": 1.8, "bear": 0.9, "bird": 0.7},
            **{"person": 0.4, "truck": 0.3, "car": 0.2},
        },
    ),
    "station": (
        4,
        {
            **{"train": 3.0, "person": 2.0, "suitcase": 0.9, "clock": 0.9, "bench": 0.8},
            **{"handbag": 0.8, "backpack": 0.7, "traffic light": 0.4, "bicycle": 0.3},
            **{"cell phone": 0.3, "umbrella": 0.2, "tie": 0.2},
        },
    ),
    "airport": (
        2,
        {
            **{"airplane": 1.8, "person": 0.7, "truck": 0.5, "suitcase": 0.4, "car": 0.3},
            **{"bus": 0.3, "backpack": 0.2},
        },
    ),
    "sports field": (
        5,
        {
            **{"person": 4.6, "sports ball": 1.9, "tennis racket": 1.7, "baseball bat": 1.7},
            **{"baseball glove": 1.6, "bench": 0.7, "bottle": 0.4, "frisbee": 0.4},
            **{"chair": 0.4, "backpack": 0.3},
        },
    ),
}

KINDS = tuple(SCENES)
CATEGORY_NAMES = tuple(sorted({name for _, row in SCENES.values() for name in row}))

# Chance of one more of the same, again and again; 0.06 for a category not named.
_SEVERAL: dict[str, float] = {
    **{"person": 0.3, "sheep": 0.55, "cow": 0.4, "zebra": 0.4, "elephant": 0.35, "bird": 0.35},
    **{"giraffe": 0.3, "horse": 0.25, "book": 0.4, "donut": 0.45, "car": 0.3, "chair": 0.3},
    **{"banana": 0.25, "apple": 0.35, "orange": 0.35, "carrot": 0.3, "cup": 0.2, "bottle": 0.25},
    **{"wine glass": 0.25, "boat": 0.3, "kite": 0.25, "umbrella": 0.2, "suitcase": 0.25},
    **{"dog": 0.15, "cat": 0.15, "bowl": 0.15, "traffic light": 0.25, "teddy bear": 0.2},
    **{"motorcycle": 0.2, "bicycle": 0.2, "surfboard": 0.2, "vase": 0.2, "broccoli": 0.2},
    **{"truck": 0.1, "bus": 0.1, "hot dog": 0.25, "sandwich": 0.2, "bench": 0.15},
}


def frequency(name: str) -> float:
    """Return the fraction of pictures that ``name`` is meant to occur in, strays apart."""
    return sum(row.get(name, 0.0) for _, row in SCENES.values()) / 100


def random_content(
    rng: np.random.Generator, required: Sequence[str] = ()
) -> tuple[str, Counter[str]]:
    """Draw a kind of scene and its categories, every one of ``required`` among them."""
    kind = random_kind(rng, required)
    return kind, random_labels(rng, kind, required)


def random_kind(rng: np.random.Generator, required: Sequence[str] = ()) -> str:
    """Draw a kind of scene, mostly one in which the first ``required`` category is at home."""
    weights = np.array([weight for weight, _ in SCENES.values()])
    if required and rng.random() >= MISPLACED_CHANCE:
        weights = np.array([row.get(required[0], 0.0) for _, row in SCENES.values()])
    return KINDS[rng.choice(len(KINDS), p=weights / weights.sum())]


def random_labels(
    rng: np.random.Generator, kind: str, required: Sequence[str] = ()
) -> Counter[str]:
    """Draw the categories of a picture of ``kind`` and how many of each: 0 to 8 objects.

    Every category in ``required`` is among them. Without ``required`` about 1 % of the draws are
    empty. Raises ValueError when ``required`` holds more than eight categories.
    """
    if len(set(required)) > MAX_OBJECTS:
        raise ValueError(f"at most {MAX_OBJECTS} categories can be required, got {required}")
    if not required and rng.random() < EMPTY_CHANCE:
        return Counter()
    weight, row = SCENES[kind]
    names = list(row)
    chances = np.array([row[name] for name in names]) / weight
    chosen = list(dict.fromkeys(required))
    while True:
        drawn = [names[i] for i in np.flatnonzero(rng.random(len(names)) < chances)]
        if drawn or chosen:
            break
    if rng.random() < STRAY_CHANCE:
        drawn.append(CATEGORY_NAMES[rng.integers(len(CATEGORY_NAMES))])
    rng.shuffle(drawn)
    chosen = list(dict.fromkeys(chosen + drawn))[:MAX_OBJECTS]
    labels = Counter(chosen)
    for name in chosen:
        while labels.total() < MAX_OBJECTS and rng.random() < _SEVERAL.get(name, 0.06):
            labels[name] += 1
    return labels
