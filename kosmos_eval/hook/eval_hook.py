"""Evaluation inside a training loop: the same `evaluate` on the live model, which leaves no trace in the training.

    hook = EvalHook(["my_task", "another"], every=500, budget="60s", wrap=lambda module: live(module, tokenizer))
    for step, batch in enumerate(batches):
        ...
        for name, value in hook(step, module):
            writer.add_scalar(name, value, step)
        if hook.should_stop:
            break

`kosmos_eval.hook.callbacks` has the same for ``transformers.Trainer`` and Lightning.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from time import monotonic
from typing import Any

from kosmos_eval.errors import KosmosEvalError, UnknownName
from kosmos_eval.evaluation.distributed import Ranks, joined
from kosmos_eval.evaluation.plan import Setting, plan
from kosmos_eval.evaluation.results import Row
from kosmos_eval.evaluation.run_folder import RunFolder
from kosmos_eval.evaluation.setup import load_tasks
from kosmos_eval.fewshot.selection import Shots
from kosmos_eval.hook.budget import KEPT, BudgetedRun, calibrated, seconds, sized
from kosmos_eval.hook.history import Entry, Watch, read, write
from kosmos_eval.hook.isolation import free_memory, preserve_training_state, unwrap_model
from kosmos_eval.model import Model
from kosmos_eval.source import Source
from kosmos_eval.task import Task

FEW = 16
"""Samples of a task below which its interval says next to nothing."""


def _import_metrics() -> None:
    """Import what metrics need, so that it does not count as an evaluation's time."""
    import numpy  # noqa: F401
    import scipy.stats  # noqa: F401


