from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhash.data.sample.glyphs import DRAWINGS, glyph
from mmhash.data.sample.glyphs_drawing import render
from mmhash.data.sample.labels import CATEGORY_NAMES, KINDS, MAX_OBJECTS
from mmhash.data.sample.placement import RELATIONS, SIZES, place, visible_fractions
from mmhash.data.sample.scene import Placed, Scene, paint, random_scene

SEEDS = st.integers(0, 2**32)


def scene_of(seed: int, required=()) -> Scene:
    return random_scene(np.random.default_rng(seed), required)


@given(SEEDS)
@settings(max_examples=60)
def test_boxes_lie_inside_the_picture(seed):
    scene = scene_of(seed)
    assert len(scene.objects) <= MAX_OBJECTS
    for thing in scene.objects:
        x, y, w, h = thing.box
        assert x >= 0
        assert y >= 0
        assert w > 0
        assert h > 0
        assert x + w <= scene.width
        assert y + h <= scene.height


@given(SEEDS)
@settings(max_examples=25)
def test_boxes_are_tight(seed):
    for thing in scene_of(seed).objects:
        image = glyph(
            thing.name, max(thing.box[2:]), np.random.Generator(np.random.PCG64(thing.seed))
        )
        assert image.size == thing.box[2:]


@given(SEEDS)
@settings(max_examples=25)
def test_no_object_is_completely_hidden(seed):
    scene = scene_of(seed)
    whole = np.asarray(paint(scene, np.random.default_rng(seed)), dtype=int)
    for number in range(len(scene.objects)):
        objects = scene.objects[:number] + scene.objects[number + 1 :]
        rest = paint(replace(scene, objects=objects), np.random.default_rng(seed))
        changed = np.abs(whole - np.asarray(rest, dtype=int)).max(axis=2) > 8
        assert changed.sum() >= 6


def test_a_small_object_under_a_large_one_comes_to_the_front():
    small = Placed("apple", (70, 60, 0, 0), 1)
    large = Placed("elephant", (30, 20, 0, 0), 2)
    boxed = []
    for thing, longest in ((small, 16), (large, 100)):
        size = glyph(thing.name, longest, np.random.Generator(np.random.PCG64(thing.seed))).size
        boxed.append(replace(thing, box=(*thing.box[:2], *size)))
    scene = Scene("savanna", 160, 120, "sunny", "", tuple(boxed))
    alone = replace(scene, objects=scene.objects[1:])
    both, one = (np.asarray(paint(s, np.random.default_rng(0)), dtype=int) for s in (scene, alone))
    assert (np.abs(both - one).max(axis=2) > 8).sum() > 60


def test_the_same_generator_paints_the_same_picture():
    def draw() -> bytes:
        rng = np.random.default_rng(5)
        return paint(random_scene(rng), rng).tobytes()

    assert draw() == draw()


def test_pictures_are_rgb_of_the_stated_size_in_several_shapes():
    shapes = set()
    for seed in range(25):
        scene = scene_of(seed)
        image = paint(scene, np.random.default_rng(seed))
        assert image.mode == "RGB"
        assert image.size == (scene.width, scene.height)
        shapes.add(np.sign(scene.width - scene.height))
    assert shapes == {-1, 0, 1}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_backdrop_of_its_own(kind):
    indoors = kind in {"kitchen", "restaurant", "living room", "bedroom", "bathroom", "office"}
    scene = Scene(kind, 120, 100, "dim" if indoors else "sunny", "blue" if indoors else "", ())
    pixels = np.asarray(paint(scene, np.random.default_rng(0)), dtype=float)
    assert pixels.std(axis=(0, 1)).max() > 12


def test_required_categories_occur():
    assert {"zebra", "toaster"} <= scene_of(3, ["zebra", "toaster"]).names


def test_every_category_has_a_size_and_relations_name_categories():
    assert set(SIZES) == set(CATEGORY_NAMES)
    assert {name for pair in RELATIONS for name in pair} <= set(CATEGORY_NAMES)


def test_a_relation_holds_between_objects_that_are_near():
    for seed in range(60):
        scene = scene_of(seed)
        for thing in scene.objects:
            if thing.host:
                hosts = [other for other in scene.objects if other.name == thing.host]
                assert hosts
                x = thing.box[0] + thing.box[2] / 2
                gaps = [
                    max(h.box[0] - x, x - h.box[0] - h.box[2], 0) / (h.box[2] + thing.box[2])
                    for h in hosts
                ]
                assert min(gaps) < 1


def test_the_drawing_number_is_the_one_that_the_glyph_shows():
    for seed in range(6):
        thing = Placed("person", (0, 0, 1, 1), seed)
        rng = np.random.Generator(np.random.PCG64(seed))
        expected = glyph("person", 40, np.random.Generator(np.random.PCG64(seed)))
        rng.integers(len(DRAWINGS["person"]))
        assert render(DRAWINGS["person"][thing.drawing], 40, rng).tobytes() == expected.tobytes()


def test_visible_fractions_of_overlapping_boxes():
    seen = visible_fractions([(0, 0, 10, 10), (5, 0, 10, 10), (0, 5, 15, 5)], (20, 20))
    np.testing.assert_allclose(seen, [0.25, 0.5, 1.0])


@given(st.floats(-50, 250), st.floats(-50, 250), st.integers(1, 100), st.integers(1, 100))
def test_an_object_is_moved_inside_the_picture(middle, bottom, w, h):
    x, y, *_ = place(middle, bottom, (w, h), (160, 120))
    assert 0 <= x <= 160 - w
    assert 0 <= y <= 120 - h
