"""Thumbnails, each once, as many as the page's budget holds."""

import base64
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from PIL import Image

from mmhash.data.picture import UnreadableError, read_picture
from mmhash.progress import track

SIDE = 160  # pixels of the longer side
QUALITY = 50  # of WebP: 2 to 5 kB a picture, no artefact that distracts at this size
KEY = 16  # characters beside a thumbnail: its id, quotation marks and the like


def thumbnail(picture: Image.Image) -> str:
    """Return a small version of an RGB picture as base64 of WebP, without the data: prefix."""
    small = picture.copy()
    small.thumbnail((SIDE, SIDE))
    held = io.BytesIO()
    small.save(held, "WEBP", quality=QUALITY, method=1)
    return base64.b64encode(held.getvalue()).decode("ascii")


def thumbnails(
    order: Iterable[int], files: Mapping[int, Path], budget: int
) -> tuple[dict[int, str], int]:
    """Return thumbnails by image id, and how many images got none for want of room.

    Images are taken in ``order``, each once, until ``budget`` characters are full: the first that
    does not fit ends it, so that the same images in the same order give the same page. Those
    without an entry in ``files`` and those that cannot be read have none and do not count.
    """
    wanted = [image for image in dict.fromkeys(order) if image in files]
    found: dict[int, str] = {}
    used = 0
    for place, image in enumerate(track(wanted, len(wanted), "thumbnails", "picture")):
        try:
            text = thumbnail(read_picture(files[image]))
        except UnreadableError:
            continue
        used += len(text) + KEY
        if used > budget:
            return found, len(wanted) - place
        found[image] = text
    return found, 0
