"""The words of the sample's captions: names of categories, verbs and places."""

import re
from collections.abc import Iterator

# category: (singular, plural) as people say it; the first pair is the most common.
NOUNS: dict[str, tuple[tuple[str, str], ...]] = {
    name: tuple((one, many) for one, many in (pair.split("/") for pair in pairs.split(", ")))
    for name, pairs in {
        "person": "person/people",  # other words depend on who it is: see PEOPLE
        "bicycle": "bicycle/bicycles, bike/bikes",
        "car": "car/cars",
        "motorcycle": "motorcycle/motorcycles, motorbike/motorbikes",
        "airplane": "airplane/airplanes, plane/planes, jet/jets",
        "bus": "bus/buses",
        "train": "train/trains",
        "truck": "truck/trucks",
        "boat": "boat/boats",
        "traffic light": "traffic light/traffic lights, traffic signal/traffic signals",
        "fire hydrant": "fire hydrant/fire hydrants, hydrant/hydrants",
        "stop sign": "stop sign/stop signs",
        "parking meter": "parking meter/parking meters",
        "bench": "bench/benches",
        "bird": "bird/birds",
        "cat": "cat/cats, kitten/kittens",
        "dog": "dog/dogs, puppy/puppies",
        "horse": "horse/horses",
        "sheep": "sheep/sheep, lamb/lambs",
        "cow": "cow/cows",
        "elephant": "elephant/elephants",
        "bear": "bear/bears",
        "zebra": "zebra/zebras",
        "giraffe": "giraffe/giraffes",
        "backpack": "backpack/backpacks",
        "umbrella": "umbrella/umbrellas",
        "handbag": "handbag/handbags, purse/purses",
        "tie": "tie/ties, necktie/neckties",
        "suitcase": "suitcase/suitcases",
        "frisbee": "frisbee/frisbees",
        "skis": "pair of skis/pairs of skis",
        "snowboard": "snowboard/snowboards",
        "sports ball": "ball/balls",
        "kite": "kite/kites",
        "baseball bat": "baseball bat/baseball bats, bat/bats",
        "baseball glove": "baseball glove/baseball gloves, baseball mitt/baseball mitts",
        "skateboard": "skateboard/skateboards",
        "surfboard": "surfboard/surfboards, surf board/surf boards",
        "tennis racket": "tennis racket/tennis rackets, racket/rackets",
        "bottle": "bottle/bottles",
        "wine glass": "wine glass/wine glasses, glass of wine/glasses of wine",
        "cup": "cup/cups, mug/mugs",
        "fork": "fork/forks",
        "knife": "knife/knives",
        "spoon": "spoon/spoons",
        "bowl": "bowl/bowls",
        "banana": "banana/bananas",
        "apple": "apple/apples",
        "sandwich": "sandwich/sandwiches",
        "orange": "orange/oranges",
        "broccoli": "piece of broccoli/pieces of broccoli, broccoli floret/broccoli florets",
        "carrot": "carrot/carrots",
        "hot dog": "hot dog/hot dogs, hotdog/hotdogs",
        "pizza": "pizza/pizzas",
        "donut": "donut/donuts, doughnut/doughnuts",
        "cake": "cake/cakes",
        "chair": "chair/chairs",
        "couch": "couch/couches, sofa/sofas",
        "potted plant": "potted plant/potted plants, plant/plants",
        "bed": "bed/beds",
        "dining table": "table/tables, dining table/dining tables",
        "toilet": "toilet/toilets",
        "tv": "tv/tvs, television/televisions",
        "laptop": "laptop/laptops, laptop computer/laptop computers",
        "mouse": "mouse/mice, computer mouse/computer mice",
        "remote": "remote/remotes, remote control/remote controls",
        "keyboard": "keyboard/keyboards",
        "cell phone": "cell phone/cell phones, phone/phones",
        "microwave": "microwave/microwaves, microwave oven/microwave ovens",
        "oven": "oven/ovens, stove/stoves",
        "toaster": "toaster/toasters",
        "sink": "sink/sinks",
        "refrigerator": "refrigerator/refrigerators, fridge/fridges",
        "book": "book/books",
        "clock": "clock/clocks",
        "vase": "vase/vases",
        "scissors": "pair of scissors/pairs of scissors",
        "teddy bear": "teddy bear/teddy bears, stuffed bear/stuffed bears",
        "hair drier": "hair dryer/hair dryers, blow dryer/blow dryers",
        "toothbrush": "toothbrush/toothbrushes",
    }.items()
}

