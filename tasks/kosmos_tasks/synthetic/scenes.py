"""Scenes: one to four coloured shapes, in a row, a column or a square, on a plain ground.

The synthetic splits of the captioning and question tasks draw them (``scene_captions``, ``scene_questions``).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal

from kosmos_tasks.synthetic.recipe import Split, stream
from kosmos_tasks.synthetic.shapes import mask

if TYPE_CHECKING:
    from PIL import Image

Color = tuple[int, int, int]

SIDE = 96
"""Width and height of a scene, in pixels."""

KINDS = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "diamond")
COLORS: dict[str, Color] = {
    "red": (220, 30, 35),
    "orange": (250, 135, 10),
    "yellow": (240, 205, 0),
    "green": (30, 150, 60),
    "blue": (35, 85, 215),
    "purple": (125, 45, 165),
    "pink": (250, 130, 185),
    "black": (25, 25, 25),
}
SIZES = {"small": 15, "large": 28}
GROUNDS: dict[str, Color] = {"white": (255, 255, 255), "gray": (222, 224, 228), "beige": (246, 236, 216)}
LAYOUTS = ((1, 1, 1), (2, 1, 2), (1, 2, 2), (3, 1, 3), (1, 3, 3), (2, 2, 3), (2, 2, 4))
"""Columns, rows and how many things stand in their cells."""


@dataclass(frozen=True)
class Thing:
    """A shape in a cell of a scene; ``dx`` and ``dy`` shift it from the middle of the cell, in pixels."""

    kind: str
    color: str
    size: Literal["small", "large"]
    column: int
    row: int
    dx: int
    dy: int


@dataclass(frozen=True)
class Scene:
    """One to four things, no two of the same kind and color, in reading order."""

    columns: int
    rows: int
    things: tuple[Thing, ...]
    ground: str

    def at(self, column: int, row: int) -> Thing | None:
        """Return the thing in a cell."""
        return next((thing for thing in self.things if (thing.column, thing.row) == (column, row)), None)


def content(scene: Scene) -> object:
    """Return what train and test never share: kinds and colors by place. Sizes, shifts and ground do not count."""
    return scene.columns, scene.rows, [(thing.kind, thing.color, thing.column, thing.row) for thing in scene.things]


def sample(rng: random.Random) -> Scene:
    """Draw a scene; in some all things share a color or a kind, so that both must be looked at."""
    columns, rows, number = rng.choice(LAYOUTS)
    while True:
        colors = rng.sample(sorted(COLORS), rng.choice((1, 2, 8)))
        kinds = rng.sample(KINDS, rng.choice((1, 2, 8)))
        looks = list(product(colors, kinds))
        if len(looks) >= number:
            break
    cells = sorted(rng.sample([(row, column) for row in range(rows) for column in range(columns)], number))
    things = []
    for (row, column), (color, kind) in zip(cells, rng.sample(looks, number), strict=True):
        size: Literal["small", "large"] = rng.choice(("small", "large"))
        roomy = 30 if number == 1 else 9
        right = min(roomy, (SIDE // columns - SIZES[size]) // 2 - 2)
        down = min(roomy, (SIDE // rows - SIZES[size]) // 2 - 2)
        dx, dy = rng.randint(-right, right), rng.randint(-down, down)
        things.append(Thing(kind, color, size, column, row, dx, dy))
    return Scene(columns, rows, tuple(things), rng.choice(sorted(GROUNDS)))


def scenes(split: Split, seed: int = 0) -> Iterator[tuple[str, Scene]]:
    """Yield all different scenes of one side, without end, as (id, scene)."""
    return stream("scenes", split, seed, draw=sample, content=content)


def draw(scene: Scene) -> Image.Image:
    """Return the picture of a scene, 96 x 96 RGB."""
    from PIL import Image

    image = Image.new("RGB", (SIDE, SIDE), GROUNDS[scene.ground])
    for thing in scene.things:
        shape = mask(thing.kind, SIZES[thing.size])
        left = (2 * thing.column + 1) * SIDE // (2 * scene.columns) + thing.dx - shape.width // 2
        top = (2 * thing.row + 1) * SIDE // (2 * scene.rows) + thing.dy - shape.height // 2
        image.paste(COLORS[thing.color], (left, top), shape)
    return image
