"""Sizes of evaluations that fit a time budget: measured once, then kept, so that a curve compares like with like."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from time import monotonic
from typing import Any

from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.evaluation.distributed import Ranks
from kosmos_eval.evaluation.evaluator import evaluate_setting
from kosmos_eval.evaluation.plan import Setting
from kosmos_eval.evaluation.results import Row
from kosmos_eval.evaluation.run_folder import Record, RunFolder
from kosmos_eval.evaluation.scores import score_setting
from kosmos_eval.model import Model
from kosmos_eval.sample import subset

AIM = 0.9
"""The part of a budget that is filled, because the next evaluation may be a little slower."""

KEPT = (0.75, 1.1)
"""The parts of a budget between which an evaluation has kept it."""

GROWTH = 8
"""A chunk has at most so many times the samples that were asked before it."""


def seconds(budget: str | float) -> float:
    """Return a time budget in seconds: a number, or one with a unit.

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
class BudgetedRun:
    """One evaluation: who is asked, by which ranks, and what came back so far.

    Args:
        model: answers.
        ranks: the processes that ask together.
        began: when the evaluation did, by this rank's clock.
        run: all records, on every rank.
    """

    model: Model
    ranks: Ranks
    began: float
    run: RunFolder = field(default_factory=RunFolder)

    def evaluate(self, setting: Setting) -> tuple[list[Row], float]:
        """Ask what has not been asked of a setting yet, and score all of it.

        Returns:
            The rows, made on the first rank, none elsewhere; the seconds of the slowest rank, the same on all.
        """
        began = monotonic()
        indices = setting.indices or range(len(setting.samples))
        done = {record.index for record in self.run.of(setting.key)}
        share = self.ranks.shard([place for place, index in enumerate(indices) if index not in done])

        def ask() -> list[Record]:
            mine = RunFolder()
            evaluate_setting(self.model, setting.subset(share), mine)
            return mine.of(setting.key)

        answers = self.ranks.all_gather(ask)
        for record in chain.from_iterable(answers[:1] if self.ranks.lockstep else answers):
            self.run.append(record)
        asked = set(indices)
        # No sample is prepared again for its outline.
        setting.seen = {record.id: record.sample for record in self.run.of(setting.key) if record.index in asked}

        def score() -> tuple[list[Row], float]:
            rows = score_setting(setting, self.run) if self.ranks.first else []
            return rows, monotonic() - began

        results = self.ranks.all_gather(score)
        return results[0][0], max(took for _, took in results)

    def passed(self) -> float:
        """Return the seconds since the evaluation began, the same on every rank: those of the slowest."""
        return max(self.ranks.all_gather(lambda: monotonic() - self.began))


def sized(setting: Setting, size: int | None) -> Setting:
    """Return a setting with a seeded subset of its samples; a smaller one is part of a larger one."""
    places: Any = range(len(setting.samples))
    chosen: Any = subset(places, size, seed=setting.seed, task=setting.name)
    return setting.subset(chosen)


def measure(settings: Sequence[Setting], budget: float, run: BudgetedRun) -> list[tuple[Setting, list[Row]]]:
    """Return each setting with as many samples as its share of a budget allows, evaluated on the way.

    After one sample of each, which warms up, growing chunks of every setting are asked and scored, round by round,
    until its share is spent. What settings with few samples leave of theirs goes to the others.

    Args:
        settings: with all their samples.
        budget: seconds for all of them together.
        run: the evaluation, which may have taken some of them already.
    """
    aim = AIM * budget
    shares = [_Share(setting, run) for setting in settings]
    warm, grown = run.passed(), [True]
    while any(grown):
        growing = [share for share in shares if share.missing]
        spent = warm + sum(share.took for share in shares if not share.missing)
        grown = [share.grow(min((aim - spent) / len(growing) - share.took, aim - run.passed())) for share in growing]
    return [(share.sized, share.rows) for share in shares]


class _Share:
    """A setting's share of the budget: the samples asked so far, their rows, and the seconds since the first one."""

    def __init__(self, setting: Setting, run: BudgetedRun) -> None:
        self.setting, self.run, self.took = setting, run, 0.0
        self.sized = sized(setting, 1)
        self.rows, self.each = run.evaluate(self.sized)

    @property
    def missing(self) -> int:
        """The number of samples that have not been asked."""
        return len(self.setting.samples) - len(self.sized.samples)

    def grow(self, left: float) -> bool:
        """Ask another chunk; return False where so many seconds are too few for one worth asking.

        A second sample is asked however long the first took: that may have been the warming up.
        """
        size = len(self.sized.samples)
        chunk = min(GROWTH * size, self.missing, max(int(left / max(self.each, 1e-9) + 1e-6), size == 1 and left > 0))
        if chunk < max(1, min(size // (2 * GROWTH), self.missing)):
            return False
        self.sized = sized(self.setting, size + chunk)
        self.rows, took = self.run.evaluate(self.sized)
        self.took, self.each = self.took + took, took / chunk
        return True
