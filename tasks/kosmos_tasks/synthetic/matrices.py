"""Raven matrices by rules: the synthetic split of the Raven IQ task (KOSMOS-1 section 4.2).

Each attribute of the panels follows one rule along the rows: *constant*, *progression*, and in 3 x 3 *arithmetic* (the
third is the sum or the difference of the others) or *distribute-three* (each row holds the same three values). The
matrix leaves one value alone possible for each attribute of the missing panel, whichever rule a solver considers.

The six candidates tell nothing without the matrix, after I-RAVEN's attribute bisection: the answer's values are
uniform, a distractor's other values come from the same set, and the candidates stand on a 2 x 3 grid of two attributes
or on a ring of six corners of the cube of three, where each place looks like every other.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, islice, permutations, product
from typing import TYPE_CHECKING

from kosmos_eval.source import Row
from kosmos_tasks.synthetic.recipe import Split, cell, stream
from kosmos_tasks.synthetic.shapes import mask

if TYPE_CHECKING:
    from PIL import Image

SIDE = 48
"""Width and height of a panel, in pixels."""

Line = tuple[int, ...]
"""The values of an attribute in a row of panels."""

SHAPES = ("triangle", "square", "hexagon", "circle", "star")
DIAMETERS = (0, 10, 14, 18, 22)
GREYS = (255, 200, 140, 75, 0)
CORNERS = ((0, 0), (1, 0), (1, 1), (0, 1))
"""The places of a panel clockwise; bit i of a position tells whether something stands in place i."""
ARRANGED = (0, 0b0001, 0b0101, 0b0111, 0b1111)
"""The position that shows a number."""

VALUES: dict[str, Sequence[int]] = {
    "shape": range(5),
    "size": range(1, 5),
    "color": range(5),
    "number": range(1, 5),
    "position": range(1, 15),
}

GRID: tuple[Line, ...] = tuple(product((0, 1), (0, 1, 2)))
RINGS: tuple[tuple[Line, ...], ...] = tuple(
    tuple(corner for corner in product((0, 1), repeat=3) if not corner[i - 1] == corner[i - 2] != corner[i])
    for i in range(3)
)
"""The six candidates: for each differing attribute the answer's value (0) or another (1, 2)."""


@dataclass(frozen=True)
class Panel:
    """One picture of a puzzle: equal shapes in some of four places."""

    shape: int
    size: int
    color: int
    position: int

    @property
    def number(self) -> int:
        """The number of shapes."""
        return self.position.bit_count()


@dataclass(frozen=True)
class Puzzle:
    """A matrix without its last panel, and six candidates for it; ``rules`` names each attribute's rule."""

    width: int
    rules: tuple[tuple[str, str], ...]
    context: tuple[Panel, ...]
    candidates: tuple[Panel, ...]
    target: int


def rules(attribute: str, width: int) -> tuple[str, ...]:
    """Return the rules that an attribute may follow in a matrix of ``width`` columns; shapes have no order or sum."""
    ordered = attribute != "shape"
    named = {
        "constant": True,
        "progression": ordered,
        "arithmetic": ordered and width == 3,
        "distribute-three": width == 3,
    }
    return tuple(rule for rule, possible in named.items() if possible)


def after(attribute: str, value: int, steps: int) -> int:
    """Return the value some steps further: a position turns clockwise, all else grows."""
    if attribute == "position":
        steps %= 4
        return (value << steps | value >> (4 - steps)) & 0b1111
    return value + steps


@cache
def lines(attribute: str, rule: str, width: int) -> tuple[tuple[Line, ...], ...]:
    """Return all rows that follow a rule, grouped by what the rows of a matrix share: the step, the sign, the three."""
    values = VALUES[attribute]
    groups: Sequence[Sequence[Line]]
    if rule == "constant":
        groups = [[(value,) * width for value in values]]
    elif rule == "progression":
        steps = (1, -1) if attribute == "position" else (1, -1, 2, -2)
        groups = [[tuple(after(attribute, v, step * i) for i in range(width)) for v in values] for step in steps]
    elif rule == "arithmetic":
        pairs = [(a, b) for a, b in product(values, values) if attribute != "position" or a & b == 0]
        sums, differences = [(a, b, a + b) for a, b in pairs], [(a, b, a - b) for a, b in pairs]
        groups = [sums] if attribute == "position" else [sums, differences]
    else:
        groups = [list(permutations(three)) for three in combinations(values, 3)]
    inside = [tuple(line for line in group if set(line) <= set(values)) for group in groups]
    return tuple(group for group in inside if group)


def possible(attribute: str, full: Sequence[Line], begun: Line) -> set[int]:
    """Return every value that ends the last row under any rule that the full rows follow.

    >>> possible("number", [(1, 2, 3), (2, 1, 3)], (1, 1))
    {2}
    """
    width = len(begun) + 1
    groups = (group for rule in rules(attribute, width) for group in lines(attribute, rule, width))
    fitting = (group for group in groups if all(line in group for line in full))
    return {line[-1] for group in fitting for line in group if line[:-1] == begun}


