"""The order of rows on a page: a row for each task in its default variant, and beside it the other variants."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from statistics import fmean, stdev
from typing import Literal

from kosmos_eval.evaluation.results import Row
from kosmos_eval.evaluation.variant import DEFAULT, SettingKey, Variant

SPREAD_OVER: dict[Literal["prompt", "seed"], str] = {"prompt": "prompts", "seed": "draws of demonstrations"}
"""Parts of a variant over which a score spreads, and what these are called."""


@dataclass(frozen=True)
class MetricGroup:
    """The rows of a setting: the headline, other metrics, the headline by kind."""

    head: Row
    others: tuple[Row, ...]
    kinds: tuple[tuple[str, Row], ...]

    @property
    def key(self) -> SettingKey:
        """The setting."""
        return self.head.key

    @property
    def variant(self) -> Variant:
        """The setting's variant."""
        return self.head.key.variant


@dataclass(frozen=True)
class TableRow:
    """A task at a number of shots.

    Args:
        group: the default variant; where a run has only others, the first of them.
        blind: the same without the real images, if that was asked too.
    """

    group: MetricGroup
    blind: Row | None


@dataclass(frozen=True)
class Spread:
    """One task at one number of shots, in several variants that ought to give the same.

    Args:
        part: the part of the variant that differs.
        rows: the headline of each, the default one first.
        names: what to call each.
    """

    part: Literal["prompt", "seed"]
    rows: tuple[Row, ...]
    names: tuple[str, ...]

    @property
    def over(self) -> str:
        """The part that differs, in words."""
        return SPREAD_OVER[self.part]

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


def groups(rows: Iterable[Row]) -> list[MetricGroup]:
    """Return the rows by setting."""
    found: dict[SettingKey, list[Row]] = {}
    for row in rows:
        found.setdefault(row.key, []).append(row)
    return [_group(own) for own in found.values()]


def table_rows(found: Sequence[MetricGroup]) -> list[TableRow]:
    """Return a row for each task and number of shots."""
    places: dict[tuple[str, int], list[MetricGroup]] = {}
    for group in found:
        places.setdefault((group.key.task, group.key.shots), []).append(group)
    return [_table_row(own) for own in places.values()]


def breakdowns(found: Iterable[TableRow]) -> dict[str, list[MetricGroup]]:
    """Return the groups that tell kinds of samples apart, by task."""
    split: dict[str, list[MetricGroup]] = {}
    for row in found:
        if row.group.kinds:
            split.setdefault(row.group.key.task, []).append(row.group)
    return split


def spreads(found: Sequence[MetricGroup]) -> list[Spread]:
    """Return where a task was asked with several prompts, or with several draws of demonstrations."""
    made = []
    for line in table_rows(found):
        for part in SPREAD_OVER:
            own = [group for group in found if _varies(group, line.group, part)]
            rows = [line.group.head, *(group.head for group in own)]
            if own and all(isfinite(row.score) for row in rows):
                names = ("default", *(f"{part} {getattr(group.variant, part)}" for group in own))
                made.append(Spread(part, tuple(rows), names))
    return made


def _table_row(own: Sequence[MetricGroup]) -> TableRow:
    first = next((group for group in own if group.variant == DEFAULT), own[0])
    blind = (
        group.head
        for group in own
        if group.variant.images != "real" and replace(group.variant, images="real") == first.variant
    )
    return TableRow(first, next(blind, None))


def _varies(group: MetricGroup, default: MetricGroup, part: Literal["prompt", "seed"]) -> bool:
    """Return whether a setting is the default one but for one part."""
    same = (group.key.task, group.key.shots) == (default.key.task, default.key.shots)
    return same and group.variant != default.variant and group.variant.without(part) == default.variant


def _group(rows: Sequence[Row]) -> MetricGroup:
    head, *rest = rows
    opening = f"{head.metric}["
    kinds = tuple((row.metric[len(opening) : -1], row) for row in rest if row.metric.startswith(opening))
    return MetricGroup(head, tuple(row for row in rest if not row.metric.startswith(opening)), kinds)
