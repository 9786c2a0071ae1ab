"""The rows of a report: one for each task, number of shots, variant and metric."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kosmos_eval.metrics.statistics import Metric


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


@dataclass(frozen=True)
class Report:
    """The scores of a model."""

    model: str
    rows: tuple[Row, ...]

    @property
    def failed(self) -> int:
        """How many samples failed, over all tasks and numbers of shots."""
        return sum({(row.task, row.shots, row.variant): row.failed for row in self.rows}.values())

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
        """The rows as CSV, numbers in full precision."""
        import pandas

        names = list(Row.__dataclass_fields__)
        frame = pandas.DataFrame([asdict(row) for row in self.rows], columns=names)
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
