"""Captions of the sample's scenes, as different people would write them.

Every caption names only what is there and mostly not all of it: large objects and people are
mentioned more often than small ones.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mmhash.data.sample.placement import INDOOR
from mmhash.data.sample.scene import Placed, Scene
from mmhash.data.sample.words import (
    ADJECTIVES,
    LOOKS,
    LOOKS_VERBS,
    NOUNS,
    NUMBERS,
    OTHER_VERBS,
    PEOPLE,
    PLACES,
    VERBS,
    WEATHER,
)

_MOST_NAMED = 4
_HERDS = {"person", "sheep", "cow", "zebra", "elephant", "horse", "giraffe", "bird", "dog"}


class _Group(NamedTuple):
    """All objects of one category in a scene, the largest first."""

    name: str
    members: tuple[Placed, ...]
    salience: float


def describe(scene: Scene, rng: np.random.Generator, count: int) -> list[str]:
    """Write ``count`` captions of ``scene`` that differ in wording.

    A caption names no category that is absent. A scene without objects gets captions about the
    place.
    """
    groups = _groups(scene)
    captions: list[str] = []
    while len(captions) < count:
        words = _sentence(scene, rng, groups)
        if words.casefold() in (caption.casefold().rstrip(".") for caption in captions):
            continue
        captions.append(_finish(words, rng))
    return captions


def _finish(words: str, rng: np.random.Generator) -> str:
    """Give a sentence its capital and full stop, as most writers of captions do."""
    style = rng.random()
    if style < 0.1:
        return words
    words = words[0].upper() + words[1:]
    return words if style < 0.2 else words + "."


def _groups(scene: Scene) -> list[_Group]:
    """Return the scene's categories with their chance of being mentioned, highest first."""
    groups = []
    for name in sorted(scene.names):
        members = [thing for thing in scene.objects if thing.name == name]
        members.sort(key=lambda thing: -thing.box[2] * thing.box[3])
        area = sum(thing.box[2] * thing.box[3] for thing in members)
        share = area / (scene.width * scene.height)
        salience = 0.2 + 1.1 * min(share, 0.4) ** 0.7 + (0.25 if name == "person" else 0.0)
        groups.append(_Group(name, tuple(members), min(salience, 0.95)))
    return sorted(groups, key=lambda group: -group.salience)


def _mentioned(groups: list[_Group], rng: np.random.Generator) -> list[_Group]:
    """Choose what one writer mentions: at least one category, most salient first."""
    chosen = [group for group in groups if rng.random() < group.salience]
    if not chosen:
        weights = np.array([group.salience for group in groups])
        chosen = [groups[rng.choice(len(groups), p=weights / weights.sum())]]
    if len(chosen) > _MOST_NAMED:
        kept = sorted(rng.choice(len(chosen), _MOST_NAMED, replace=False))
        chosen = [chosen[i] for i in kept]
    if len(chosen) > 1 and rng.random() < 0.25:
        chosen[0], chosen[1] = chosen[1], chosen[0]
    return chosen


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def with_article(noun: str) -> str:
    """Put "a" or "an" before a noun phrase by its first letter.

    >>> with_article("umbrella"), with_article("wine glass")
    ('an umbrella', 'a wine glass')
    """
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def _noun(members: Sequence[Placed], rng: np.random.Generator) -> tuple[str, str]:
    """Choose singular and plural for objects of one category."""
    name = members[0].name
    if name == "person":
        families = {_family(thing) for thing in members}
        if len(families) > 1:
            return ("person", "people")
        pairs = PEOPLE[families.pop()]
        return pairs[rng.integers(len(pairs))]
    looks = {thing.drawing for thing in members}
    if len(looks) == 1 and (name, min(looks)) in LOOKS and rng.random() < 0.5:
        return LOOKS[name, min(looks)]
    pairs = NOUNS[name]
    return pairs[0 if rng.random() < 0.55 else rng.integers(len(pairs))]


def _family(person: Placed) -> int:
    """Return who a person is, a place in ``PEOPLE``: the third drawing wears a dress."""
    return 2 * person.is_child + (person.drawing == 2)


