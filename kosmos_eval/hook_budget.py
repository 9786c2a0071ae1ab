"""How many samples fit into a time budget: measured once, then kept, so that a curve compares like with like."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from kosmos_eval.cells import Cell
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.evaluate import cell_rows, evaluate_cell
from kosmos_eval.model import Model
from kosmos_eval.ranks import Ranks
from kosmos_eval.runs import Record, Run
from kosmos_eval.sample import Samples, subset

AIM = 0.9
"""The part of a budget that is filled, because the next evaluation may be a little slower."""

LIMIT = 1.0
"""The part of a budget that the first evaluation may take with all that it has to find out."""


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
class Asking:
    """One evaluation: who is asked, by which ranks, and what came back so far."""

    model: Model
    ranks: Ranks
    run: Run

    def ask(self, cell: Cell) -> float:
        """Ask what has not been asked of a cell.

        Returns:
            The seconds it took, of the slowest rank.
        """
        samples = cell.samples
        made: Any = samples.__getitem__
        known = {id for task, shots, id, _ in self.run.records if (task, shots) == (cell.name, cell.shots)}
        places = [place for place, sample in enumerate(samples) if sample.id not in known] if known else None
        share = self.ranks.share(range(len(samples)) if places is None else places)

        def work() -> tuple[float, list[Record]]:
            began, mine = monotonic(), Run()
            part = replace(cell, samples=Samples(share, made), seen={})
            evaluate_cell(self.model, part, mine, lambda label, done, total: None)
            return monotonic() - began, list(mine.records.values())

        told = self.ranks.together(work)
        for _, records in told[:1] if self.ranks.in_step else told:
            for record in records:
                self.run.append(record)
        return max(took for took, _ in told)


def sized(cell: Cell, size: int | None) -> Cell:
    """A cell with a seeded subset of its samples; a smaller one is part of a larger one."""
    return replace(cell, samples=subset(cell.samples, size, seed=cell.seed, task=cell.name), seen={})


def calibrated(cells: Sequence[Cell], budget: float, asking: Asking, *, spent: float = 0.0) -> list[Cell]:
    """Each cell with as many samples as its part of the budget allows, asked on the way.

    What cells with few samples leave of their part goes to the others.

    Args:
        cells: with all their samples.
        budget: seconds for all of them together.
        asking: where the samples that are asked end.
        spent: seconds that this evaluation has taken already, the same on all ranks.
    """
    usual, now = AIM * budget, LIMIT * budget - spent
    found: dict[int, Cell] = {}
    for done, number in enumerate(sorted(range(len(cells)), key=lambda number: len(cells[number].samples))):
        left = len(cells) - done
        found[number], takes, took = _fitting(cells[number], usual / left, now / left, asking)
        usual, now = usual - takes, now - took
    return [found[number] for number in range(len(cells))]


def _fitting(cell: Cell, share: float, limit: float, asking: Asking) -> tuple[Cell, float, float]:
    """Find the size of a cell.

    One sample warms up and is not counted, then the size doubles, so that the last and largest parts decide the rate:
    the faster of two, because what else the machine does can only slow one down. Whether there is time for another
    part now, the slower of two decides.

    Args:
        cell: with all its samples.
        share: seconds that it may usually take.
        limit: seconds that it may take now, when its parts are asked one after the other and metrics begin cold.
        asking: where the samples that are asked end.

    Returns:
        The cell of that size, the seconds that it is usually going to take, and those that it takes now.
    """
    size, total = 1, len(cell.samples)
    took = asking.ask(fitted := sized(cell, size))
    rates: list[float] = []
    scoring = 0.0
    while size < total:
        more = min(size, total - size)
        if rates:
            usual, slow = min(rates[-2:]), max(rates[-2:])
            more = min(more, int((share - scoring) / usual) - size, int((limit - took - scoring) / slow))
        if more < max(1, size // 8):
            break
        part = asking.ask(fitted := sized(cell, size + more))
        took, size = took + part, size + more
        rates.append(part / more)
        if len(rates) == 1:
            scoring, tried = _scoring(cell, share, asking)
            took += tried
    return fitted, scoring + min(rates[-2:], default=0.0) * size, took + scoring


def _scoring(cell: Cell, share: float, asking: Asking) -> tuple[float, float]:
    """The seconds that the metrics of a cell take, however few its samples, and those that it took to find out.

    Cold only where twice would be too long.
    """

    def timed() -> float:
        began = monotonic()
        cell_rows(sized(cell, 2), asking.run)
        return monotonic() - began

    cold = max(asking.ranks.together(timed))
    if cold > share / 2:
        return cold, cold
    warm = max(asking.ranks.together(timed))
    return warm, cold + warm
