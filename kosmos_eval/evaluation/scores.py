"""The marks of a run's samples, and what the pictures add to them."""

import json
from collections.abc import Mapping

from kosmos_eval.evaluation.chain_of_thought import ReasonedTask
from kosmos_eval.evaluation.plan import Setting
from kosmos_eval.evaluation.run_folder import Run
from kosmos_eval.metrics.paired import Difference, paired
from kosmos_eval.metrics.statistics import Metric
from kosmos_eval.sample import Sample
from kosmos_eval.task import Score, Task


def scored(cell: Setting, run: Run) -> tuple[list[Sample], list[Score]]:
    """The samples of a cell that have a score, as outlines, and their scores."""
    found = [(sample, cell.record(run, sample.id)) for sample in cell.outlines()]
    pairs = [(sample, record.score) for sample, record in found if record is not None and record.score is not None]
    return [sample for sample, _ in pairs], [score for _, score in pairs]


def marks(cell: Setting, run: Run, *, anew: bool = False) -> dict[str, dict[str, float]]:
    """Sample id to its marks, the task's headline metric first; samples without marks are left out.

    Args:
        cell: whose samples.
        run: its records.
        anew: compute what only the whole corpus decides, even if the run's folder has a file of it.
    """
    samples, scores = scored(cell, run)
    found: Mapping[str, Mapping[str, float]] = {s.id: score.values for s, score in zip(samples, scores, strict=True)}
    if samples and has_sample_metrics(cell.task):
        path = run.folder / marks_file(cell) if run.folder is not None and not anew else None
        there = json.loads(path.read_text(encoding="utf-8")) if path is not None and path.exists() else None
        if there is None or there.keys() != found.keys():
            there = cell.task.sample_metrics(samples, scores)
        found = {id: {**own, **there[id]} for id, own in found.items()}
    headline = cell.task.info.metric
    return {
        id: {name: own[name] for name in sorted(own, key=lambda name: name != headline)}
        for id, own in found.items()
        if own
    }


def has_sample_metrics(task: Task) -> bool:
    """Return whether a task has values of samples that only the whole corpus decides."""
    inner = task.task if isinstance(task, ReasonedTask) else task
    return type(inner).sample_metrics is not Task.sample_metrics


def marks_file(cell: Setting) -> str:
    """The file of a run that holds the marks which only the whole corpus decides."""
    return f"{cell_file(cell)}-marks.json"


def cell_file(cell: Setting) -> str:
    """What the names of a cell's files begin with."""
    return "-".join(filter(None, (cell.name, f"{cell.shots}-shot", cell.variant.replace("=", "-").replace(",", "-"))))


def added(cell: Setting, run: Run, metrics: Mapping[str, Metric]) -> dict[str, Difference]:
    """What the real pictures add to the metrics of a cell that is asked without them, if the run has both.

    The same samples are compared by pairs, as two systems are (`kosmos_eval.metrics.paired`). Only metrics that are
    the mean of their marks (`Metric.averaged`) have such a difference: not BLEU, nor the area under a curve.

    Args:
        cell: asked with other pictures, or none.
        run: its records, and those of the same with the real pictures.
        metrics: the cell's.
    """
    sighted, outlines = cell.sighted, cell.outlines()
    if sighted is None or all(sighted.record(run, sample.id) is None for sample in outlines):
        return {}
    blind, real = marks(cell, run, anew=True), marks(sighted, run, anew=True)
    found = {}
    for name in (name for name, metric in metrics.items() if metric.averaged):
        both = [sample for sample in outlines if all(name in each.get(sample.id, {}) for each in (blind, real))]
        if both:
            found[name] = paired(
                [blind[sample.id][name] for sample in both],
                [real[sample.id][name] for sample in both],
                groups=[sample.group or sample.id for sample in both],
                seed=cell.seed,
            )
    return found