@cache
def answers(attribute: str, rule: str, width: int) -> tuple[int, ...]:
    """Return the values that a rule can ask for without another rule asking for another value."""
    groups = lines(attribute, rule, width)
    matrices = (rows for group in groups for rows in product(group, repeat=width))
    found: set[int] = set()
    for *full, last in matrices:
        if last[-1] not in found and possible(attribute, full, last[:-1]) == {last[-1]}:
            found.add(last[-1])
        if len(found) == len(VALUES[attribute]):
            break
    return tuple(sorted(found))


def fill(attribute: str, rule: str, width: int, *, answer: int, rng: random.Random) -> list[Line]:
    """Return rows that follow a rule, end with ``answer`` and let no other value end them."""
    groups = [group for group in lines(attribute, rule, width) if any(line[-1] == answer for line in group)]
    while True:
        group = rng.choice(groups)
        full = [rng.choice(group) for _ in range(width - 1)]
        last = rng.choice([line for line in group if line[-1] == answer])
        if possible(attribute, full, last[:-1]) == {answer}:
            return [*full, last]


def panel(values: dict[str, int]) -> Panel:
    """Return a panel from a value for each attribute; a number is shown in its arrangement."""
    position = values["position"] if "position" in values else ARRANGED[values["number"]]
    return Panel(values["shape"], values["size"], values["color"], position)


def assigned(names: Sequence[str], width: int, rng: random.Random) -> dict[str, str]:
    """Return a rule for each attribute, at least one of them not constant."""
    while True:
        chosen = {name: rng.choice(rules(name, width)) for name in names}
        if set(chosen.values()) != {"constant"}:
            return chosen


def varied(chosen: dict[str, str], number: int, rng: random.Random) -> list[str]:
    """Return the attributes in which candidates differ, at least one of them not constant in the matrix."""
    while True:
        names = rng.sample(sorted(chosen), number)
        if any(chosen[name] != "constant" for name in names):
            return names


def sample(rng: random.Random) -> Puzzle:
    """Draw a puzzle: rules, then the answer, then a matrix that leads to it alone, then the distractors."""
    width = rng.choice((2, 3))
    names = ("shape", "size", "color", rng.choice(("number", "position")))
    chosen = assigned(names, width, rng)
    values = {name: rng.sample(answers(name, rule, width), 3) for name, rule in chosen.items()}
    answer = {name: first for name, (first, *_) in values.items()}
    grids = {name: fill(name, rule, width, answer=answer[name], rng=rng) for name, rule in chosen.items()}
    panels = [
        panel({name: grid[row][column] for name, grid in grids.items()})
        for row, column in product(range(width), repeat=2)
    ]
    pattern = rng.choice((GRID, rng.choice(RINGS)))
    places = rng.sample(pattern, len(pattern))
    differing = varied(chosen, len(places[0]), rng)
    candidates = [
        panel(answer | {name: values[name][index] for name, index in zip(differing, place, strict=True)})
        for place in places
    ]
    target = next(index for index, place in enumerate(places) if not any(place))
    return Puzzle(width, tuple(chosen.items()), tuple(panels[:-1]), tuple(candidates), target)


def puzzles(split: Split, seed: int = 0) -> Iterator[tuple[str, Puzzle]]:
    """Yield different puzzles of one side, without end, as (id, puzzle); no matrix of one side occurs on the other."""
    return stream("matrices", split, seed, draw=sample, content=lambda puzzle: (puzzle.width, puzzle.context))


@cache
def draw(panel: Panel) -> Image.Image:
    """Return the picture of a panel, 48 x 48 RGB: outlined shapes in shades of grey on white."""
    from PIL import Image

    image = Image.new("L", (SIDE, SIDE), 255)
    kind, diameter = SHAPES[panel.shape], DIAMETERS[panel.size]
    outer, inner = mask(kind, diameter), mask(kind, diameter - 2)
    for place, (column, row) in enumerate(CORNERS):
        if panel.position >> place & 1:
            left, top = (12 + 24 * index - diameter // 2 for index in (column, row))
            image.paste(0, (left, top), outer)
            image.paste(GREYS[panel.color], (left + 1, top + 1), inner)
    return image.convert("RGB")


def rows(split: Split, count: int | None = None, seed: int = 0) -> Iterator[Row]:
    """Yield drawn puzzles; endless without ``count``.

    Yields:
        ``id``, ``context`` (3 images of a 2 x 2 or 8 of a 3 x 3 matrix, row by row), ``candidates`` (6 images),
        ``target`` (index of the right one), ``configuration`` ("2x2" or "3x3"), ``rules`` (in words).
    """
    for identity, puzzle in islice(puzzles(split, seed), count):
        yield {
            "id": identity,
            "context": [cell(draw(panel)) for panel in puzzle.context],
            "candidates": [cell(draw(panel)) for panel in puzzle.candidates],
            "target": puzzle.target,
            "configuration": f"{puzzle.width}x{puzzle.width}",
            "rules": ", ".join(f"{attribute} {rule}" for attribute, rule in puzzle.rules),
        }
