"""How many samples fit into a time budget: measured once, then kept, so that a curve compares like with like."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.evaluation.distributed import Ranks
from kosmos_eval.evaluation.evaluator import cell_rows, evaluate_cell
from kosmos_eval.evaluation.plan import Setting
from kosmos_eval.evaluation.results import Row
from kosmos_eval.evaluation.run_folder import Record, Run
from kosmos_eval.model import Model
from kosmos_eval.sample import Sample, Samples, subset

AIM = 0.9
"""The part of a budget that is filled, because the next evaluation may be a little slower."""

LIMIT = 1.0
"""The part of a budget that an evaluation may take with all that it has to find out."""

KEPT = (0.75, 1.1)
"""The parts of a budget between which an evaluation has kept it."""

GROWTH = 8
"""A part has at most so many times the samples that were asked before it."""


def seconds(budget: str | float) -> float:
    """A time budget in seconds: a number, or one with a unit.

    >>> seconds("2m")
    120.0

    Raises:
        KosmosEvalError: if it is no such time, or not above 0.
    """
    found = re.fullmatch(r"([0-9.]+) *(s|m|min|h|)", str(budget).strip())
    try:
        time = float(found[1]) * {"h": 3600, "m": 60, "min": 60}.get(found[2], 1) if found else 0.0
    except ValueError:
        time = 0.0
    if time <= 0:
        raise KosmosEvalError(f"the budget {budget!r} is no time; expected seconds, or such as '60s', '2m', '1h'")
    return time


@dataclass(frozen=True)
class Part:
    """Samples that were asked in one go, and the seconds they took."""

    size: int
    seconds: float


@dataclass(frozen=True)
class Line:
    """What samples of a cell take in one go: a fixed time, and a time for each."""

    fixed: float
    each: float

    @classmethod
    def through(cls, parts: Sequence[Part]) -> Line:
        """The line through the two largest parts; where they make none that can be, through the larger one alone."""
        small, large = sorted([*parts[:1], *parts], key=lambda part: part.size)[-2:]
        fixed = 0.0
        if small.size < large.size:
            slope = (large.seconds - small.seconds) / (large.size - small.size)
            fixed = min(max(large.seconds - slope * large.size, 0.0), large.seconds * (1 - 1 / GROWTH))
        return cls(fixed, (large.seconds - fixed) / large.size)

    def takes(self, size: int) -> float:
        """The seconds of so many samples."""
        return self.fixed + self.each * size

    def holds(self, seconds: float) -> int:
        """How many samples fit into so many seconds."""
        return max(0, int((seconds - self.fixed) / max(self.each, 1e-9) + 1e-6))


@dataclass(frozen=True)
class Asking:
    """One evaluation: who is asked, by which ranks, what came back so far, and how long that took.

    Args:
        model: answers.
        ranks: the processes that ask together.
        run: all records, on every rank.
        parts: what was asked of each cell, by its label.
        scoring: the seconds that each cell's metrics took, by its label.
    """

    model: Model
    ranks: Ranks
    run: Run
    parts: dict[str, list[Part]] = field(default_factory=dict)
    scoring: dict[str, float] = field(default_factory=dict)
    _seen: dict[str, dict[int, Sample]] = field(default_factory=dict)

    def ask(self, cell: Setting) -> Part:
        """Ask what has not been asked of a cell that `sized` made; preparing data and marking answers count too."""
        every: Any = cell.samples
        seen = self._seen.setdefault(cell.label, {})
        places = [place for place in every.rows if place not in seen]
        if not places:
            return Part(0, 0.0)
        share = self.ranks.share(places)

        def work() -> tuple[float, list[Record], dict[int, Sample]]:
            began, mine = monotonic(), Run()
            part = replace(cell, samples=Samples(share, every.make), seen={})
            evaluate_cell(self.model, part, mine, lambda label, done, total: None)
            return monotonic() - began, list(mine.records.values()), dict(zip(share, part.seen.values(), strict=True))

        told = self.ranks.together(work)
        for _, records, outlines in told[:1] if self.ranks.in_step else told:
            seen.update(outlines)
            for record in records:
                self.run.append(record)
        part = Part(len(places), max(took for took, _, _ in told))
        self.parts.setdefault(cell.label, []).append(part)
        return part

    def rows(self, cell: Setting) -> list[Row]:
        """The rows of a cell whose samples have all been asked; made on the first rank, none on the others."""
        every: Any = cell.samples
        seen = self._seen[cell.label]
        cell.seen = {seen[place].id: seen[place] for place in every.rows}  # none is prepared again for its outline

        def made() -> tuple[float, list[Row]]:
            began = monotonic()
            found = cell_rows(cell, self.run) if self.ranks.first else []
            return monotonic() - began, found

        told = self.ranks.together(made)
        self.scoring[cell.label] = max(took for took, _ in told)
        return told[0][1]

    def passed(self, began: float) -> float:
        """Seconds since ``began``, the same on every rank: those of the slowest."""
        return max(self.ranks.together(lambda: monotonic() - began))


def sized(cell: Setting, size: int | None) -> Setting:
    """A cell with a seeded subset of its samples, each made when it is asked; a smaller one is part of a larger one."""
    every: Any = cell.samples
    places: Any = range(len(every))
    return replace(
        cell, samples=Samples(subset(places, size, seed=cell.seed, task=cell.name), every.__getitem__), seen={}
    )


def calibrated(
    cells: Sequence[Setting], budget: float, asking: Asking, *, spent: float = 0.0, kept: Sequence[Setting] = ()
) -> list[Setting]:
    """Each cell with as many samples as its part of the budget allows, asked on the way.

    What cells with few samples leave of their part goes to the others.

    Args:
        cells: with all their samples.
        budget: seconds for all of them together.
        asking: where the samples that are asked end.
        spent: seconds that this evaluation has taken already, the same on all ranks.
        kept: the same cells as they were kept so far, where these have been asked and scored and are to be corrected:
            all to larger ones or, where the budget is spent, all to smaller ones.
    """
    usual, now = AIM * budget, LIMIT * budget - spent
    shrinks = bool(kept) and now <= 0
    found: dict[int, Setting] = {}
    for done, number in enumerate(sorted(range(len(cells)), key=lambda number: len(cells[number].samples))):
        left = len(cells) - done
        share = Share(cells[number], usual / left, now / left, asking)
        found[number] = share.smaller(kept[number]) if shrinks else share.filled(kept[number] if kept else None)
        usual, now = usual - share.takes(len(found[number].samples)), now - share.took - share.scoring
    return [found[number] for number in range(len(cells))]


@dataclass
class Share:
    """A cell's part of the budget.

    Args:
        cell: with all its samples.
        usual: seconds that it may take in every evaluation.
        now: seconds that it may take in this one, where its parts are asked one after the other.
        asking: where the samples that are asked end.
        took: the seconds that it has taken now.
    """

    cell: Setting
    usual: float
    now: float
    asking: Asking
    took: float = 0.0

    @property
    def scoring(self) -> float:
        """The seconds that its metrics take, as far as is known."""
        return self.asking.scoring.get(self.cell.label, 0.0)

    @property
    def parts(self) -> list[Part]:
        """What its time is told by: a first part of one sample only warms up."""
        asked = self.asking.parts.get(self.cell.label, [])
        return asked[1:] if asked and asked[0].size == 1 else asked

    def takes(self, size: int) -> float:
        """The seconds that so many samples are usually going to take."""
        return self.scoring + (Line.through(self.parts).takes(size) if self.parts else 0.0)

    def filled(self, kept: Setting | None) -> Setting:
        """The cell with as many samples as fit.

        One sample warms up, a small part tells what samples take, and the rest is asked in one go, or in steps of
        `GROWTH` where it is far more than what was measured.
        """
        total = len(self.cell.samples)
        fitted = kept or self._asked(min(1, total))
        while (size := len(fitted.samples)) < total:
            more = min(GROWTH * size, total - size, self._room(size))
            if more < max(1, size // GROWTH):
                break
            fitted = self._asked(size + more)
            if self.cell.label not in self.asking.scoring:
                self._score(fitted)
        return fitted

    def smaller(self, kept: Setting) -> Setting:
        """The cell with no more of its samples than its usual time holds; some stay, for metrics are no faster then."""
        size = Line.through(self.parts).holds(max(self.usual - self.scoring, self.usual / 4)) if self.parts else 1
        return sized(self.cell, max(1, size)) if size < len(kept.samples) else kept

    def _room(self, size: int) -> int:
        """For how many more samples there is time, now and usually."""
        left = self.now - self.took - self.scoring
        if not self.parts:
            (first,) = self.asking.parts[self.cell.label]
            return int(left / max(first.seconds, 1e-9))
        line = Line.through(self.parts)
        return min(line.holds(self.usual - self.scoring) - size, line.holds(left))

    def _asked(self, size: int) -> Setting:
        fitted = sized(self.cell, size)
        self.took += self.asking.ask(fitted).seconds
        return fitted

    def _score(self, fitted: Setting) -> None:
        """Find out what metrics take: once more where the first time is cold, unless twice would be too long."""
        self.asking.rows(fitted)
        self.took += self.scoring
        if self.scoring < self.usual / 2:
            self.asking.rows(fitted)
            self.took += self.scoring
