"""The results of a training's evaluations: its CSV, its best step, and whether it still rises."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from math import isnan
from pathlib import Path

from kosmos_eval.errors import RunError, UnknownName
from kosmos_eval.evaluation.results import Row


@dataclass(frozen=True)
class Entry:
    """A metric of a task at a step of the training; a line of the CSV.

    Args:
        step: the training's.
        task: the task.
        shots: demonstrations asked for.
        metric: the metric's name.
        score: its value, in the report's unit.
        low: lower end of the 95 % interval.
        high: upper end of the 95 % interval.
        n: samples that the metric rests on.
        failed: samples that were not scored.
        samples: samples that were asked.
    """

    step: int
    task: str
    shots: int
    metric: str
    score: float
    low: float | None
    high: float | None
    n: int
    failed: int
    samples: int

    @classmethod
    def of(cls, step: int, row: Row, *, samples: int) -> Entry:
        """The entry of a report's row."""
        return cls(step, row.task, row.shots, row.metric, row.score, row.low, row.high, row.n, row.failed, samples)


COLUMNS = [column.name for column in fields(Entry)]


def read(path: Path | None) -> list[Entry]:
    """The entries of a CSV, if it exists; a torn last line is left out.

    Raises:
        RunError: if the file is not such a CSV.
    """
    if path is None or not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    if lines and lines[0] != COLUMNS:
        raise RunError(f"{path} has the columns {','.join(lines[0])[:80]}; expected {','.join(COLUMNS)}, or no file")
    return [_entry(line) for line in lines[1:] if len(line) == len(COLUMNS) and line[-1]]


def _entry(line: Sequence[str]) -> Entry:
    step, task, shots, metric, score, low, high, *counts = line
    ends = (float(low) if low else None, float(high) if high else None)
    n, failed, samples = map(int, counts)
    return Entry(int(step), task, int(shots), metric, float(score), *ends, n, failed, samples)


def write(path: Path | None, entries: Iterable[Entry]) -> None:
    """Replace a CSV as a whole; without a path, nothing is written."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        lines = csv.DictWriter(file, COLUMNS)
        lines.writeheader()
        lines.writerows(asdict(entry) for entry in entries)
    part.replace(path)


@dataclass(frozen=True)
class Watch:
    """The metric that decides which step is the best and when to stop.

    An evaluation with failed samples is incomplete and decides nothing.

    Args:
        task: its task.
        shots: its number of demonstrations.
        metric: its name; None for the task's headline.
        higher_is_better: True where more is better.
        patience: stop after this many evaluations in a row that did not rise beyond the interval of the last one that
            did; 0 never stops. Rises and falls within the interval are noise and count as neither.
        on_best: called, on every rank, when an evaluation has the best score so far: the place to keep a checkpoint.
    """

    task: str
    shots: int = 0
    metric: str | None = None
    higher_is_better: bool = True
    patience: int = 0
    on_best: Callable[[Entry], None] | None = None

    def best(self, entries: Sequence[Entry]) -> Entry | None:
        """The first of those with the best score; None while there is none."""
        watched = self._watched(entries)
        sign = 1 if self.higher_is_better else -1
        return max(watched, key=lambda entry: sign * entry.score) if watched else None

    def should_stop(self, entries: Sequence[Entry]) -> bool:
        """True once the patience is at an end."""
        risen, since = None, 0
        for entry in self._watched(entries):
            if risen is None or self._clearly_better(entry, risen):
                risen, since = entry, 0
            else:
                since += 1
        return 0 < self.patience <= since

    def check(self, entries: Sequence[Entry]) -> None:
        """Make sure that a complete evaluation has the watched metric.

        Raises:
            UnknownName: if it does not.
        """
        own = [entry for entry in entries if (entry.task, entry.shots) == (self.task, self.shots)]
        names = [entry.metric for entry in own]
        if self.metric is not None and self.metric not in names and not any(entry.failed for entry in own):
            raise UnknownName(f"metric of {self.task}", self.metric, names)

    def _clearly_better(self, entry: Entry, than: Entry) -> bool:
        bound = than.high if self.higher_is_better else than.low
        bound = than.score if bound is None else bound
        return entry.score > bound if self.higher_is_better else entry.score < bound

    def _watched(self, entries: Sequence[Entry]) -> list[Entry]:
        """The watched metric of every complete evaluation, in order."""
        found: dict[int, Entry] = {}
        for entry in entries:
            if (entry.task, entry.shots) == (self.task, self.shots) and self.metric in (None, entry.metric):
                found.setdefault(entry.step, entry)  # the headline stands first
        return [entry for entry in found.values() if not entry.failed and not isnan(entry.score)]
