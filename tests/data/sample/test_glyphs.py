import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmhash.data.sample.categories import CATEGORY_IDS
from mmhash.data.sample.glyphs import DRAWINGS, glyph
from mmhash.data.sample.glyphs_drawing import parse_art, render

NAMES = list(CATEGORY_IDS)
# The identifiers that MS-COCO left out of 1..90.
GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture)


def test_category_ids_equal_those_of_coco() -> None:
    assert list(CATEGORY_IDS.values()) == sorted(set(range(1, 91)) - GAPS)
    landmarks = {
        "person": 1, "fire hydrant": 11, "stop sign": 13, "giraffe": 25, "backpack": 27,
        "umbrella": 28, "handbag": 31, "bottle": 44, "wine glass": 46, "bed": 65,
        "dining table": 67, "toilet": 70, "tv": 72, "refrigerator": 82, "book": 84,
        "hair drier": 89, "toothbrush": 90,
    }  # fmt: skip
    assert {name: CATEGORY_IDS[name] for name in landmarks} == landmarks


def test_every_category_has_a_drawing_and_nothing_else_has() -> None:
    assert set(DRAWINGS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_glyph_fills_its_side_and_shows_ink_on_a_transparent_ground(name: str) -> None:
    picture = glyph(name, 48, np.random.default_rng(0))
    assert picture.mode == "RGBA"
    assert max(picture.size) == 48
    alpha = pixels(picture)[..., 3] / 255.0
    assert 0.15 < alpha.mean() < 0.998
    # The crop is tight: ink reaches all four edges.
    assert min(alpha[0].max(), alpha[-1].max(), alpha[:, 0].max(), alpha[:, -1].max()) > 0.0


@pytest.mark.parametrize("name", NAMES)
def test_corners_are_not_opaque(name: str) -> None:
    for seed in range(4):
        alpha = pixels(glyph(name, 96, np.random.default_rng(seed)))[..., 3]
        corners = np.array([alpha[0, 0], alpha[0, -1], alpha[-1, 0], alpha[-1, -1]])
        assert (corners == 0).sum() >= 2
        assert (corners < 255).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_aspect_ratio_is_the_stated_one(name: str) -> None:
    for drawing in DRAWINGS[name]:
        assert max(drawing.width, drawing.height) == 100
        pictures = [render(drawing, 120, np.random.default_rng(seed)) for seed in range(8)]
        ratios = [picture.width / picture.height for picture in pictures]
        assert np.mean(ratios) == pytest.approx(drawing.width / drawing.height, rel=0.08)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_generator_state_gives_the_same_picture(name: str) -> None:
    first, second = (glyph(name, 40, np.random.default_rng(7)) for _ in range(2))
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_gives_another_picture(name: str) -> None:
    pictures = {glyph(name, 40, np.random.default_rng(seed)).tobytes() for seed in range(6)}
    assert len(pictures) == 6


def test_what_has_writing_is_never_mirrored() -> None:
    fixed = {name for name in NAMES if not all(drawing.mirrors for drawing in DRAWINGS[name])}
    assert {"stop sign", "clock"} <= fixed
    assert "dog" not in fixed


def test_a_mirrored_instance_is_the_mirror_image_of_the_other() -> None:
    arrow = "arrow 100x40\n  poly red 0 16 60 16 60 0 100 20 60 40 60 24 0 24"
    facing_right = []
    for seed in range(20):
        picture = render(parse_art(arrow)["arrow"][0], 60, np.random.default_rng(seed))
        ink_by_column = pixels(picture)[..., 3].sum(axis=0)
        facing_right.append(ink_by_column[30:].sum() > ink_by_column[:30].sum())
    assert 0 < sum(facing_right) < 20
    fixed = parse_art(arrow.replace("x40", "x40 fixed"))["arrow"][0]
    for seed in range(20):
        ink = pixels(render(fixed, 60, np.random.default_rng(seed)))[..., 3].sum(axis=0)
        assert ink[30:].sum() > ink[:30].sum()


@settings(max_examples=60)
@given(
    name=st.sampled_from(NAMES),
    size=st.integers(min_value=8, max_value=240),
    seed=st.integers(min_value=0, max_value=2**32),
)
def test_the_longest_side_is_the_size_asked_for(name: str, size: int, seed: int) -> None:
    picture = glyph(name, size, np.random.default_rng(seed))
    assert max(picture.size) == size
    assert pixels(picture)[..., 3].max() > 0


@settings(max_examples=40)
@given(name=st.sampled_from(NAMES), seed=st.integers(min_value=0, max_value=2**32))
def test_edges_are_smooth(name: str, seed: int) -> None:
    alpha = pixels(glyph(name, 48, np.random.default_rng(seed)))[..., 3]
    assert ((alpha > 0) & (alpha < 255)).any()


def test_colours_of_a_part_come_from_its_palette() -> None:
    art = "plate 100x100\n  glaze = red blue\n  disc glaze 50 50 50"
    drawing = parse_art(art)["plate"][0]
    reddish = []
    for seed in range(16):
        red, _, blue, alpha = pixels(render(drawing, 32, np.random.default_rng(seed)))[16, 16]
        assert alpha == 255
        assert abs(int(red) - int(blue)) > 90
        reddish.append(bool(red > blue))
    assert set(reddish) == {True, False}


def test_clear_cuts_a_hole() -> None:
    drawing = parse_art("ring 100x100\n  disc red 50 50 50\n  disc clear 50 50 30")["ring"][0]
    alpha = pixels(render(drawing, 40, np.random.default_rng(1)))[..., 3]
    assert alpha[20, 20] == 0
    assert alpha[20, 3] == 255


@pytest.mark.parametrize(
    ("line", "message"),
    [("star red 1 2 3", "no such shape: star red"), ("disc ultraviolet 1 2 3", "no such colour")],
)
def test_a_mistake_in_the_art_is_named(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_art(f"thing 100x100\n  {line}")


def test_an_unknown_category_is_refused() -> None:
    with pytest.raises(KeyError, match="unicorn"):
        glyph("unicorn", 32, np.random.default_rng(0))
