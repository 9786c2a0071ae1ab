"""The rows of a report: one for each setting and metric; as CSV and back."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import Any, Self

from kosmos_eval.errors import BadData
from kosmos_eval.evaluation.variant import AVERAGED_OVER, SettingKey, Variant
from kosmos_eval.files import Json, inert, restored
from kosmos_eval.metrics.paired import Difference
from kosmos_eval.metrics.statistics import Metric

AVERAGED = (("low", "high"), ("image_gain",), ("image_gain_low", "image_gain_high"))
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
        chance: the chance level.
        p_value: how probable that much is by guessing, exact and one-sided.
        effective_shots: demonstrations that fitted into the context, on average.
        note: how the number came about: the scoring rule, where demonstrations come from.
        variant: the text of a `Variant`, such as ``images=blank``; empty for the default.
            ``prompts=3`` or ``seeds=3`` is the mean over so many prompts, or draws of demonstrations; its interval has
            the mean ends of theirs, which is never too narrow, as a mean varies no more than what it is the mean of.
        spread: of such a mean, the standard deviation between them.
        worst: of such a mean, the lowest of them.
        best: of such a mean, the highest of them.
        image_gain: of a row that was asked without the real images, what these add: the score of the same samples with
            them minus this one, by pairs; None where the run has no such score.
        image_gain_low: lower end of its 95 % interval.
        image_gain_high: upper end of its 95 % interval.
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
    image_gain: float | None = None
    image_gain_low: float | None = None
    image_gain_high: float | None = None

    @property
    def key(self) -> SettingKey:
        """The setting that the row is of."""
        return SettingKey(self.task, self.shots, Variant.parse(self.variant))

    def with_gain(self, difference: Difference) -> Self:
        """Return the row with the image gain, a difference of values."""
        scale = 100 if self.unit == "%" else 1
        low, high = (None if end is None else end * scale for end in (difference.low, difference.high))
        return replace(self, image_gain=difference.value * scale, image_gain_low=low, image_gain_high=high)


@dataclass(frozen=True)
class Report:
    """The scores of a model.

    Args:
        model: how reports call it.
        rows: the rows, settings in the order in which they were asked.
        folder: the run's folder; None where the run was kept in memory.
    """

    model: str
    rows: tuple[Row, ...]
    folder: Path | None = None

    @classmethod
    def of(cls, model: str, rows: Iterable[Row]) -> Self:
        """Return a model's report, with a mean over prompts, and over draws, wherever a task was asked in several."""
        groups = groupby(rows, key=lambda row: (row.task, row.shots))
        return cls(model, tuple(row for _, group in groups for row in _with_means(list(group))))

    @property
    def failed(self) -> int:
        """The number of failed samples, over all settings."""
        return sum({row.key: row.failed for row in self.rows if row.spread is None}.values())

    def blind(self, row: Row) -> Row | None:
        """Return the same as a row, with blank images; None where that was not asked."""
        variant = row.key.variant
        if variant.images != "real":
            return None
        wanted = (row.task, row.shots, row.metric, str(replace(variant, images="blank")))
        found = (other for other in self.rows if (other.task, other.shots, other.metric, other.variant) == wanted)
        return next(found, None)

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


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a ``scores.csv`` that `Report.csv` wrote.

    Raises:
        BadData: if the file cannot be read, or is not such a CSV.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = csv.DictReader(file)
            missing = [field.name for field in fields(Row) if field.name not in (lines.fieldnames or ())]
            if missing:
                raise ValueError(f"it has no column {missing[0]!r}")
            return [_parsed(line) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:100]
        raise BadData(
            f"{path} is no scores.csv of a run ({reason}); `kosmos-eval report --rescore` writes it"
        ) from error


def _parsed(line: Mapping[str, str]) -> Row:
    values: dict[str, Any] = {}
    for field in fields(Row):
        text = line[field.name]
        if field.name in ("task", "metric", "note", "variant", "unit"):
            values[field.name] = restored(text)
        elif field.name in ("shots", "n", "failed"):
            values[field.name] = int(text)
        else:
            values[field.name] = float(text) if text else None
            if text and not isfinite(values[field.name]):
                raise ValueError(f"its column {field.name!r} holds {text}")
    if values["score"] is None:
        values["score"] = float("nan")
    Variant.parse(values["variant"])
    return Row(**values)


def rows(
    key: SettingKey, metrics: Mapping[str, Metric], *, shown: float, failed: int, notes: Sequence[str]
) -> list[Row]:
    """Return the rows of a setting; one of which every sample failed has one row without a score."""
    found = dict(metrics) or {"none": Metric(float("nan"), None, None, 0)}
    shared = {
        "failed": failed,
        "effective_shots": round(shown, 3),
        "note": ", ".join(notes),
        "variant": str(key.variant),
    }
    return [_row(key.task, key.shots, name, metric, shared) for name, metric in found.items()]


def _row(task: str, shots: int, name: str, metric: Metric, shared: Json) -> Row:
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


def _with_means(group: Sequence[Row]) -> Iterator[Row]:
    """Return the rows of one task at one number of shots, and after them the means over what they vary in."""
    yield from group
    for part in AVERAGED_OVER:
        alike: dict[tuple[str, Variant], list[Row]] = {}
        for row in group:
            alike.setdefault((row.metric, row.key.variant.without(part)), []).append(row)
        for (_, variant), rows in alike.items():
            if len(rows) > 1:
                yield _mean(rows, str(variant.mean_over(part, len(rows))))


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