def _on_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@dataclass
class EvalHook:
    """Call it as ``hook(step, model)`` after every step; it evaluates at every so many.

    Under ``torch.distributed`` call it on every rank: all evaluate (`kosmos_eval.evaluation.distributed` says how), all
    get the values, the first one writes and speaks.

    Args:
        tasks: names of tasks (on their synthetic splits), or made tasks by name.
        every: evaluate at the steps that this divides.
        limit: at most so many samples a task, a seeded subset.
        budget: seconds for one evaluation, as a number or such as ``60s``. The first evaluation measures how many
            samples fit; all later ones, also after a restart with the same ``csv``, ask the same ones. Only where the
            second, the first to ask them in one go, is far from the budget, it asks more or fewer, and says so.
        shots: numbers of demonstrations, of all tasks or by task; `Shots` also says how they are chosen.
        seed: decides subset, demonstrations and bootstrap.
        wrap: makes of the training's module a model that answers requests; None where the model itself does. Under DDP
            it gets the inner module.
        csv: gets a line for each step and metric. An existing file is continued: its lines of the first step that is
            evaluated here, and of later ones, are dropped.
        watch: decides which step is the best and when to stop.
        strict: let errors of an evaluation end the training. Otherwise they are reported and counted in ``errors``.
        log: gets a line for each headline score and each error; standard error by default.
        errors: tracebacks of the evaluations that failed.
        history: what the evaluations have found.

    Raises:
        KosmosEvalError: if a task, its data or an option cannot be used; before the training begins.
    """

    tasks: Mapping[str, Task] | Sequence[str]
    every: int = 1000
    limit: int | None = None
    budget: str | float | None = None
    shots: Sequence[int] | Shots | Mapping[str, Sequence[int] | Shots] = (0,)
    seed: int = 0
    wrap: Callable[[Any], Model] | None = None
    csv: Path | str | None = None
    watch: Watch | None = None
    strict: bool = False
    log: Callable[[str], None] = _on_stderr
    errors: list[str] = field(default_factory=list, init=False)
    history: list[Entry] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise KosmosEvalError(f"every is {self.every}; expected at least 1 step")
        self._seconds = None if self.budget is None else seconds(self.budget)
        self._path = None if self.csv is None else Path(self.csv)
        read(self._path)
        _import_metrics()
        self._settings: list[Setting] | None = None
        self._last: int | None = None
        with preserve_training_state():
            tasks = self.tasks if isinstance(self.tasks, Mapping) else load_tasks(self.tasks, Source())
            shots = self.shots if isinstance(self.shots, Mapping) else dict.fromkeys(tasks, self.shots)
            known = [f"{name} at {count} shots" for name in tasks for count in Shots.of(shots[name]).counts]
            if self.watch is not None and (watched := f"{self.watch.task} at {self.watch.shots} shots") not in known:
                raise UnknownName("evaluated task", watched, known)
            every = (plan({name: task}, shots=shots[name], seed=self.seed) for name, task in tasks.items())
            self._all = [sized(setting, self.limit) for some in every for setting in some]

    def __call__(self, step: int, model: Any) -> list[tuple[str, float]]:
        """Evaluate, if it is time to.

        Args:
            step: of the training; asked twice about the same one, the hook evaluates once.
            model: the module in training, or a model that answers requests.

        Returns:
            ``task/N-shot/metric``, and with ``/low`` and ``/high`` the ends of its interval, with ``/n`` the samples it
            rests on, with their values; none at other steps and after an error.

        Raises:
            KosmosEvalError: if the model answers no requests and there is no ``wrap``.
        """
        if step % self.every or step == self._last:
            return []
        began, self._last = monotonic(), step
        if self.wrap is None and not hasattr(type(model), "answers"):
            raise KosmosEvalError(f"a {type(model).__name__} answers no requests; give EvalHook a wrap= that makes one")
        try:
            with preserve_training_state(model):
                found = self._evaluated(step, model, began=began)
        except Exception as error:
            if self.strict:
                raise
            self.errors.append(traceback.format_exc())
            if joined(model).first:
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                failed = f"{len(self.errors)} failed so far"
                self.log(f"step {step}: evaluation failed ({reason}); training goes on, {failed}")
            return []
        finally:
            free_memory()
        if self.watch is not None and self.watch.on_best is not None:
            best = self.watch.best(self.history)
            if best is not None and best.step == step:
                self.watch.on_best(best)
        return found

    @property
    def should_stop(self) -> bool:
        """True once the watched metric has not clearly risen for as long as its patience."""
        return self.watch is not None and self.watch.should_stop(self.history)

    def _evaluated(self, step: int, model: Any, *, began: float) -> list[tuple[str, float]]:
        ranks = joined(model)
        module = unwrap_model(model)
        made: list[Model] = []
        ranks.together(lambda: made.append(module if self.wrap is None else self.wrap(module)))
        asking = BudgetedRun(made[0], ranks, RunFolder())
        past = self.history
        if self._settings is None:
            (past, *_) = ranks.together(lambda: [entry for entry in read(self._path) if entry.step < step])
            self._settings = self._sized(past, asking, began=began)
            self._warn(ranks)
        for setting in self._settings:
            asking.ask(setting)
        rows = [asking.rows(setting) for setting in self._settings]
        if self._seconds is not None and self._evaluations(past) == 1:
            rows = self._corrected(step, rows, asking, began=began)
        pairs = [
            (row, len(setting.samples)) for setting, found in zip(self._settings, rows, strict=True) for row in found
        ]

        def told() -> list[Entry]:
            if not ranks.first:
                return []
            entries = [Entry.of(step, row, samples=samples) for row, samples in pairs]
            if self.watch is not None:
                self.watch.check(entries)
            write(self._path, [*past, *entries])
            self._tell(step, [row for row, _ in pairs], monotonic() - began)
            return entries

        (entries, *_) = ranks.together(told)
        self.history = [*past, *entries]
        return [pair for entry in entries for pair in _pairs(entry)]

    def _evaluations(self, past: Sequence[Entry]) -> int:
        """The number of evaluations that have asked all settings so far."""
        keys = [(setting.name, setting.shots) for setting in self._all]
        steps = ({entry.step for entry in past if (entry.task, entry.shots) == key} for key in keys)
        return min(map(len, steps), default=0)

    def _sized(self, past: Sequence[Entry], asking: BudgetedRun, *, began: float) -> list[Setting]:
        """The settings as large as they are asked: as before, or measured."""
        if self._seconds is None:
            return self._all
        if self._evaluations(past):
            sizes = {(entry.task, entry.shots): entry.samples for entry in past}
            return [sized(setting, sizes[setting.name, setting.shots]) for setting in self._all]
        return calibrated(self._all, self._seconds, asking, spent=asking.passed(began))

    def _corrected(self, step: int, rows: list[list[Row]], asking: BudgetedRun, *, began: float) -> list[list[Row]]:
        """The rows of the second evaluation, the first to ask everything in one go.

        Where that shows the calibration to have been wrong, the settings are made larger or smaller, this once.
        """
        budget, before, took = self._seconds or 0.0, self._settings or [], asking.passed(began)
        if KEPT[0] <= took / budget <= KEPT[1]:
            return rows
        self._settings = calibrated(self._all, budget, asking, spent=took, kept=before)
        old, new = (sum(len(setting.samples) for setting in some) for some in (before, self._settings))
        if new == old:
            return rows
        if asking.ranks.first:
            self.log(
                f"step {step}: asked in one go, {old} samples take {took:.1f} s and not about {budget:.0f} s; "
                f"from this step on {new} are asked, so n differs from the step before"
            )
        return [asking.rows(setting) for setting in self._settings]

    def _warn(self, ranks: Ranks) -> None:
        """Say which settings the budget leaves too few samples to tell anything."""
        for setting, every in zip(self._settings or (), self._all, strict=True):
            if ranks.first and len(setting.samples) < min(FEW, len(every.samples)):
                self.log(
                    f"{setting.label}: only {len(setting.samples)} samples fit into its part of the budget; "
                    "give more time"
                )

    def _tell(self, step: int, rows: Sequence[Row], took: float) -> None:
        told: set[tuple[str, int]] = set()
        for row in rows:
            if (row.task, row.shots) in told:
                continue
            told.add((row.task, row.shots))
            unit = f" {row.unit}" if row.unit else ""
            interval = "" if row.low is None or row.high is None else f"{row.low:.2f} to {row.high:.2f}, "
            failed = f", {row.failed} failed" if row.failed else ""
            score = f"{row.metric} {row.score:.2f}{unit} ({interval}n {row.n}{failed})"
            self.log(f"step {step}: {row.task}, {row.shots} shots: {score}")
        self.log(f"step {step}: evaluated in {took:.1f} s")


def _pairs(entry: Entry) -> list[tuple[str, float]]:
    name = f"{entry.task}/{entry.shots}-shot/{entry.metric}"
    pairs = [(name, entry.score), (f"{name}/low", entry.low), (f"{name}/high", entry.high), (f"{name}/n", entry.n)]
    return [(key, value) for key, value in pairs if value is not None and not isnan(value)]
