"""A run compared with its repetition: is it the same?

The same means: the same samples, asked the same, with log-probabilities within `CLOSE` and equal texts. Two texts of
one log-probability tie, and either may come first in another batch: such a pair counts as the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, isclose, isnan
from typing import Any

from kosmos_eval.analysis.saved_run import SavedRun, aligned
from kosmos_eval.evaluation.results import Row
from kosmos_eval.evaluation.run_config import Environment
from kosmos_eval.evaluation.run_folder import Record
from kosmos_eval.evaluation.variant import SettingKey
from kosmos_eval.files import Json
from kosmos_eval.request import Completion, Likelihoods, Output

CLOSE = 1e-4
"""The largest difference of log-probabilities that counts as the same: sums in another order differ by less."""


@dataclass(frozen=True)
class Repeated:
    """A setting that was evaluated twice.

    Args:
        key: the setting.
        gaps: sample id to how far its log-probabilities are apart; infinite where something else differs.
        reasons: of the samples that differ, by id: in what.
        rows: each row of the first time, and the one of the second.
    """

    key: SettingKey
    gaps: dict[str, float]
    reasons: dict[str, str]
    rows: tuple[tuple[Row, Row | None], ...]

    @property
    def same(self) -> bool:
        """True where every sample and every row is the same."""
        return not self.reasons and all(_equal(first, second) for first, second in self.rows)


def compare_repeated(first: SavedRun, second: SavedRun) -> list[Repeated]:
    """Compare every setting of a run with the same setting of its repetition."""
    rows = {(row.key, row.metric): row for row in second.report.rows}
    found = []
    for setting in aligned([first, second]):
        if setting.settings[0] is None:
            continue
        gaps, reasons = {}, {}
        for one in setting.samples:
            then, now = one.records
            gaps[one.sample.id], reason = _gap_and_reason(then, now)
            if reason:
                reasons[one.sample.id] = reason
        own = [row for row in first.report.rows if row.key == setting.key]
        found.append(Repeated(setting.key, gaps, reasons, tuple((row, rows.get((row.key, row.metric))) for row in own)))
    return found


def describe(found: Sequence[Repeated], first: SavedRun, second: SavedRun) -> Iterator[str]:
    """Return the comparison as lines: what the runs were made with, then the settings, then the conclusion."""
    for name, then, now in _made_with(first, second):
        yield f"{name}: {then}, now {now}"
    for twice in found:
        widest = max((gap for gap in twice.gaps.values() if gap < inf), default=0.0)
        said = f"{len(twice.gaps) - len(twice.reasons)} of {len(twice.gaps)} samples are the same"
        yield f"{twice.key}: {said}, log-probabilities within {widest:.1g}"
        for row, now in twice.rows:
            if not _equal(row, now):
                yield f"  {row.metric}: {row.score:.4f}, now {'missing' if now is None else f'{now.score:.4f}'}"
        for id, reason in list(twice.reasons.items())[:3]:
            yield f"  {id}: {reason}"
    if all(twice.same for twice in found):
        yield f"the same: {sum(len(twice.gaps) for twice in found)} samples, every row"


def _gap_and_reason(then: Record | None, now: Record | None) -> tuple[float, str]:
    """Return how far the answers to one sample are apart, and in what they differ; nothing where they are the same."""
    if then is None or now is None:
        return (0.0, "") if then is now else (inf, f"was asked the {'second' if then is None else 'first'} time only")
    if then.prompt != now.prompt:
        return inf, "the prompt has changed: other data, demonstrations or wording"
    if then.error != now.error:
        return inf, f"{then.error or 'answered'}, now {now.error or 'answered'}"
    if len(then.outputs) != len(now.outputs):
        return inf, f"{len(then.outputs)} answers, now {len(now.outputs)}"
    widest = 0.0
    for one, other in zip(then.outputs, now.outputs, strict=True):
        gap = _gap(one, other)
        if gap > CLOSE:
            return gap, f"{_said(one)}, now {_said(other)}"
        widest = max(widest, gap)
    return widest, ""


def _gap(one: Output, other: Output) -> float:
    """Return how far the log-probabilities are apart; infinite where texts differ that do not tie."""
    if isinstance(one, Likelihoods) and isinstance(other, Likelihoods) and len(one.logprobs) == len(other.logprobs):
        pairs = list(zip(one.logprobs, other.logprobs, strict=True))
    elif isinstance(one, Completion) and isinstance(other, Completion):
        pairs = [] if one.logprob is None or other.logprob is None else [(one.logprob, other.logprob)]
        if one.text != other.text and not (pairs and _widest(pairs) <= CLOSE):
            return inf
    else:
        return inf
    return _widest(pairs)


def _widest(pairs: Sequence[tuple[float, float]]) -> float:
    return max((0.0 if one == other else abs(one - other) for one, other in pairs), default=0.0)


def _said(output: Output) -> str:
    return repr(output.text) if isinstance(output, Completion) else str([round(one, 4) for one in output.logprobs])


def _equal(first: Row, second: Row | None) -> bool:
    """Return whether a row has the same score over as many samples; one without a score equals another."""
    if second is None or (first.n, first.failed) != (second.n, second.failed):
        return False
    return isclose(first.score, second.score, abs_tol=1e-9) or (isnan(first.score) and isnan(second.score))


def _made_with(first: SavedRun, second: SavedRun) -> Iterator[tuple[str, Any, Any]]:
    """Return, by name, what two runs were made with where it differs."""
    prints = first.config.model_fingerprint, second.config.model_fingerprint
    if prints[0] != prints[1]:
        yield "model_fingerprint", *prints
    then, now = _flat(first.manifest.environment), _flat(second.manifest.environment)
    yield from ((name, then.get(name), now.get(name)) for name in {**then, **now} if then.get(name) != now.get(name))


def _flat(environment: Environment) -> Json:
    return {
        **environment.versions,
        **environment.hardware,
        "git": environment.git,
        "processes": environment.processes,
    }
