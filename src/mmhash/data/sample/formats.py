"""The sample in COCO's annotation format and in the format of Karpathy's split.

References: Lin et al., "Microsoft COCO: Common Objects in Context" (ECCV 2014); Karpathy and
Fei-Fei, "Deep Visual-Semantic Alignments for Generating Image Descriptions" (CVPR 2015).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmhash.data.sample.categories import CATEGORY_IDS
from mmhash.data.sample.scene import Scene

_SUPERCATEGORIES: dict[str, tuple[int, int]] = {  # first and last category identifier
    "person": (1, 1),
    "vehicle": (2, 9),
    "outdoor": (10, 15),
    "animal": (16, 25),
    "accessory": (27, 33),
    "sports": (34, 43),
    "kitchen": (44, 51),
    "food": (52, 61),
    "furniture": (62, 70),
    "electronic": (72, 77),
    "appliance": (78, 82),
    "indoor": (84, 90),
}
_INFO = {
    "description": "mmhash sample: pictures drawn by code in the layout of COCO 2014",
    "version": "1.0",
    "year": 2014,
}
_LICENSES = [{"id": 1, "name": "drawn by code, no photograph", "url": ""}]


@dataclass(frozen=True)
class Annotated:
    """One picture of the sample with everything that the JSON files say about it."""

    image_id: int
    split: str
    folder: str
    scene: Scene
    captions: tuple[str, ...]

    @property
    def file_name(self) -> str:
        """The picture's name in COCO's manner."""
        return picture_name(self.folder, self.image_id)


def picture_name(folder: str, image_id: int) -> str:
    """Return the file name of a picture in ``folder`` (train2014 or val2014)."""
    return f"COCO_{folder}_{image_id:012d}.jpg"


def instances(pictures: Sequence[Annotated], folder: str) -> dict[str, Any]:
    """Return the content of ``instances_<folder>.json``.

    Boxes are [x, y, width, height] in pixels; the segmentation is the box as a polygon.
    Identifiers of annotations run through both folders.
    """
    annotations = []
    number = 0
    for picture in pictures:
        for thing in picture.scene.objects:
            number += 1
            if picture.folder != folder:
                continue
            x, y, w, h = map(float, thing.box)
            annotations.append(
                {
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                    "area": w * h,
                    "iscrowd": 0,
                    "image_id": picture.image_id,
                    "bbox": [x, y, w, h],
                    "category_id": CATEGORY_IDS[thing.name],
                    "id": number,
                }
            )
    return {
        "info": _INFO,
        "licenses": _LICENSES,
        "images": _images(pictures, folder),
        "annotations": annotations,
        "categories": categories(),
    }


def captions(pictures: Sequence[Annotated], folder: str) -> dict[str, Any]:
    """Return the content of ``captions_<folder>.json``."""
    return {
        "info": _INFO,
        "licenses": _LICENSES,
        "images": _images(pictures, folder),
        "annotations": [
            {"image_id": picture.image_id, "id": number, "caption": words}
            for picture, number, words in _numbered(pictures)
            if picture.folder == folder
        ],
    }


def karpathy(pictures: Sequence[Annotated]) -> dict[str, Any]:
    """Return the content of ``dataset_coco.json``: every picture with its split and sentences."""
    sentences: dict[int, list[dict[str, Any]]] = {picture.image_id: [] for picture in pictures}
    order = {picture.image_id: number for number, picture in enumerate(pictures)}
    for picture, number, words in _numbered(pictures):
        sentences[picture.image_id].append(
            {
                "tokens": re.findall(r"[a-z0-9']+", words.lower()),
                "raw": words,
                "imgid": order[picture.image_id],
                "sentid": number,
            }
        )
    return {
        "images": [
            {
                "filepath": picture.folder,
                "sentids": [sentence["sentid"] for sentence in sentences[picture.image_id]],
                "filename": picture.file_name,
                "imgid": number,
                "split": picture.split,
                "sentences": sentences[picture.image_id],
                "cocoid": picture.image_id,
            }
            for number, picture in enumerate(pictures)
        ],
        "dataset": "coco",
    }


def categories() -> list[dict[str, Any]]:
    """Return COCO's 80 categories with their supercategories, in the order of identifiers."""
    return [
        {
            "supercategory": next(
                group for group, (low, high) in _SUPERCATEGORIES.items() if low <= number <= high
            ),
            "id": number,
            "name": name,
        }
        for name, number in CATEGORY_IDS.items()
    ]


def _images(pictures: Sequence[Annotated], folder: str) -> list[dict[str, Any]]:
    return [
        {
            "license": 1,
            "file_name": picture.file_name,
            "height": picture.scene.height,
            "width": picture.scene.width,
            "id": picture.image_id,
        }
        for picture in pictures
        if picture.folder == folder
    ]


def _numbered(pictures: Sequence[Annotated]) -> list[tuple[Annotated, int, str]]:
    """Return (picture, number of the sentence from 1, sentence) over all pictures."""
    pairs = [(picture, words) for picture in pictures for words in picture.captions]
    return [(picture, number, words) for number, (picture, words) in enumerate(pairs, start=1)]
