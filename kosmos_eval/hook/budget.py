"""Sizes of evaluations that fit a time budget: measured once, then kept, so that a curve compares like with like."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
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
from kosmos_eval.sample import Sample, subset

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
    """The time of samples of a setting in one go: a fixed part, and a part for each."""

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
        """Return the number of samples that fit into so many seconds."""
        return max(0, int((seconds - self.fixed) / max(self.each, 1e-9) + 1e-6))


@dataclass(frozen=True)
class BudgetedRun:
    """One evaluation: who is asked, by which ranks, what came back so far, and how long that took.

    Args:
        model: answers.
        ranks: the processes that ask together.
        run: all records, on every rank.
        parts: what was asked of each setting, by its label.
        scoring: the seconds that each setting's metrics took, by its label.
    """

    model: Model
    ranks: Ranks
    run: RunFolder
    parts: dict[str, list[Part]] = field(default_factory=dict)
    scoring: dict[str, float] = field(default_factory=dict)
    _seen: dict[str, dict[int, Sample]] = field(default_factory=dict)

    def ask(self, setting: Setting) -> Part:
        """Ask what has not been asked of a setting that `sized` made; preparing data and scoring count too."""
        seen = self._seen.setdefault(setting.label, {})
        places = [place for place, index in enumerate(_indices(setting)) if index not in seen]
        if not places:
            return Part(0, 0.0)
        share = self.ranks.share(places)

        def work() -> tuple[float, list[Record], dict[int, Sample]]:
            began, mine, part = monotonic(), RunFolder(), setting.subset(share)
            evaluate_setting(self.model, part, mine)
            outlines = dict(zip(_indices(part), part.seen.values(), strict=True))
            return monotonic() - began, list(mine.records.get(setting.key, {}).values()), outlines

        told = self.ranks.together(work)
        for _, records, outlines in told[:1] if self.ranks.in_step else told:
            seen.update(outlines)
            for record in records:
                self.run.append(record)
        part = Part(len(places), max(took for took, _, _ in told))
        self.parts.setdefault(setting.label, []).append(part)
        return part

    def rows(self, setting: Setting) -> list[Row]:
        """Return the rows of a setting whose samples have all been asked; made on the first rank, none elsewhere."""
        seen = self._seen[setting.label]
        outlines = [seen[index] for index in _indices(setting)]
        setting.seen = {sample.id: sample for sample in outlines}  # none is prepared again for its outline

        def made() -> tuple[float, list[Row]]:
            began = monotonic()
            found = score_setting(setting, self.run) if self.ranks.first else []
            return monotonic() - began, found

        told = self.ranks.together(made)
        self.scoring[setting.label] = max(took for took, _ in told)
        return told[0][1]

    def passed(self, began: float) -> float:
        """Seconds since ``began``, the same on every rank: those of the slowest."""
        return max(self.ranks.together(lambda: monotonic() - began))


def sized(setting: Setting, size: int | None) -> Setting:
    """Return a setting with a seeded subset of its samples; a smaller one is part of a larger one."""
    places: Any = range(len(setting.samples))
    chosen: Any = subset(places, size, seed=setting.seed, task=setting.name)
    return setting.subset(chosen)


def _indices(setting: Setting) -> Sequence[int]:
    return range(len(setting.samples)) if setting.indices is None else setting.indices


def calibrated(
    settings: Sequence[Setting], budget: float, asking: BudgetedRun, *, spent: float = 0.0, kept: Sequence[Setting] = ()
) -> list[Setting]:
    """Each setting with as many samples as its part of the budget allows, asked on the way.

    What settings with few samples leave of their part goes to the others.

    Args:
        settings: with all their samples.
        budget: seconds for all of them together.
        asking: where the samples that are asked end.
        spent: seconds that this evaluation has taken already, the same on all ranks.
        kept: the same settings as they were kept so far, where these have been asked and scored and are to be
            corrected: all to larger ones or, where the budget is spent, all to smaller ones.
    """
    usual, now = AIM * budget, LIMIT * budget - spent
    shrinks = bool(kept) and now <= 0
    found: dict[int, Setting] = {}
    for done, number in enumerate(sorted(range(len(settings)), key=lambda number: len(settings[number].samples))):
        left = len(settings) - done
        share = Share(settings[number], usual / left, now / left, asking)
        found[number] = share.smaller(kept[number]) if shrinks else share.filled(kept[number] if kept else None)
        usual, now = usual - share.takes(len(found[number].samples)), now - share.took - share.scoring
    return [found[number] for number in range(len(settings))]


@dataclass
class Share:
    """A setting's part of the budget.

    Args:
        setting: with all its samples.
        usual: seconds that it may take in every evaluation.
        now: seconds that it may take in this one, where its parts are asked one after the other.
        asking: where the samples that are asked end.
        took: the seconds that it has taken now.
    """

    setting: Setting
    usual: float
    now: float
    asking: BudgetedRun
    took: float = 0.0

    @property
    def scoring(self) -> float:
        """The seconds that its metrics take, as far as is known."""
        return self.asking.scoring.get(self.setting.label, 0.0)

    @property
    def parts(self) -> list[Part]:
        """Return the parts that tell its time: a first part of one sample only warms up."""
        asked = self.asking.parts.get(self.setting.label, [])
        return asked[1:] if asked and asked[0].size == 1 else asked

    def takes(self, size: int) -> float:
        """The seconds that so many samples are usually going to take."""
        return self.scoring + (Line.through(self.parts).takes(size) if self.parts else 0.0)

    def filled(self, kept: Setting | None) -> Setting:
        """The setting with as many samples as fit.

        One sample warms up, a small part tells what samples take, and the rest is asked in one go, or in steps of
        `GROWTH` where it is far more than what was measured.
        """
        total = len(self.setting.samples)
        fitted = kept or self._asked(min(1, total))
        while (size := len(fitted.samples)) < total:
            more = min(GROWTH * size, total - size, self._room(size))
            if more < max(1, size // GROWTH):
                break
            fitted = self._asked(size + more)
            if self.setting.label not in self.asking.scoring:
                self._score(fitted)
        return fitted

    def smaller(self, kept: Setting) -> Setting:
        """Return the setting with as many samples as its usual time holds; some stay, as metrics are no faster then."""
        size = Line.through(self.parts).holds(max(self.usual - self.scoring, self.usual / 4)) if self.parts else 1
        return sized(self.setting, max(1, size)) if size < len(kept.samples) else kept

    def _room(self, size: int) -> int:
        """For how many more samples there is time, now and usually."""
        left = self.now - self.took - self.scoring
        if not self.parts:
            (first,) = self.asking.parts[self.setting.label]
            return int(left / max(first.seconds, 1e-9))
        line = Line.through(self.parts)
        return min(line.holds(self.usual - self.scoring) - size, line.holds(left))

    def _asked(self, size: int) -> Setting:
        fitted = sized(self.setting, size)
        self.took += self.asking.ask(fitted).seconds
        return fitted

    def _score(self, fitted: Setting) -> None:
        """Find out what metrics take: once more where the first time is cold, unless twice would be too long."""
        self.asking.rows(fitted)
        self.took += self.scoring
        if self.scoring < self.usual / 2:
            self.asking.rows(fitted)
            self.took += self.scoring
