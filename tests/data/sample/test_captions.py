import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhash.data.sample.captions import describe, with_article
from mmhash.data.sample.labels import CATEGORY_NAMES, KINDS
from mmhash.data.sample.placement import INDOOR
from mmhash.data.sample.scene import Placed, Scene, random_scene
from mmhash.data.sample.words import (
    ADJECTIVES,
    NOUNS,
    PLACES,
    VERBS,
    WEATHER,
    named_categories,
)


def corpus(count: int) -> list[tuple[Scene, list[str]]]:
    scenes = [random_scene(np.random.default_rng(seed)) for seed in range(count)]
    return [(scene, describe(scene, np.random.default_rng(7), 5)) for scene in scenes]


@pytest.fixture(scope="module")
def described() -> list[tuple[Scene, list[str]]]:
    return corpus(300)


@given(st.integers(0, 2**32), st.sampled_from(CATEGORY_NAMES))
@settings(max_examples=60)
def test_a_caption_names_no_absent_category(seed, name):
    scene = random_scene(np.random.default_rng(seed), [name])
    for caption in describe(scene, np.random.default_rng(seed), 6):
        assert named_categories(caption) <= scene.names
        assert named_categories(caption)


def test_captions_leave_something_out_but_not_most(described):
    shares = [
        len(named_categories(caption)) / len(scene.names)
        for scene, captions in described
        if scene.names
        for caption in captions
    ]
    assert 0.52 < np.mean(shares) < 0.68


def test_large_things_are_mentioned_more_often_than_small_ones(described):
    counts = {True: [0, 0], False: [0, 0]}
    for scene, captions in described:
        if len(scene.objects) < 2:
            continue
        for thing in scene.objects:
            large = thing.box[2] * thing.box[3] > 0.12 * scene.width * scene.height
            counts[large][0] += sum(thing.name in named_categories(c) for c in captions)
            counts[large][1] += len(captions)
    assert counts[True][0] / counts[True][1] > 1.2 * counts[False][0] / counts[False][1]


def test_captions_of_a_picture_differ(described):
    for _, captions in described:
        bare = {caption.casefold().rstrip(".") for caption in captions}
        assert len(bare) == len(captions) == 5


def test_synonyms_are_used(described):
    words = " ".join(caption.lower() for _, captions in described for caption in captions)
    for synonym in ("bike", "sofa", "man", "woman", "puppy", "mug", "two"):
        assert re.search(rf"\b{synonym}\b", words)


def test_articles_fit_the_next_word(described):
    for _, captions in described:
        for caption in captions:
            assert not re.search(r"\ba [aeio]", caption.lower()), caption
            assert not re.search(r"\ban [^aeiou]", caption.lower()), caption
            assert not re.search(r"\b(\w+) \1\b", caption.lower()), caption


def test_captions_end_like_sentences(described):
    for _, captions in described:
        for caption in captions:
            assert caption == caption.strip()
            assert "  " not in caption
            assert not re.search(r"[{}\[\]]|\.\.|,\.", caption)


def test_a_scene_without_objects_is_described_by_its_place():
    for kind in KINDS:
        indoor = kind in INDOOR
        scene = Scene(kind, 100, 80, "dim" if indoor else "sunny", "blue" if indoor else "", ())
        captions = describe(scene, np.random.default_rng(0), 6)
        assert len(set(captions)) == 6
        assert all(not named_categories(caption) for caption in captions)


def test_numbers_and_plurals_follow_the_objects():
    def cows(count: int) -> Scene:
        things = tuple(Placed("cow", (10 + 20 * i, 50, 18, 14), i) for i in range(count))
        return Scene("farm", 160, 120, "sunny", "", things)

    one = " ".join(describe(cows(1), np.random.default_rng(0), 8)).lower()
    five = " ".join(describe(cows(5), np.random.default_rng(0), 8)).lower()
    assert "cows" not in one
    assert not re.search(r"\bcow\b", five)
    assert re.search(r"\b(five|several|some|a few|group of) (\w+ )?cows\b", five)


def test_a_relation_is_told_the_right_way_round():
    person = Placed("person", (60, 20, 30, 70), 1)
    tie = Placed("tie", (70, 45, 6, 18), 2, "wearing", "person")
    scene = Scene("office", 160, 120, "bright", "white", (person, tie))
    captions = describe(scene, np.random.default_rng(0), 30)
    assert any(" wearing a " in caption for caption in captions)
    assert not any(re.search(r"tie wearing", caption) for caption in captions)


def test_the_same_generator_writes_the_same_captions():
    scene = random_scene(np.random.default_rng(11))
    first, second = (describe(scene, np.random.default_rng(3), 6) for _ in range(2))
    assert first == second


def test_every_category_has_words_that_name_it_alone():
    assert set(NOUNS) == set(CATEGORY_NAMES)
    assert set(ADJECTIVES) | set(VERBS) <= set(CATEGORY_NAMES)
    for name, pairs in NOUNS.items():
        for one, many in pairs:
            assert named_categories(f"there is {with_article(one)} and three {many}") == {name}


def test_words_of_places_name_no_category():
    for phrases in PLACES.values():
        for group in phrases:
            for phrase in group:
                assert not named_categories(phrase), phrase
    assert set(PLACES) == set(KINDS)
    assert all(not named_categories(p) for group in WEATHER.values() for p in group)


@pytest.mark.parametrize(
    ("caption", "names"),
    [
        ("A teddy bear and a hot dog", {"teddy bear", "hot dog"}),
        ("Three carrots near a bedroom", {"carrot"}),
        ("Two guys with a remote control.", {"person", "remote"}),
        ("Some scissors and baseballs", {"scissors", "sports ball"}),
        ("a baseball bat", {"baseball bat"}),
    ],
)
def test_named_categories_reads_whole_words_longest_first(caption, names):
    assert named_categories(caption) == names
