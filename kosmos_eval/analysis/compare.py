"""Two runs compared sample by sample: which one is better, and can these samples tell?"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kosmos_eval.analysis.saved_run import AlignedSetting, SavedRun, aligned, open_run
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.evaluation.run_folder import Record
from kosmos_eval.evaluation.variant import SettingKey
from kosmos_eval.metrics.paired import Difference, holm, paired

CERTAIN = 0.05
"""Below this corrected p-value a difference is called one."""


@dataclass(frozen=True)
class Change:
    """One sample that the two runs do unequally well; ``first`` and ``second`` are its values."""

    id: str
    first: float
    second: float
    first_answer: str
    second_answer: str


@dataclass(frozen=True)
class Compared:
    """A setting of both runs.

    Args:
        key: the setting.
        metric: the value that is compared, the task's headline.
        unit: ``%`` for values of 0..1, which reports show in per cent.
        n: samples that both runs scored.
        left_out: samples that only one of them scored.
        changed_prompts: of the ``n``, samples whose prompts differ, such as by the demonstrations that fitted.
        first: the first run's mean value.
        second: the second run's mean value.
        difference: second minus first, with its interval.
        corrected: the p-value by Holm's correction for all rows compared.
        changes: every sample with unequal values, the largest change first.
    """

    key: SettingKey
    metric: str
    unit: str
    n: int
    left_out: int
    changed_prompts: int
    first: float
    second: float
    difference: Difference
    corrected: float
    changes: tuple[Change, ...]

    @property
    def name(self) -> str:
        """The task and its variant."""
        return ", ".join(filter(None, (self.key.task, str(self.key.variant))))

    @property
    def scale(self) -> int:
        """The factor from values to the unit."""
        return 100 if self.unit == "%" else 1

    @property
    def verdict(self) -> str:
        """The outcome in words."""
        found = self.difference
        if self.corrected < CERTAIN:
            return "B is better" if found.value > 0 else "B is worse"
        return "not after Holm" if found.p_value < CERTAIN else "inconclusive"


@dataclass(frozen=True)
class Comparison:
    """Two runs compared: by their names, with a row for each setting that both have."""

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
    settings = list(aligned([a, b]))
    both = [one for one in settings if None not in one.settings]
    if not both:
        raise KosmosEvalError(
            f"{first} ({_listed(a)}) and {second} ({_listed(b)}) have no task at the same number of shots in common"
        )
    rows = [row for one in both if (row := _row(one, a, b, seed)) is not None]
    if not rows:
        raise KosmosEvalError(f"no sample of {first} has a value in {second}; were both runs on the same split?")
    corrected = holm([row.difference.p_value for row in rows])
    rows = [replace(row, corrected=p_value) for row, p_value in zip(rows, corrected, strict=True)]
    notes = [
        f"only in {name}: {one.key}"
        for place, name in enumerate("AB")
        for one in settings
        if one.settings[place] is not None and one.settings[1 - place] is None
    ]
    compared = {row.key for row in rows}
    notes += [f"{one.key}: no value of a sample is in both runs" for one in both if one.key not in compared]
    notes += [f"{name}: options differ: {said}" for name, said in _differing(a, b).items()]
    return Comparison(a.model, b.model, tuple(rows), tuple(notes))


def _row(setting: AlignedSetting, a: SavedRun, b: SavedRun, seed: int) -> Compared | None:
    """Return a setting of both runs compared; None where no sample has the same value in both."""
    ours, theirs = setting.settings
    assert ours is not None
    assert theirs is not None
    metric = ours.headline
    scored, scored_too = ({id for id, own in one.values.items() if metric in own} for one in (ours, theirs))
    both = [one for one in setting.samples if one.sample.id in scored & scored_too]
    if not both:
        return None
    records = [(first, second) for first, second in (one.records for one in both) if first and second]
    changed = sum(not one.same_prompt for one in both)
    if changed == len(both):
        raise KosmosEvalError(
            f"{setting.key}: every prompt of {b.folder} differs from {a.folder}'s, so they are not comparable; "
            "expected runs on the same data with the same seed and task options"
        )
    firsts = [ours.values[one.sample.id][metric] for one in both]
    seconds = [theirs.values[one.sample.id][metric] for one in both]
    changes = [
        Change(x.id, value, then, _answer(x), _answer(y))
        for (x, y), value, then in zip(records, firsts, seconds, strict=True)
        if value != then
    ]
    return Compared(
        key=setting.key,
        metric=metric,
        unit="%" if ours.is_share(metric) and theirs.is_share(metric) else "",
        n=len(both),
        left_out=len(scored ^ scored_too),
        changed_prompts=changed,
        first=sum(firsts) / len(both),
        second=sum(seconds) / len(both),
        difference=paired(firsts, seconds, groups=[one.sample.group or one.sample.id for one in both], seed=seed),
        corrected=1.0,
        changes=tuple(sorted(changes, key=lambda change: -abs(change.second - change.first))),
    )


def _answer(record: Record) -> str:
    return record.score.answer if record.score is not None else ""


def _listed(run: SavedRun) -> str:
    return "; ".join(setting.label for setting in run.settings)


def _differing(a: SavedRun, b: SavedRun) -> dict[str, str]:
    """Return, by task, the options in which the runs differ, the data's folder aside."""
    found = {}
    theirs = _options(b)
    for name, given in _options(a).items():
        other = theirs.get(name, given)
        said = [f"{key} {given.get(key)!r}, {other.get(key)!r}" for key in given if given.get(key) != other.get(key)]
        if said:
            found[name] = "; ".join(said)
    return found


def _options(run: SavedRun) -> dict[str, dict[str, Any]]:
    return {
        name: {key: value for key, value in given.items() if key != "source"}
        | {"split": dict(given.get("source") or {}).get("split")}
        for name, given in run.config.tasks.items()
    }
