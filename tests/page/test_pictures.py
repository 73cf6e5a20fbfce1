import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from mmhash.page.pictures import KEY, SIDE, thumbnail, thumbnails


def files(folder: Path, count: int) -> dict[int, Path]:
    rng = np.random.default_rng(0)
    made = {}
    for image in range(count):
        made[image] = folder / f"{image}.png"
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(made[image])
    return made


def test_a_thumbnail_is_small_webp_of_the_same_shape() -> None:
    text = thumbnail(Image.new("RGB", (1000, 500), "red"))
    with Image.open(io.BytesIO(base64.b64decode(text))) as small:
        assert small.format == "WEBP"
        assert small.size == (SIDE, SIDE // 2)
    with Image.open(io.BytesIO(base64.b64decode(thumbnail(Image.new("RGB", (9, 7)))))) as same:
        assert same.size == (9, 7)


def test_pictures_are_taken_in_order_until_the_budget_is_full(tmp_path: Path) -> None:
    made = files(tmp_path, 6)
    whole, left_out = thumbnails([5, 1, 5, 0, 2, 99], made, 10**6)
    assert list(whole) == [5, 1, 0, 2]
    assert left_out == 0
    budget = sum(len(whole[image]) + KEY for image in (5, 1))
    some, left_out = thumbnails([5, 1, 5, 0, 2], made, budget)
    assert some == {image: whole[image] for image in (5, 1)}
    assert left_out == 2


def test_unreadable_pictures_have_none(tmp_path: Path) -> None:
    made = files(tmp_path, 2)
    made[0].write_text("not a picture")
    made[7] = tmp_path / "gone.png"
    found, left_out = thumbnails([0, 1, 7], made, 10**6)
    assert list(found) == [1]
    assert left_out == 0
