"""A run repeated from its folder: is it the same?

The same means: the same samples, asked the same, with log-probabilities within `CLOSE` and equal texts. Two texts of
one log-probability tie, and either may come first in another batch: such a pair counts as the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, isclose, isnan
from pathlib import Path
from typing import Annotated, Any

import typer

from kosmos_eval.analysis.saved_run import SavedRun, changed, open_run, tasks
from kosmos_eval.errors import RunError
from kosmos_eval.evaluation.plan import Setting, Variants
from kosmos_eval.evaluation.results import Row
from kosmos_eval.evaluation.run_folder import Record
from kosmos_eval.registry import load_file
from kosmos_eval.request import Completion, Likelihoods, Output

CLOSE = 1e-4
"""How far log-probabilities may be apart: sums in another order differ by less."""

MADE_WITH = ("versions", "hardware", "git", "processes")
"""What ``run.json`` says of how a run was made, beside its options."""


@dataclass(frozen=True)
class Twice:
    """A cell that was evaluated twice.

    Args:
        cell: what was asked.
        gaps: sample id to how far its log-probabilities are apart; infinite where something else differs.
        reasons: of the samples that differ, by id: in what.
        rows: each row of the first time, and the one of the second.
    """

    cell: Setting
    gaps: dict[str, float]
    reasons: dict[str, str]
    rows: tuple[tuple[Row, Row | None], ...]

    @property
    def same(self) -> bool:
        """Whether every sample and every row is."""
        return not self.reasons and all(_equal(first, second) for first, second in self.rows)


def rerun(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    out: Annotated[Path | None, typer.Option("--out", help="The new run's folder; default: RUN-again.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, ...")] = "auto",
    task_file: Annotated[list[Path] | None, typer.Option("--task-file", help="A file that registers tasks.")] = None,
    model_file: Annotated[list[Path] | None, typer.Option("--model-file", help="A file that registers models.")] = None,
) -> None:
    """Repeat a run from its folder and say, row by row and sample by sample, whether it is the same."""
    from kosmos_eval.cli import run

    for path in (*(task_file or ()), *(model_file or ())):
        load_file(path)
    first = open_run(folder)
    options = first.config["options"]
    if "answers" in options:
        raise RunError(f"{folder} marks answers made elsewhere; repeat it by `kosmos-eval score`")
    given = first.config.get("given", options)
    asking = run.Asking(
        model=given["model"],
        model_options=[option for option in given.get("model_options", ()) if not option.endswith("=***")],
        device=device,
        shots=options["shots"],
        limit=options["limit"],
        seed=options["seed"],
        shots_from=options.get("shots_from", "random"),
        ways=Variants.of(options),
    )
    again = out or folder.with_name(f"{folder.name}-again")
    unfinished = (again / "run.json").exists() and "finished" not in open_run(again).config
    run.run(asking, tasks(options), folder=again, fresh=not unfinished, html=False)
    second = open_run(again)
    found = compared(first, second)
    for line in told(found, first, second):
        run.console.print(line, highlight=False, soft_wrap=True, markup=False)
    different = [twice.cell.label for twice in found if not twice.same]
    if different:
        raise RunError(f"{again} is not the same as {folder}: {len(different)} of {len(found)} parts differ, see above")


def compared(first: SavedRun, second: SavedRun) -> list[Twice]:
    """Every cell of a run beside the same cell of its repetition."""
    rows = {(row.task, row.shots, row.variant, row.metric): row for row in second.report.rows}
    found = []
    for cell in first.cells:
        gaps, reasons = {}, {}
        for sample in cell.outlines():
            records = cell.record(first.run, sample.id), cell.record(second.run, sample.id)
            gaps[sample.id], reason = _apart(*records)
            if reason:
                reasons[sample.id] = reason
        own = [row for row in first.report.rows if (row.task, row.shots, row.variant) == _place(cell)]
        pairs = tuple((row, rows.get((row.task, row.shots, row.variant, row.metric))) for row in own)
        found.append(Twice(cell, gaps, reasons, pairs))
    return found


def told(found: Sequence[Twice], first: SavedRun, second: SavedRun) -> Iterator[str]:
    """What a comparison found, a line each: what it was made with, then the cells, then the conclusion."""
    for name, then, now in _made_with(first.config, second.config):
        yield f"{name}: {then}, now {now}"
    for twice in found:
        widest = max((gap for gap in twice.gaps.values() if gap < inf), default=0.0)
        said = f"{len(twice.gaps) - len(twice.reasons)} of {len(twice.gaps)} samples are the same"
        yield f"{twice.cell.label}: {said}, log-probabilities within {widest:.1g}"
        for row, now in twice.rows:
            if not _equal(row, now):
                yield f"  {row.metric}: {row.score:.4f}, now {'missing' if now is None else f'{now.score:.4f}'}"
        for id, reason in list(twice.reasons.items())[:3]:
            yield f"  {id}: {reason}"
    if all(twice.same for twice in found):
        yield f"the same: {sum(len(twice.gaps) for twice in found)} samples, every row"


def _place(cell: Setting) -> tuple[str, int, str]:
    return cell.name, cell.shots, cell.variant


def _apart(then: Record | None, now: Record | None) -> tuple[float, str]:
    """How far the answers to one sample are apart, and in what they differ; nothing where they are the same."""
    if then is None or now is None:
        return (0.0, "") if then is now else (inf, f"was asked the {'second' if then is None else 'first'} time only")
    if then.prompt != now.prompt:
        return inf, "the prompt is another: data, demonstrations or wording have changed"
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
    """How far the log-probabilities are apart; infinite where texts differ that do not tie."""
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
    """Whether a row has the same score over as many samples; one without a score equals another."""
    if second is None or (first.n, first.failed) != (second.n, second.failed):
        return False
    return isclose(first.score, second.score, abs_tol=1e-9) or (isnan(first.score) and isnan(second.score))


def _made_with(then: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    """By name, what two runs were made with where it differs."""
    yield from changed(then["options"], now["options"], ("model_fingerprint",))
    yield from changed(then, now, MADE_WITH)
