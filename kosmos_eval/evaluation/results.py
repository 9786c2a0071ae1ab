"""The rows of a report: one for each task, number of shots, variant and metric."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any, Self

from kosmos_eval.evaluation.variant import joined, parted
from kosmos_eval.files import inert
from kosmos_eval.metrics.paired import Difference
from kosmos_eval.metrics.statistics import Metric

OVER = {"prompt": "prompts", "seed": "seeds"}
"""Parts of a variant over which rows are summed up, and the part that says over how many."""


AVERAGED = (("low", "high"), ("added",), ("added_low", "added_high"))
"""Fields of which a row over several has the mean, where all of them have all."""


@dataclass(frozen=True)
class Row:
    """One metric of a task at a number of shots.

    Args:
        task: the task.
        shots: demonstrations asked for.
        metric: the metric's name.
        score: its value, in ``unit``.
        low: lower end of the 95 % interval.
        high: upper end of the 95 % interval.
        unit: ``%``, or empty for a metric on a scale of its own.
        n: samples that were scored.
        failed: samples that were not; a row with any is incomplete.
        chance: what guessing reaches.
        p_value: how probable that much is by guessing, exact and one-sided.
        effective_shots: demonstrations that fitted into the context, on average.
        note: how the number came about: extension, leave-one-out.
        variant: how it was asked otherwise than usual, such as ``images=blank``; empty for the usual way.
            ``prompts=3`` or ``seeds=3`` is the mean over so many wordings, or draws of demonstrations; its interval has
            the mean ends of theirs, which is never too narrow, as a mean varies no more than what it is the mean of.
        spread: of such a mean, the standard deviation between them.
        worst: of such a mean, the lowest of them.
        best: of such a mean, the highest of them.
        added: of a row that was asked without the real pictures, what these add: the score of the same samples with
            them minus this one, by pairs; None where the run has no such score.
        added_low: lower end of its 95 % interval.
        added_high: upper end of its 95 % interval.
    """

    task: str
    shots: int
    metric: str
    score: float
    low: float | None
    high: float | None
    unit: str
    n: int
    failed: int
    chance: float | None
    p_value: float | None
    effective_shots: float
    note: str
    variant: str = ""
    spread: float | None = None
    worst: float | None = None
    best: float | None = None
    added: float | None = None
    added_low: float | None = None
    added_high: float | None = None

    def beside(self, difference: Difference) -> Self:
        """The row with what the real pictures add, a difference of marks."""
        scale = 100 if self.unit == "%" else 1
        low, high = (None if end is None else end * scale for end in (difference.low, difference.high))
        return replace(self, added=difference.value * scale, added_low=low, added_high=high)


@dataclass(frozen=True)
class Report:
    """The scores of a model."""

    model: str
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, model: str, rows: Iterable[Row]) -> Self:
        """The report of a model with a mean over wordings, and over draws, wherever a task was asked in several."""
        cells = groupby(rows, key=lambda row: (row.task, row.shots))
        return cls(model, tuple(row for _, cell in cells for row in _with_means(list(cell))))

    @property
    def failed(self) -> int:
        """How many samples failed, over all tasks, numbers of shots and variants."""
        cells = {(row.task, row.shots, row.variant): row.failed for row in self.rows if row.spread is None}
        return sum(cells.values())

    def blind(self, row: Row) -> Row | None:
        """The same as a row, with blank images; None where that was not asked."""
        wanted = joined(**parted(row.variant) | {"images": "blank"})
        place = (row.task, row.shots, row.metric, wanted)
        found = (other for other in self.rows if (other.task, other.shots, other.metric, other.variant) == place)
        return next(found, None) if "images" not in parted(row.variant) else None

    def score(self, task: str, *, shots: int = 0, metric: str | None = None, variant: str = "") -> float:
        """One value; by default the task's headline metric.

        Raises:
            KeyError: if the report has no such row.
        """
        for row in self.rows:
            if (row.task, row.shots, row.variant) == (task, shots, variant) and metric in (None, row.metric):
                return row.score
        raise KeyError((task, shots, metric, variant))

    def csv(self) -> str:
        """The rows as CSV, numbers in full precision, text without formulas (`kosmos_eval.files`)."""
        import pandas

        names = list(Row.__dataclass_fields__)
        frame = pandas.DataFrame([asdict(row) for row in self.rows], columns=names)
        for name in ("task", "metric", "note", "variant"):
            frame[name] = [inert(text) for text in frame[name]]
        return str(frame.to_csv(index=False))


def rows(
    task: str,
    shots: int,
    metrics: Mapping[str, Metric],
    *,
    shown: float,
    failed: int,
    notes: Sequence[str],
    variant: str = "",
) -> list[Row]:
    """The rows of one task at one number of shots; a task of which every sample failed has one row without a score."""
    found = dict(metrics) or {"none": Metric(float("nan"), None, None, 0)}
    shared: dict[str, Any] = {
        "failed": failed,
        "effective_shots": round(shown, 3),
        "note": ", ".join(notes),
        "variant": variant,
    }
    return [_row(task, shots, name, metric, shared) for name, metric in found.items()]


def _row(task: str, shots: int, name: str, metric: Metric, shared: Mapping[str, Any]) -> Row:
    scale = 100 if metric.unit == "%" else 1

    def scaled(value: float | None) -> float | None:
        return None if value is None else value * scale

    return Row(
        task=task,
        shots=shots,
        metric=name,
        score=metric.value * scale,
        low=scaled(metric.low),
        high=scaled(metric.high),
        unit=metric.unit,
        n=metric.n,
        chance=scaled(metric.chance),
        p_value=metric.p_value,
        **shared,
    )


def _with_means(cell: Sequence[Row]) -> Iterator[Row]:
    """The rows of one task at one number of shots, and after them the means over what they vary in."""
    yield from cell
    for part, over in OVER.items():
        alike: dict[tuple[str, str], list[Row]] = {}
        for row in cell:
            parts = {name: value for name, value in parted(row.variant).items() if name != part}
            alike.setdefault((row.metric, joined(**parts)), []).append(row)
        for (_, variant), rows in alike.items():
            if len(rows) > 1:
                yield _mean(rows, joined(**parted(variant) | {over: str(len(rows))}))


def _mean(rows: Sequence[Row], variant: str) -> Row:
    """One metric over several rows that ought to be alike; what fails in one of them leaves it incomplete."""
    import numpy as np

    means: dict[str, Any] = {}
    for names in AVERAGED:
        ends = [[getattr(row, name) for row in rows] for name in names]
        whole = all(None not in values for values in ends)
        means |= {name: float(np.mean(values)) if whole else None for name, values in zip(names, ends, strict=True)}
    scores = np.array([row.score for row in rows])
    return replace(
        rows[0],
        variant=variant,
        score=float(scores.mean()),
        n=min(row.n for row in rows),
        failed=max(row.failed for row in rows),
        p_value=None,
        effective_shots=float(np.mean([row.effective_shots for row in rows])),
        spread=float(scores.std(ddof=1)),
        worst=float(scores.min()),
        best=float(scores.max()),
        **means,
    )
