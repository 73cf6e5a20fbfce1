"""The 80 object categories of MS-COCO with their identifiers.

The identifiers run from 1 to 90 with ten gaps, because the data set was planned with 91 categories
and annotated with 80 (Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014).
"""

_NAMES = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, "
    "fire hydrant, -, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, "
    "elephant, bear, zebra, giraffe, -, backpack, umbrella, -, -, handbag, tie, suitcase, "
    "frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, -, wine glass, cup, fork, knife, spoon, bowl, banana, "
    "apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, "
    "potted plant, bed, -, dining table, -, -, toilet, -, tv, laptop, mouse, remote, keyboard, "
    "cell phone, microwave, oven, toaster, sink, refrigerator, -, book, clock, vase, scissors, "
    "teddy bear, hair drier, toothbrush"
)

CATEGORY_IDS: dict[str, int] = {
    name: identifier for identifier, name in enumerate(_NAMES.split(", "), start=1) if name != "-"
}
