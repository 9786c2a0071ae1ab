"""Invented names for things never seen: episodes that only their demonstrations can answer (n ways, k shots)."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from typing import TYPE_CHECKING

from kosmos_eval.source import Row
from kosmos_tasks.synthetic.recipe import Split, cell, side, stream

if TYPE_CHECKING:
    from PIL import Image

ROUNDS = 8
"""Times that an episode shows each of its names."""

SIDE = 96
SCALE = 4
"""Width and height of an image in pixels, and how many times as large it is drawn."""

Point = tuple[float, float]

OUTLINES = 10_000
COLORS = {
    "red": (214, 40, 40),
    "orange": (247, 140, 20),
    "yellow": (235, 200, 20),
    "green": (50, 150, 70),
    "teal": (30, 160, 165),
    "blue": (45, 85, 200),
    "purple": (130, 60, 170),
    "pink": (240, 125, 180),
    "brown": (130, 85, 50),
    "black": (35, 35, 35),
}
PATTERNS = ("plain", "stripes", "bars", "dots", "core")

STARTS = "bdfgklmnprtvz"
VOWELS = "aeiou"
MIDDLES = ("kv", "vz", "zv", "pz", "kz", "vd", "zg", "vg", "zb", "vk", "fz", "pv")
"""Pairs of consonants that English words do not have between two short syllables."""
ENDS = "bdfgklmnptx"


@dataclass(frozen=True)
class Thing:
    """Something never seen: an outline of ``OUTLINES``, its color, and a pattern in a second color."""

    outline: int
    color: str
    pattern: str
    second: str


@dataclass(frozen=True)
class View:
    """One sight of a thing: shift from the middle (pixels), size (percent) and turn (degrees)."""

    dx: int
    dy: int
    percent: int
    degrees: int


@dataclass(frozen=True)
class Episode:
    """Things with their names; what is shown (index of the thing, view), ending with the query."""

    things: tuple[Thing, ...]
    names: tuple[str, ...]
    shown: tuple[tuple[int, View], ...]


def invent(rng: random.Random) -> str:
    """Return a name of six letters that can be spoken and is no English word, such as "tavzog"."""
    return "".join(map(rng.choice, (STARTS, VOWELS, MIDDLES, VOWELS, ENDS)))


def conceive(rng: random.Random) -> Thing:
    """Return a thing of any side."""
    color, second = rng.sample(sorted(COLORS), 2)
    return Thing(rng.randrange(OUTLINES), color, rng.choice(PATTERNS), second)


def look(rng: random.Random) -> View:
    """Return a view of a thing, which always stays inside the picture."""
    return View(rng.randint(-8, 8), rng.randint(-8, 8), rng.randint(75, 100), rng.randint(-20, 20))


def sample(rng: random.Random, split: Split, ways: int) -> Episode:
    """Draw an episode of new things of one side, told apart by outline and by color."""
    names: dict[str, None] = {}
    while len(names) < ways:
        name = invent(rng)
        if side(name) == split:
            names[name] = None
    things: list[Thing] = []
    while len(things) < ways:
        thing = conceive(rng)
        alike = any(thing.outline == other.outline or thing.color == other.color for other in things)
        if side(thing.outline) == split and not alike:
            things.append(thing)
    order = [index for _ in range(ROUNDS) for index in rng.sample(range(ways), ways)] + [rng.randrange(ways)]
    views: dict[View, None] = {}
    while len(views) < len(order):
        views[look(rng)] = None
    return Episode(tuple(things), tuple(names), tuple(zip(order, views, strict=True)))


def episodes(split: Split, seed: int = 0, *, ways: int = 2) -> Iterator[tuple[str, Episode]]:
    """Yield all different episodes of one side, without end, as (id, episode)."""
    draws = partial(sample, split=split, ways=ways)
    return stream(f"new_words/{ways}", split, seed, draw=draws, content=lambda episode: episode.names[0])


def blob(rng: random.Random) -> list[Point]:
    """Return a smooth closed curve about the origin, at most 1 away from it."""
    waves = [(k, rng.uniform(0.1, 0.55) / k**0.5, rng.uniform(0, math.tau)) for k in rng.sample(range(2, 7), 2)]
    turns = [math.tau * step / 64 for step in range(64)]
    radii = [1 + sum(height * math.cos(k * turn + phase) for k, height, phase in waves) for turn in turns]
    return [(r / max(radii) * math.cos(t), r / max(radii) * math.sin(t)) for r, t in zip(radii, turns, strict=True)]


def shard(rng: random.Random) -> list[Point]:
    """Return a polygon of five to nine corners about the origin, some of them far out."""
    number = rng.randint(5, 9)
    radii = [rng.uniform(0.75, 1) if index % 2 else rng.uniform(0.25, 0.8) for index in range(number)]
    turns = [math.tau * (index + rng.uniform(-0.25, 0.25)) / number for index in range(number)]
    return [(r * math.cos(t), r * math.sin(t)) for r, t in zip(radii, turns, strict=True)]


def mirrored(rng: random.Random) -> list[Point]:
    """Return a figure like a vase or a beetle, the same on both sides."""
    number = rng.randint(4, 7)
    heights = [-1 + 2 * index / (number - 1) for index in range(number)]
    widths = [rng.uniform(0.12, 1) * math.sqrt(1.02 - height**2) for height in heights]
    right = list(zip(widths, heights, strict=True))
    return right + [(-x, y) for x, y in reversed(right)]


@lru_cache(1000)
def outline(number: int) -> list[Point]:
    """The corners of an outline, in a circle of radius 1 about the origin."""
    rng = random.Random(f"outline/{number}")
    return rng.choice((blob, shard, mirrored))(rng)


def placed(corners: list[Point], view: View, share: float = 1.0) -> list[tuple[int, int]]:
    """Return corners as whole pixels of the large picture."""
    radius = share * view.percent / 100 * 36 * SCALE
    cos, sin = math.cos(math.radians(view.degrees)), math.sin(math.radians(view.degrees))
    left, top = (SIDE // 2 + view.dx) * SCALE, (SIDE // 2 + view.dy) * SCALE
    return [(round(left + radius * (x * cos - y * sin)), round(top + radius * (x * sin + y * cos))) for x, y in corners]


def draw(thing: Thing, view: View) -> Image.Image:
    """Return the picture of a thing, 96 x 96 RGB."""
    from PIL import Image, ImageDraw

    size = SIDE * SCALE
    corners = outline(thing.outline)
    skin = Image.new("RGB", (size, size), COLORS[thing.color])
    pen, second = ImageDraw.Draw(skin), COLORS[thing.second]
    gap = 12 * SCALE
    for start in range(0, size, gap):
        if thing.pattern == "stripes":
            pen.rectangle((0, start, size, start + gap // 2), fill=second)
        elif thing.pattern == "bars":
            pen.rectangle((start, 0, start + gap // 2, size), fill=second)
        elif thing.pattern == "dots":
            for left in range(0, size, gap):
                pen.ellipse((left, start, left + gap // 2, start + gap // 2), fill=second)
    if thing.pattern == "core":
        pen.polygon(placed(corners, view, 0.5), fill=second)
    shape = Image.new("L", (size, size), 0)
    ImageDraw.Draw(shape).polygon(placed(corners, view), fill=255)
    ground = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    ground.paste(skin.reduce(SCALE), mask=shape.reduce(SCALE))
    return ground


def rows(split: Split, count: int | None = None, seed: int = 0, *, ways: int = 2) -> Iterator[Row]:
    """Yield episodes of ``ways`` new things, endless without ``count``; the sides share no name and no outline.

    Yields:
        ``id``, ``names``, ``demonstrations`` (``image``, ``name``; eight rounds, each shows each name once), ``image``
        (the query's) and ``name`` (what it is called).
    """
    for identity, episode in islice(episodes(split, seed, ways=ways), count):
        *shown, asked = [
            {"image": cell(draw(episode.things[index], view)), "name": episode.names[index]}
            for index, view in episode.shown
        ]
        yield {"id": identity, "names": list(episode.names), "demonstrations": shown, **asked}
