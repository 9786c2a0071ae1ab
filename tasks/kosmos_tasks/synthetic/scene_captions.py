"""Reference captions of scenes: the synthetic split of the captioning task (COCO captions)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

from kosmos_eval.source import Row
from kosmos_tasks.synthetic.recipe import Split, cell
from kosmos_tasks.synthetic.scenes import Scene, Thing, draw, scenes

REFERENCES = 5

SYNONYMS = {"large": ("large", "large", "big"), "small": ("small", "small", "little", "tiny")}

ONE = (
    "{a}",
    "there is {a}",
    "just {a}",
    "only {a}",
    "{a} and nothing else",
    "{a} alone",
    "{a} by itself",
    "{a} on a {ground} background",
)
ROW_OF_TWO = (
    "{a} to the left of {b}",
    "{b} to the right of {a}",
    "{a} left of {b}",
    "{a} with {b} on its right",
    "{b} with {a} on its left",
    "{a} on the left and {b} on the right",
    "on the left {a}, on the right {b}",
    "there is {a} to the left of {b}",
)
COLUMN_OF_TWO = (
    "{a} above {b}",
    "{b} below {a}",
    "{a} over {b}",
    "{b} under {a}",
    "{b} underneath {a}",
    "{a} with {b} below it",
    "{a} at the top and {b} at the bottom",
    "there is {a} above {b}",
)
ROW_OF_THREE = (
    "{a}, {b} and {c} in a row",
    "{a}, {b} and {c} from left to right",
    "three shapes in a row: {a}, {b} and {c}",
    "{b} between {a} on the left and {c} on the right",
    "{a} to the left of {b}, which is to the left of {c}",
    "on the left {a}, in the middle {b} and on the right {c}",
    "there is {a}, then {b}, then {c} on the right",
)
COLUMN_OF_THREE = (
    "{a}, {b} and {c} in a column",
    "{a}, {b} and {c} from top to bottom",
    "three shapes in a column: {a}, {b} and {c}",
    "{b} between {a} above and {c} below",
    "{a} above {b}, which is above {c}",
    "at the top {a}, in the middle {b} and at the bottom {c}",
    "there is {a}, then {b}, then {c} at the bottom",
)
CORNER = (
    "{near} {above} {single} and to the {side} of {far}",
    "{single} {below} {near}, which is to the {side} of {far}",
    "{near} to the {side} of {far}, with {single} {below} {the_near}",
    "{far} on the {other} side of {near}, and {single} {below} {the_near}",
    "three shapes: {near} to the {side} of {far}, and {single} {below} {the_near}",
    "{single} {below} {near}, and {far} to the {other} of {the_near}",
    "there is {near} {above} {single}, with {far} on its {other}",
)
SQUARE = (
    "{a} and {b} above {c} and {d}",
    "{c} and {d} below {a} and {b}",
    "{a} and {c} to the left of {b} and {d}",
    "four shapes: {a} and {b} at the top, {c} and {d} at the bottom",
    "at the top {a} and {b}, at the bottom {c} and {d}",
    "on the left {a} above {c}, on the right {b} above {d}",
    "there are {a} and {b} over {c} and {d}",
)

PATTERNS = {
    (1, 1, 1): ONE,
    (2, 1, 2): ROW_OF_TWO,
    (1, 2, 2): COLUMN_OF_TWO,
    (3, 1, 3): ROW_OF_THREE,
    (1, 3, 3): COLUMN_OF_THREE,
    (2, 2, 3): CORNER,
    (2, 2, 4): SQUARE,
}
"""Patterns by columns, rows and number of things; the first one is the plainest. Each tells what stands where."""


def corner(scene: Scene) -> tuple[dict[str, Thing], dict[str, str]]:
    """Return roles and words for three things in a square: ``near`` has ``single`` above or below, ``far`` beside."""
    rows = [[thing for thing in scene.things if thing.row == row] for row in (0, 1)]
    (single,), pair = sorted(rows, key=len)
    near = next(thing for thing in pair if thing.column == single.column)
    far = next(thing for thing in pair if thing is not near)
    words = {
        "the_near": f"the {near.color} {near.kind}",
        "above": "above" if near.row < single.row else "below",
        "below": "below" if near.row < single.row else "above",
        "side": "left" if near.column < far.column else "right",
        "other": "right" if near.column < far.column else "left",
    }
    return {"near": near, "far": far, "single": single}, words


def phrase(thing: Thing, size: str) -> str:
    """Return a thing with its article.

    >>> phrase(Thing("star", "orange", "small", 0, 0, 0, 0), "")
    'an orange star'
    """
    words = " ".join(word for word in (size, thing.color, thing.kind) if word)
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def caption(scene: Scene, pattern: str, *, sized: bool, rng: random.Random | None = None) -> str:
    """Return a caption of a scene.

    Args:
        scene: what is described.
        pattern: one of its layout's patterns.
        sized: whether the sizes are told.
        rng: chooses among synonyms; the plainest word without it.
    """
    roles, words = dict(zip("abcd", scene.things, strict=False)), {"ground": scene.ground}
    if (scene.columns, scene.rows, len(scene.things)) == (2, 2, 3):
        roles, words = corner(scene)
    sizes = {
        role: (rng.choice(SYNONYMS[thing.size]) if rng else thing.size) if sized else ""
        for role, thing in roles.items()
    }
    return pattern.format(**{role: phrase(thing, sizes[role]) for role, thing in roles.items()}, **words)


def references(scene: Scene, rng: random.Random) -> list[str]:
    """Return five different captions; the first is the plainest, and most tell the sizes."""
    patterns = PATTERNS[scene.columns, scene.rows, len(scene.things)]
    found = [caption(scene, patterns[0], sized=True)]
    while len(found) < REFERENCES:
        another = caption(scene, rng.choice(patterns), sized=rng.random() < 0.8, rng=rng)
        if another not in found:
            found.append(another)
    return found


def captions(split: Split, count: int | None = None, seed: int = 0) -> Iterator[Row]:
    """Yield pictures of scenes with five references: ``id``, ``image``, ``captions``; endless without ``count``."""
    for identity, scene in islice(scenes(split, seed), count):
        rng = random.Random(f"captions/{identity}")
        yield {"id": identity, "image": cell(draw(scene)), "captions": references(scene, rng)}
