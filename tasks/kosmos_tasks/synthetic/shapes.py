"""Shapes as antialiased masks, exact on every machine: drawn large with whole numbers, then averaged in blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

SCALE = 8
"""A mask is drawn so many times as large as it is used."""

Point = tuple[int, int]


def polygon(size: int, corners: Sequence[tuple[float, float]]) -> list[Point]:
    """Return whole-numbered corners in a square of ``size`` from corners in the unit square."""
    return [(round(x * (size - 1)), round(y * (size - 1))) for x, y in corners]


def regular(corners: int, inner: float | None = None, turn: float = 0.0) -> list[tuple[float, float]]:
    """Return corners of a regular polygon in the unit square; of a star if ``inner`` gives its dents' radius."""
    steps = corners if inner is None else 2 * corners
    radii = [0.5 if inner is None or step % 2 == 0 else 0.5 * inner for step in range(steps)]
    angles = [math.tau * (step / steps + turn) - math.pi / 2 for step in range(steps)]
    return [
        (0.5 + radius * math.cos(angle), 0.5 + radius * math.sin(angle))
        for radius, angle in zip(radii, angles, strict=True)
    ]


def heart() -> list[tuple[float, float]]:
    """Return the outline of a heart in the unit square, as a curve of 48 corners."""
    turns = [math.tau * step / 48 for step in range(48)]
    xs = [math.sin(turn) ** 3 for turn in turns]
    ys = [13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) for t in turns]
    return [(0.5 + 0.5 * x, (12 - y) / 29) for x, y in zip(xs, ys, strict=True)]


CROSS = [(0.34, 0), (0.66, 0), (0.66, 0.34), (1, 0.34), (1, 0.66), (0.66, 0.66),
         (0.66, 1), (0.34, 1), (0.34, 0.66), (0, 0.66), (0, 0.34), (0.34, 0.34)]  # fmt: skip

OUTLINES: dict[str, Callable[[], Sequence[tuple[float, float]]]] = {
    "square": lambda: [(0.06, 0.06), (0.94, 0.06), (0.94, 0.94), (0.06, 0.94)],
    "triangle": lambda: [(0.5, 0.02), (1, 0.94), (0, 0.94)],
    "star": lambda: regular(5, inner=0.42),
    "heart": heart,
    "cross": lambda: CROSS,
    "diamond": lambda: [(0.5, 0), (0.86, 0.5), (0.5, 1), (0.14, 0.5)],
    "hexagon": lambda: regular(6, turn=1 / 12),
}


def outline(draw: ImageDraw.ImageDraw, kind: str, size: int) -> None:
    """Fill one kind of shape into a square of ``size`` pixels."""
    if kind in ("circle", "ring"):
        draw.ellipse((0, 0, size - 1, size - 1), fill=255)
    else:
        draw.polygon(polygon(size, OUTLINES[kind]()), fill=255)
    if kind == "ring":
        edge = size * 7 // 25
        draw.ellipse((edge, edge, size - 1 - edge, size - 1 - edge), fill=0)


@cache
def mask(kind: str, diameter: int) -> Image.Image:
    """Return the share of each pixel that a shape covers.

    Args:
        kind: a name of ``OUTLINES``, "circle" or "ring".
        diameter: side of the square that holds it, in pixels.

    Returns:
        A greyscale image of ``diameter`` x ``diameter``, 255 where the shape covers all; shared, not to be changed.
    """
    from PIL import Image, ImageDraw

    large = Image.new("L", (diameter * SCALE, diameter * SCALE), 0)
    outline(ImageDraw.Draw(large), kind, diameter * SCALE)
    return large.reduce(SCALE)
