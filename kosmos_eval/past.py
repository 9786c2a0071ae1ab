"""A run that is there already, opened again: its tasks from ``run.json``, its samples, what was answered and marked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kosmos_eval import runs
from kosmos_eval.build import build_shots, build_task
from kosmos_eval.cells import Cell, Ways, cells
from kosmos_eval.errors import RunError
from kosmos_eval.evaluate import cell_rows
from kosmos_eval.report.rows import Report
from kosmos_eval.runs import Run
from kosmos_eval.source import Source
from kosmos_eval.task import Task


@dataclass(frozen=True)
class Past:
    """A run's folder with its tasks made anew, so that samples stand beside their records."""

    folder: Path
    config: Mapping[str, Any]
    cells: Sequence[Cell]
    run: Run

    @property
    def model(self) -> str:
        """Who answered."""
        return str(self.config["model_name"])

    @property
    def report(self) -> Report:
        """The scores, computed again from the records."""
        return Report.of(self.model, [row for cell in self.cells for row in cell_rows(cell, self.run)])


def reopened(folder: Path) -> Past:
    """Open what ``kosmos-eval run`` or ``kosmos-eval score`` left behind.

    Raises:
        KosmosEvalError: if there is no run, it is damaged, or its data are gone.
    """
    config, run = runs.load(folder)
    options = config.get("options", {})
    if "answers" in options:
        return Past(folder, config, [_scored_cell(options, run)], run)
    if "tasks" not in options:
        raise RunError(f"{folder}/run.json names no tasks; expected a folder that `run` or `score` made")
    chosen = build_shots(options["shots"], options.get("shots_from", "random"))
    if chosen.choice.fingerprint != options.get("shots_fingerprint", ""):
        raise RunError(f"{folder} chose its demonstrations by other weights of {chosen.choice.name}; bring those back")
    todo = cells(tasks(options), shots=chosen, limit=options["limit"], seed=options["seed"], ways=Ways.of(options))
    return Past(folder, config, todo, run)


def tasks(options: Mapping[str, Any]) -> dict[str, Task[Any]]:
    """The tasks that the options of a ``run.json`` name, made anew."""
    return {name: _task(name, given) for name, given in options["tasks"].items()}


def _scored_cell(options: Mapping[str, Any], run: Run) -> Cell:
    """The samples that a file of answers answers."""
    name = options["task"]
    task = _task(name, options["options"])
    answered = [sample for sample in task.samples() if run.record(name, 0, sample.id) is not None]
    return Cell(name, task, 0, 0, answered, (), False)


def _task(name: str, given: Mapping[str, Any]) -> Task[Any]:
    source = dict(given.get("source", {}))
    root = source.pop("root", None)
    options = {option: tuple(value) if isinstance(value, list) else value for option, value in given.items()}
    options.pop("source", None)
    return build_task(name, Source(root=Path(root) if root else None, **source), options)