# Who a person is; the group's words are synonyms of each other.
PEOPLE: tuple[tuple[tuple[str, str], ...], ...] = (
    (("man", "men"), ("man", "men"), ("guy", "guys"), ("person", "people")),
    (("woman", "women"), ("woman", "women"), ("lady", "ladies"), ("person", "people")),
    (("boy", "boys"), ("young boy", "young boys"), ("child", "children"), ("kid", "kids")),
    (("girl", "girls"), ("little girl", "little girls"), ("child", "children"), ("kid", "kids")),
)

# More exact words for one of a category's drawings, by its number.
LOOKS: dict[tuple[str, int], tuple[str, str]] = {
    ("sports ball", 0): ("soccer ball", "soccer balls"),
    ("sports ball", 1): ("basketball", "basketballs"),
    ("sports ball", 2): ("tennis ball", "tennis balls"),
    ("sports ball", 3): ("baseball", "baseballs"),
    ("boat", 0): ("sailboat", "sailboats"),
    ("cup", 1): ("coffee cup", "coffee cups"),
    ("banana", 1): ("bunch of bananas", "bunches of bananas"),
    ("sandwich", 0): ("burger", "burgers"),
    ("orange", 1): ("orange slice", "orange slices"),
    ("pizza", 0): ("slice of pizza", "slices of pizza"),
    ("cake", 0): ("birthday cake", "birthday cakes"),
    ("cake", 1): ("slice of cake", "slices of cake"),
    ("chair", 1): ("office chair", "office chairs"),
    ("dining table", 1): ("round table", "round tables"),
    ("book", 0): ("open book", "open books"),
    ("vase", 1): ("vase of flowers", "vases of flowers"),
    ("tv", 1): ("old television", "old televisions"),
}

# Adjectives that hold for any instance; most objects are named without one.
ADJECTIVES: dict[str, tuple[str, ...]] = {
    name: tuple(words.split("/"))
    for names, words in {
        "cat, dog, teddy bear": "cute/small",
        "sheep": "white/woolly",
        "pizza, sandwich, cake, hot dog, donut": "tasty/delicious",
        "banana, apple, orange": "fresh/ripe",
        "carrot, broccoli": "fresh/healthy",
        "car, truck, bicycle, motorcycle": "shiny/nice",
        "train, bus, airplane": "large/big",
        "elephant, bear": "large/big/huge",
        "giraffe": "tall",
        "zebra": "striped",
        "vase, cup, bowl": "small/colorful",
        "kite, umbrella, surfboard": "colorful/bright",
        "bench, dining table": "wooden",
        "laptop": "open",
    }.items()
    for name in names.split(", ")
}

_ANIMALS = "dog, cat, horse, sheep, cow, elephant, bear, zebra, giraffe"
# Participles for what a thing is doing; ("sitting", "lying") for what is not named.
VERBS: dict[str, tuple[str, ...]] = {
    name: tuple(words.split("/"))
    for names, words in {
        "person": "standing/posing/waiting",
        _ANIMALS: "standing/resting/walking around",
        "bird": "standing/perched",
        "car, truck, bus, motorcycle, bicycle": "parked/parked/stopped",
        "train": "stopped/waiting",
        "airplane": "parked/waiting",
        "boat": "floating/resting",
        "kite": "flying/flying high",
        "stop sign, traffic light, parking meter, fire hydrant": "standing/posted",
        "clock": "hanging/mounted",
        "bench, chair, couch, bed, toilet, oven, refrigerator, dining table": "standing/placed",
    }.items()
    for name in names.split(", ")
}
# What one of a category's drawings is doing, by its number.
LOOKS_VERBS: dict[tuple[str, int], tuple[str, ...]] = {
    ("person", 1): ("walking", "walking", "strolling"),
    ("bird", 1): ("flying", "flying"),
    ("cat", 0): ("sitting", "sitting"),
    ("dog", 1): ("sitting", "sitting"),
}
OTHER_VERBS = ("sitting", "lying", "placed")