def _phrase(members: Sequence[Placed], rng: np.random.Generator) -> str:
    """Return a noun phrase for objects of one category: "a dog", "two bikes", "some people"."""
    name, number = members[0].name, len(members)
    one, many = _noun(members, rng)
    if name in ADJECTIVES and " of " not in one and rng.random() < 0.25:
        adjective = _pick(rng, ADJECTIVES[name])
        if not one.startswith(("young", "little", "old ", "open ", "round ")):
            one, many = f"{adjective} {one}", f"{adjective} {many}"
    if name in ("skis", "scissors", "broccoli") and rng.random() < 0.4:
        return f"some {name}"
    if number == 1:
        return with_article(one)
    if name == "person" and number == 2 and one == "person" and rng.random() < 0.5:
        first, second = (PEOPLE[_family(thing)][0][0] for thing in members)
        return f"{with_article(first)} and {with_article(second)}"
    if number == 2:
        pair_of = "two" if " of " in one else _pick(rng, ("two", "two", "a couple of"))
        return f"{pair_of} {many}"
    if name in _HERDS and rng.random() < 0.4:
        return f"a group of {many}"
    return f"{_pick(rng, (NUMBERS[number], NUMBERS[number], 'several', 'some', 'a few'))} {many}"


def _is_plural(phrase: str) -> bool:
    return (
        not phrase.startswith(("a ", "an "))
        or phrase.startswith(("a few ", "a couple "))
        or (" and " in phrase)
    )


def _joined(phrases: Sequence[str]) -> str:
    """Join noun phrases with commas and "and"."""
    if len(phrases) == 1:
        return phrases[0]
    return ", ".join(phrases[:-1]) + " and " + phrases[-1]


def _place(scene: Scene, rng: np.random.Generator) -> str:
    """Return where the scene is, sometimes with the weather or the colour of the walls."""
    words = _pick(rng, PLACES[scene.kind][0])
    roll = rng.random()
    if scene.kind in INDOOR:
        if roll < 0.15 and "desk" not in words and "home" not in words and "counter" not in words:
            return f"{words} with {scene.wall} walls"
        return words
    return f"{words} {_pick(rng, WEATHER[scene.light])}" if roll < 0.2 else words


def _empty_scene(scene: Scene, rng: np.random.Generator) -> str:
    """Describe a place without objects."""
    _, nouns, details = PLACES[scene.kind]
    noun = _pick(rng, nouns)
    extra = [_pick(rng, details)]
    if scene.kind in INDOOR:
        extra.append(f"with {scene.wall} walls")
    else:
        extra.append(_pick(rng, WEATHER[scene.light]))
    ending = _pick(rng, [*extra, extra[0]])
    return _pick(
        rng,
        (
            f"{noun} {ending}",
            f"a picture of {noun} {ending}",
            f"an empty {noun.split(' ', 1)[1]} {ending}",
            f"there is nobody here, only {noun} {ending}",
            f"a view of {noun} {ending}",
        ),
    )


def _related(mentioned: list[_Group], rng: np.random.Generator) -> tuple[str, list[_Group]] | None:
    """Return "a man riding a bike" and the two groups, where two mentioned ones are attached."""
    by_name = {group.name: group for group in mentioned}
    pairs = [
        (thing, by_name[thing.host])
        for group in mentioned
        for thing in group.members
        if thing.host in by_name
    ]
    if not pairs:
        return None
    guest, host_group = pairs[rng.integers(len(pairs))]
    guest_group = by_name[guest.name]
    if guest.host == "person":  # "a man holding a cup", not "a cup holding a man"
        subject, object_ = host_group, guest_group
    else:
        subject, object_ = guest_group, host_group
    together = len(subject.members) > 1 and len(object_.members) > 1
    object_members = object_.members if together else object_.members[:1]
    subject_members = subject.members if together else subject.members[:1]
    if guest.host == "dining table":
        on_table = [thing for thing in subject.members if thing.host == "dining table"]
        subject_members = tuple(on_table)
        object_members = object_.members[:1]
    phrase = f"{_phrase(subject_members, rng)} {guest.relation} {_phrase(object_members, rng)}"
    return phrase, [subject, object_]


def _beside(first: Placed, second: Placed, rng: np.random.Generator) -> str:
    """Return how ``first`` lies to ``second`` in the picture."""
    (x, y, w, h), (a, b, c, d) = first.box, second.box
    if first.name in ("kite", "airplane", "bird", "clock", "traffic light") and y + h < b + 0.2 * d:
        return "above"
    if x < a + c and a < x + w and abs((y + h) - (b + d)) > 6:
        return "in front of" if y + h > b + d else "behind"
    if rng.random() < 0.2:
        return "to the left of" if x + w / 2 < a + c / 2 else "to the right of"
    return _pick(rng, ("next to", "next to", "beside", "near", "by"))


