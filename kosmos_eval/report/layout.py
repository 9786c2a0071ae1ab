"""How a page orders rows: the line of each task in the usual way, and beside it the same asked in other ways."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean, stdev

from kosmos_eval.evaluation.results import Row
from kosmos_eval.evaluation.variant import parted

WAYS = {"prompt": "wordings", "seed": "draws of demonstrations"}
"""Parts of a variant over which a score spreads, and what these are called."""


@dataclass(frozen=True)
class Block:
    """The rows of one task at one number of shots in one way: the headline, other metrics, the headline by kind."""

    head: Row
    others: tuple[Row, ...]
    kinds: tuple[tuple[str, Row], ...]

    @property
    def parts(self) -> dict[str, str]:
        """In what the way differs from the usual one."""
        return parted(self.head.variant)


@dataclass(frozen=True)
class Line:
    """What a page says of a task at a number of shots.

    Args:
        block: the usual way; where a run has only others, the first of them.
        blind: the same without the pictures, if that was asked too.
    """

    block: Block
    blind: Row | None


@dataclass(frozen=True)
class Spread:
    """One task at one number of shots, asked in several ways that ought to give the same.

    Args:
        part: the part of the variant that differs.
        rows: the headline of each, the usual one first.
        names: what to call each.
    """

    part: str
    rows: tuple[Row, ...]
    names: tuple[str, ...]

    @property
    def way(self) -> str:
        """What differs, in words."""
        return WAYS[self.part]

    @property
    def mean(self) -> float:
        """The mean score."""
        return fmean(row.score for row in self.rows)

    @property
    def deviation(self) -> float:
        """The sample standard deviation of the scores."""
        return stdev(row.score for row in self.rows)

    @property
    def best(self) -> Row:
        """The highest row."""
        return max(self.rows, key=lambda row: row.score)

    @property
    def worst(self) -> Row:
        """The lowest row."""
        return min(self.rows, key=lambda row: row.score)


def blocks(rows: Iterable[Row]) -> list[Block]:
    """The rows by task, number of shots and way."""
    found: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.task, row.shots, row.variant), []).append(row)
    return [_block(own) for own in found.values()]


def lines(found: Sequence[Block]) -> list[Line]:
    """A line for each task and number of shots."""
    cells: dict[tuple[str, int], list[Block]] = {}
    for block in found:
        cells.setdefault((block.head.task, block.head.shots), []).append(block)
    return [_line(own) for own in cells.values()]


def breakdowns(found: Iterable[Line]) -> dict[str, list[Block]]:
    """The blocks of lines that tell kinds of samples apart, by task."""
    split: dict[str, list[Block]] = {}
    for line in found:
        if line.block.kinds:
            split.setdefault(line.block.head.task, []).append(line.block)
    return split


def spreads(found: Sequence[Block]) -> list[Spread]:
    """Where a task was asked in several wordings, or with several draws of demonstrations."""
    made = []
    for line in lines(found):
        for part in WAYS:
            own = [block for block in found if _varies(block, line.block, part)]
            rows = [line.block.head, *(block.head for block in own)]
            if own and all(isfinite(row.score) for row in rows):
                names = ("as usual", *(f"{part} {block.parts[part]}" for block in own))
                made.append(Spread(part, tuple(rows), names))
    return made


def _line(own: Sequence[Block]) -> Line:
    usual = next((block for block in own if not block.parts), own[0])
    blind = (
        block
        for block in own
        if "images" in block.parts and _without(block, "images") == usual.parts and "images" not in usual.parts
    )
    return Line(usual, next((block.head for block in blind), None))


def _varies(block: Block, usual: Block, part: str) -> bool:
    """Whether a block is the usual one but for one part."""
    same = (block.head.task, block.head.shots) == (usual.head.task, usual.head.shots)
    return same and part in block.parts and part not in usual.parts and _without(block, part) == usual.parts


def _without(block: Block, part: str) -> dict[str, str]:
    return {name: value for name, value in block.parts.items() if name != part}


def _block(rows: Sequence[Row]) -> Block:
    head, *rest = rows
    opening = f"{head.metric}["
    kinds = tuple((row.metric[len(opening) : -1], row) for row in rest if row.metric.startswith(opening))
    return Block(head, tuple(row for row in rest if not row.metric.startswith(opening)), kinds)
