"""Pictograms of the 80 COCO categories, drawn by code: every call gives another instance."""

import numpy as np
from PIL import Image

from mmhash.data.sample import (
    glyphs_animals,
    glyphs_belongings,
    glyphs_electronics,
    glyphs_food,
    glyphs_home,
    glyphs_kitchen,
    glyphs_people_vehicles,
)
from mmhash.data.sample.categories import CATEGORY_IDS
from mmhash.data.sample.glyphs_drawing import Drawing, parse_art, render

__all__ = ["CATEGORY_IDS", "DRAWINGS", "glyph"]

_PAGES = (
    glyphs_people_vehicles,
    glyphs_animals,
    glyphs_belongings,
    glyphs_kitchen,
    glyphs_food,
    glyphs_home,
    glyphs_electronics,
)

DRAWINGS: dict[str, list[Drawing]] = {
    name: drawings for page in _PAGES for name, drawings in parse_art(page.ART).items()
}


def glyph(name: str, size: int, rng: np.random.Generator) -> Image.Image:
    """Draw an instance of a COCO category.

    ``name`` is a key of ``CATEGORY_IDS``; ``size`` is the longest side of the picture in pixels;
    ``rng`` chooses the drawing where a category has several (a standing or a walking person), its
    colours, small changes of shape and the mirror image. Returns an RGBA picture, transparent
    round the object and cropped to it. The same generator state gives the same picture.
    Raises KeyError for a name that is not a category.
    """
    drawings = DRAWINGS[name]
    return render(drawings[rng.integers(len(drawings))], size, rng)
