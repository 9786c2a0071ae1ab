"""A run that is there already, opened again: its tasks from ``run.json``, its samples, what was answered and marked."""

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kosmos_eval.errors import RunError
from kosmos_eval.evaluation import run_folder
from kosmos_eval.evaluation.evaluator import cell_rows
from kosmos_eval.evaluation.plan import Setting, Variants, cells
from kosmos_eval.evaluation.results import Report, Row
from kosmos_eval.evaluation.run_folder import Run
from kosmos_eval.evaluation.setup import build_shots, build_task
from kosmos_eval.files import redacted
from kosmos_eval.source import Source
from kosmos_eval.task import Task


@dataclass(frozen=True)
class SavedRun:
    """A run's folder with its tasks made anew, so that samples stand beside their records."""

    folder: Path
    config: Mapping[str, Any]
    cells: Sequence[Setting]
    run: Run

    @property
    def model(self) -> str:
        """Who answered."""
        return str(self.config["model_name"])

    @property
    def elsewhere(self) -> bool:
        """Whether the answers were made elsewhere and only marked here: nothing is known of how they were asked."""
        return "answers" in self.config.get("options", {})

    @property
    def report(self) -> Report:
        """The scores, computed again from the records."""
        rows = marked_rows if self.elsewhere else cell_rows
        return Report.of(self.model, [row for cell in self.cells for row in rows(cell, self.run)])


def open_run(folder: Path) -> SavedRun:
    """Open what ``kosmos-eval run`` or ``kosmos-eval score`` left behind.

    Raises:
        KosmosEvalError: if there is no run, it is damaged, or its data are gone.
    """
    config, run = run_folder.load(folder)
    options = config.get("options", {})
    if "answers" in options:
        name = options["task"]
        answered = {record.id for record in run.records.values() if record.task == name}
        cell = marked_cell(name, _task(name, options["options"]), answered, seed=options.get("seed", 0))
        return SavedRun(folder, config, [cell], run)
    if "tasks" not in options:
        raise RunError(f"{folder}/run.json names no tasks; expected a folder that `run` or `score` made")
    chosen = build_shots(options["shots"], options.get("shots_from", "random"))
    if chosen.choice.fingerprint != options.get("shots_fingerprint", ""):
        raise RunError(f"{folder} chose its demonstrations by other weights of {chosen.choice.name}; bring those back")
    todo = cells(tasks(options), shots=chosen, limit=options["limit"], seed=options["seed"], ways=Variants.of(options))
    return SavedRun(folder, config, todo, run)


def tasks(options: Mapping[str, Any]) -> dict[str, Task]:
    """The tasks that the options of a ``run.json`` name, made anew."""
    return {name: _task(name, given) for name, given in options["tasks"].items()}


def resumed(config: dict[str, Any], run: Run) -> str:
    """Take over from a run that goes on when it began, and what it was made with where that is something else now.

    Args:
        config: what ``run.json`` is to say; ``earlier`` lists with what the first so many samples were made.
        run: the run, with what was answered so far.

    Returns:
        One line of what is another version than before; empty where nothing is.
    """
    if run.folder is None:
        return ""
    then = run_folder.load(run.folder)[0]
    config["started"] = then.get("started", config["started"])
    earlier = list(then.get("earlier", ()))
    differ = [f"{name} was {was}, is {now}" for name, was, now in changed(then, config, ("versions", "git"))]
    if differ and run.records:
        earlier.append({name: then.get(name) for name in ("versions", "git")} | {"samples": len(run.records)})
    if earlier:
        config["earlier"] = earlier
    if not differ or not run.records:
        return ""
    run.write("run.json", json.dumps(redacted(config), indent=2, ensure_ascii=False) + "\n")
    kept = f"what was answered before is kept, {len(run.records)} in all; --fresh asks again"
    return f"resumed with other versions ({'; '.join(differ)}): {kept}"


def changed(then: Any, now: Any, names: Iterable[str]) -> Iterator[tuple[str, Any, Any]]:
    """By name, what differs between two ``run.json``: what it was and what it is now, mappings entry by entry."""
    for name in names:
        before, after = then.get(name), now.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            differ = [key for key in {**before, **after} if before.get(key) != after.get(key)]
            yield from ((key, before.get(key), after.get(key)) for key in differ)
        elif before != after:
            yield name, before, after


def marked_cell(name: str, task: Task, answered: Container[str], *, seed: int) -> Setting:
    """The samples of a task that are answered elsewhere, by their ids."""
    split = task.samples()
    return Setting(name, task, 0, seed, [sample for sample in split if sample.id in answered], (), False, split=split)


def marked_rows(cell: Setting, run: Run) -> list[Row]:
    """The report's rows of answers made elsewhere; they say how many samples have none.

    What a closed-ended task notes is the rule by which it chooses; nothing was chosen here.
    """
    closed = all(sample.choices for sample in cell.outlines())
    notes = [] if closed else list(cell.task.notes)
    if left := len(cell.split) - len(cell.samples):
        notes.append(f"{left} of {len(cell.split)} samples are not answered")
    if gone := len(run.records) - len(cell.samples):
        notes.append(f"{gone} answers are to samples that the data no longer have")
    note = ", ".join([*notes, "answers made elsewhere"])
    return [replace(row, note=note) for row in cell_rows(cell, run)]


def _task(name: str, given: Mapping[str, Any]) -> Task:
    source = dict(given.get("source", {}))
    root = source.pop("root", None)
    options = {option: tuple(value) if isinstance(value, list) else value for option, value in given.items()}
    options.pop("source", None)
    return build_task(name, Source(root=Path(root) if root else None, **source), options)
