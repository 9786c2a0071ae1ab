"""Two runs beside each other, sample by sample: which one is better, and can these samples tell?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kosmos_eval.analysis.saved_run import SavedRun, open_run
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.evaluation.plan import Setting
from kosmos_eval.evaluation.run_folder import Record
from kosmos_eval.evaluation.scores import has_sample_metrics, marks
from kosmos_eval.metrics.paired import Difference, holm, paired

CERTAIN = 0.05
"""Below this corrected p-value a difference is called one."""


@dataclass(frozen=True)
class Change:
    """One sample that the two runs do unequally well; ``first`` and ``second`` are its marks."""

    id: str
    first: float
    second: float
    first_answer: str
    second_answer: str


@dataclass(frozen=True)
class Compared:
    """A task at a number of shots, in both runs.

    Args:
        task: the task.
        shots: demonstrations asked for.
        metric: the mark that is compared, the task's headline.
        unit: ``%`` for marks of 0..1, which reports show in per cent.
        n: samples that both runs scored.
        left_out: samples that only one of them scored.
        otherwise: of the ``n``, samples whose prompts differ, such as by the demonstrations that fitted.
        first: the first run's mean mark.
        second: the second run's mean mark.
        difference: second minus first, with its interval.
        corrected: the p-value by Holm's correction for all rows compared.
        changes: every sample with unequal marks, the largest change first.
        variant: how both runs asked otherwise than usual; empty for the usual way.
    """

    task: str
    shots: int
    metric: str
    unit: str
    n: int
    left_out: int
    otherwise: int
    first: float
    second: float
    difference: Difference
    corrected: float
    changes: tuple[Change, ...]
    variant: str = ""

    @property
    def name(self) -> str:
        """The task, and how it was asked otherwise than usual."""
        return ", ".join(filter(None, (self.task, self.variant)))

    @property
    def verdict(self) -> str:
        """What the samples say, in words."""
        found = self.difference
        if self.corrected < CERTAIN:
            return "B is better" if found.value > 0 else "B is worse"
        return "not after Holm" if found.p_value < CERTAIN else "too few to tell"


@dataclass(frozen=True)
class Comparison:
    """Two runs compared: by their names, with a row for each task and number of shots that both have."""

    first: str
    second: str
    rows: tuple[Compared, ...]
    notes: tuple[str, ...]


def compare(first: Path, second: Path, *, seed: int = 0) -> Comparison:
    """Compare two runs on the samples that both scored.

    Args:
        first: a run's folder.
        second: the folder that it is compared with; differences are this one minus the first.
        seed: of the bootstrap.

    Raises:
        KosmosEvalError: if they have no scored sample in common, or asked different things.
    """
    a, b = open_run(first), open_run(second)
    pairs = [(cell, other) for cell in a.cells for other in b.cells if _place(cell) == _place(other)]
    if not pairs:
        raise KosmosEvalError(
            f"{first} ({_listed(a)}) and {second} ({_listed(b)}) have no task at the same number of shots in common"
        )
    rows = [row for cell, other in pairs if (row := _row(cell, other, a, b, seed)) is not None]
    if not rows:
        raise KosmosEvalError(f"no sample of {first} has a mark in {second}; were both runs on the same split?")
    corrected = holm([row.difference.p_value for row in rows])
    rows = [replace(row, corrected=p_value) for row, p_value in zip(rows, corrected, strict=True)]
    places = {_place(cell) for cell, _ in pairs}
    notes = [
        f"only in {name}: {cell.label}"
        for name, past in (("A", a), ("B", b))
        for cell in past.cells
        if _place(cell) not in places
    ]
    notes += [
        f"{cell.label}: no mark of a sample is in both runs"
        for cell, _ in pairs
        if _place(cell) not in {(row.task, row.shots, row.variant) for row in rows}
    ]
    notes += [f"{name}: options differ: {said}" for name, said in _differing(a, b).items()]
    return Comparison(a.model, b.model, tuple(rows), tuple(notes))


def _row(cell: Setting, other: Setting, a: SavedRun, b: SavedRun, seed: int) -> Compared | None:
    """A cell of both runs; None where no sample has the same mark in both."""
    found, others = marks(cell, a.run), marks(other, b.run)
    metric = next((name for own in found.values() for name in own), "")
    scored, scored_too = ({id for id, own in part.items() if metric in own} for part in (found, others))
    both = [sample for sample in cell.outlines() if sample.id in scored & scored_too]
    if not both:
        return None
    records = [(_record(cell, a, sample.id), _record(cell, b, sample.id)) for sample in both]
    otherwise = sum(bool(x.prompt and y.prompt) and x.prompt != y.prompt for x, y in records)
    if otherwise == len(both):
        raise KosmosEvalError(
            f"{cell.label}: every prompt of {b.folder} differs from {a.folder}'s, so they are not comparable; "
            "expected runs on the same data with the same seed and task options"
        )
    firsts = [found[sample.id][metric] for sample in both]
    seconds = [others[sample.id][metric] for sample in both]
    changes = [
        Change(x.id, mark, then, _answer(x), _answer(y))
        for (x, y), mark, then in zip(records, firsts, seconds, strict=True)
        if mark != then
    ]
    return Compared(
        task=cell.name,
        shots=cell.shots,
        metric=metric,
        unit="%" if not has_sample_metrics(cell.task) and all(0 <= m <= 1 for m in (*firsts, *seconds)) else "",
        n=len(both),
        left_out=len(scored ^ scored_too),
        otherwise=otherwise,
        first=sum(firsts) / len(both),
        second=sum(seconds) / len(both),
        difference=paired(firsts, seconds, groups=[sample.group or sample.id for sample in both], seed=seed),
        corrected=1.0,
        changes=tuple(sorted(changes, key=lambda change: -abs(change.second - change.first))),
        variant=cell.variant,
    )


def _place(cell: Setting) -> tuple[str, int, str]:
    return cell.name, cell.shots, cell.variant


def _record(cell: Setting, past: SavedRun, id: str) -> Record:
    record = cell.record(past.run, id)
    assert record is not None, "a sample with marks has a record"
    return record


def _answer(record: Record) -> str:
    return record.score.answer if record.score is not None else ""


def _listed(past: SavedRun) -> str:
    return "; ".join(cell.label for cell in past.cells)


def _differing(a: SavedRun, b: SavedRun) -> dict[str, str]:
    """Task to the options in which the runs differ, the data's folder aside."""
    found = {}
    for name, given in _options(a).items():
        other = _options(b).get(name, given)
        said = [f"{key} {given.get(key)!r}, {other.get(key)!r}" for key in given if given.get(key) != other.get(key)]
        if said:
            found[name] = "; ".join(said)
    return found


def _options(past: SavedRun) -> dict[str, dict[str, Any]]:
    options = past.config["options"]
    tasks: Mapping[str, Mapping[str, Any]] = options.get("tasks") or {options["task"]: options["options"]}
    return {
        name: {key: value for key, value in given.items() if key != "source"}
        | {"split": given.get("source", {}).get("split")}
        for name, given in tasks.items()
    }