# kind: (what the place is called, with preposition; the same as a noun with its article;
# what can be said of it when nothing else is there).
PLACES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "street": (
        ("on a city street", "on the street", "in the city", "along a busy road", "downtown"),
        ("a city street", "a street scene", "a quiet road"),
        ("with tall buildings", "between old buildings", "with nobody around"),
    ),
    "kitchen": (
        ("in a kitchen", "in the kitchen", "in a home kitchen", "by a kitchen counter"),
        ("a kitchen", "a small kitchen", "a clean kitchen"),
        ("with cabinets and a counter", "with an empty counter", "with wooden cabinets"),
    ),
    "restaurant": (
        ("in a restaurant", "at a cafe", "at a diner", "in the dining room"),
        ("a restaurant", "a cafe", "a dining room"),
        ("with hanging lamps", "before it opens", "with lamps on the ceiling"),
    ),
    "living room": (
        ("in a living room", "in the living room", "at home", "in a cozy room"),
        ("a living room", "a cozy living room", "a family room"),
        ("with a round rug", "with a rug on the floor", "with nothing but a rug"),
    ),
    "bedroom": (
        ("in a bedroom", "in the bedroom", "in a hotel room", "in a small bedroom"),
        ("a bedroom", "a hotel room", "a small bedroom"),
        ("with curtains on the window", "with an open window", "without any furniture"),
    ),
    "bathroom": (
        ("in a bathroom", "in the bathroom", "in a small bathroom", "in a tiled bathroom"),
        ("a bathroom", "a clean bathroom", "a small bathroom"),
        ("with tiles and a mirror", "with white tiles", "with a mirror on the wall"),
    ),
    "office": (
        ("in an office", "on a desk", "at a desk", "in a home office"),
        ("an office", "a home office", "a work space"),
        ("with an empty desk", "with a cabinet and a window", "with a bare desk"),
    ),
    "beach": (
        ("on a beach", "on the beach", "by the ocean", "at the seaside"),
        ("a beach", "a sandy beach", "an ocean shore"),
        ("with calm water", "with small waves", "with nobody in sight"),
    ),
    "snow": (
        ("in the snow", "on a snowy slope", "on a mountain", "on a snow covered hill"),
        ("a snowy slope", "a snow covered hill", "a winter landscape"),
        ("with a few trees", "with mountains behind", "with fresh snow"),
    ),
    "park": (
        ("in a park", "in the park", "on the grass", "in a grassy field"),
        ("a park", "a green park", "a grassy lawn"),
        ("with green trees", "with several trees", "with freshly cut grass"),
    ),
    "farm": (
        ("on a farm", "in a pasture", "in a green field", "near a fence"),
        ("a farm", "a green pasture", "a fenced field"),
        ("with a wooden fence", "with rolling hills", "with fences around it"),
    ),
    "savanna": (
        ("on the savanna", "in the wild", "on a dry plain", "in tall dry grass"),
        ("a dry savanna", "a grassy plain", "an open plain"),
        ("with a few trees", "with dry grass", "with nothing but grass"),
    ),
    "station": (
        ("at a station", "on the platform", "at a railway station", "beside the tracks"),
        ("a railway station", "a station platform", "a subway station"),
        ("with empty tracks", "with nobody waiting", "with a yellow line"),
    ),
    "airport": (
        ("at an airport", "on the runway", "at the airport", "on the tarmac"),
        ("an airport", "an airport runway", "an airfield"),
        ("with a terminal behind", "with an empty runway", "with a long runway"),
    ),
    "sports field": (
        ("on a field", "on a court", "at a game", "on a sports field"),
        ("a sports field", "a playing field", "a court"),
        ("with white lines", "with empty stands", "before the game"),
    ),
}

WEATHER: dict[str, tuple[str, ...]] = {
    "sunny": ("on a sunny day", "under a blue sky", "on a clear day"),
    "cloudy": ("on a cloudy day", "under a gray sky", "on an overcast day"),
    "evening": ("in the evening", "at sunset", "at dusk"),
}

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")


def _forms() -> Iterator[tuple[str, str]]:
    for name, pairs in NOUNS.items():
        for pair in pairs:
            for form in pair:
                yield form, name
    for group in PEOPLE:
        for pair in group:
            for form in pair:
                yield form, "person"
    for (name, _), pair in LOOKS.items():
        for form in pair:
            yield form, name
    yield from (("skis", "skis"), ("scissors", "scissors"), ("broccoli", "broccoli"))


_CATEGORY_OF = dict(_forms())
_FORM = re.compile(
    r"\b(?:" + "|".join(sorted(map(re.escape, _CATEGORY_OF), key=len, reverse=True)) + r")\b"
)


def named_categories(caption: str) -> set[str]:
    """Return the categories that a caption names in any of the words above.

    >>> sorted(named_categories("A guy holds a teddy bear next to two bikes."))
    ['bicycle', 'person', 'teddy bear']
    """
    return {_CATEGORY_OF[form] for form in _FORM.findall(caption.lower())}