def _sentence(scene: Scene, rng: np.random.Generator, groups: list[_Group]) -> str:
    """Write one caption without its capital and full stop."""
    if not groups:
        return _empty_scene(scene, rng)
    mentioned = _mentioned(groups, rng)
    related = _related(mentioned, rng)
    place = _place(scene, rng)
    if related is not None and rng.random() < 0.75:
        lead, used = related
        rest = [group for group in mentioned if group not in used]
        return _with_lead(lead, [_phrase(group.members, rng) for group in rest], place, rng)
    phrases = [_phrase(group.members, rng) for group in mentioned]
    if len(mentioned) == 1:
        return _of_one(mentioned[0], phrases[0], place, rng)
    return _of_several(scene, mentioned, phrases, place, rng)


def _with_lead(lead: str, rest: list[str], place: str, rng: np.random.Generator) -> str:
    if not rest:
        patterns = [
            f"{lead} {place}",
            f"{lead}",
            f"{_pick(rng, ('a photo of', 'a picture of', 'there is'))} {lead} {place}",
        ]
        if lead.startswith(("a couple", "a few")) or not lead.startswith(("a ", "an ")):
            patterns[2] = (
                f"{_pick(rng, ('a photo of', 'a picture of', 'there are'))} {lead} {place}"
            )
        return _pick(rng, patterns)
    others = _joined(rest)
    return _pick(
        rng,
        (
            f"{lead} {place} with {others}",
            f"{lead} {place} near {others}",
            f"{lead} next to {others}",
            f"{lead} with {others} in the background",
            f"{lead} and {others} nearby",
        ),
    )


def _verb(group: _Group, rng: np.random.Generator) -> str:
    """Return what the objects of a group are doing."""
    looks = {(thing.name, thing.drawing) for thing in group.members}
    if len(looks) == 1 and min(looks) in LOOKS_VERBS:
        return _pick(rng, LOOKS_VERBS[min(looks)])
    return _pick(rng, VERBS.get(group.name, OTHER_VERBS))


def _of_one(group: _Group, phrase: str, place: str, rng: np.random.Generator) -> str:
    be = "are" if _is_plural(phrase) else "is"
    verb = _verb(group, rng)
    return _pick(
        rng,
        (
            f"{phrase} {place}",
            f"{phrase} {verb} {place}",
            f"{phrase} {verb} {place}",
            f"{phrase} {be} {verb} {place}",
            f"there {be} {phrase} {place}",
            f"{_pick(rng, ('a photo of', 'a picture of', 'a close up of'))} {phrase} {place}",
            f"a view of {phrase}",
        ),
    )


def _of_several(
    scene: Scene, mentioned: list[_Group], phrases: list[str], place: str, rng: np.random.Generator
) -> str:
    first, rest = phrases[0], phrases[1:]
    verb = _verb(mentioned[0], rng)
    be = "are" if _is_plural(first) else "is"
    relation = _beside(mentioned[0].members[0], mentioned[1].members[0], rng)
    patterns: list[Callable[[], str]] = [
        lambda: f"{_joined(phrases)} {place}",
        lambda: f"{first} {verb} {place} with {_joined(rest)}",
        lambda: f"{first} {be} {verb} {place} near {_joined(rest)}",
        lambda: f"there {be} {_joined(phrases)} {place}",
        lambda: f"{_pick(rng, PLACES[scene.kind][1])} with {_joined(phrases)}",
        lambda: f"{_pick(rng, PLACES[scene.kind][1])} that has {_joined(phrases)} in it",
        lambda: f"{first} {place}, with {_joined(rest)} nearby",
        lambda: f"a picture of {_joined(phrases)}",
    ]
    if len(rest) == 1:
        patterns += [
            lambda: f"{first} {relation} {rest[0]}",
            lambda: f"{first} {relation} {rest[0]} {place}",
            lambda: f"{first} {verb} {relation} {rest[0]}",
        ]
    else:
        patterns += [
            lambda: f"{first} {relation} {rest[0]} with {_joined(rest[1:])} {place}",
            lambda: f"{first} {verb} {relation} {rest[0]} and {_joined(rest[1:])}",
        ]
    return patterns[rng.integers(len(patterns))]()
