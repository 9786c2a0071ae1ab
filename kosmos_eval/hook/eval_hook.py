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
from kosmos_eval.evaluation.setup import load_tasks
from kosmos_eval.fewshot.selection import Shots
from kosmos_eval.hook.budget import AIM, GROWTH, KEPT, BudgetedRun, measure, seconds, sized
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
        budget: seconds for one evaluation, as a number or such as ``60s``. The first evaluation asks growing chunks of
            every task until its share is spent; all later ones, also after a restart with the same ``csv``, ask the
            same samples. Only where the second, the first to ask them in one go, is far from the budget (less than 75
            or more than 110 % of it), it asks more or fewer in proportion, and says so. Where a call of the model or a
            metric takes long whatever its number of samples, evaluations may use less of the budget.
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
        self._sized: list[Setting] | None = None
        self._last: int | None = None
        with preserve_training_state():
            tasks = self.tasks if isinstance(self.tasks, Mapping) else load_tasks(self.tasks, Source())
            shots = self.shots if isinstance(self.shots, Mapping) else dict.fromkeys(tasks, self.shots)
            known = [f"{name} at {count} shots" for name in tasks for count in Shots.of(shots[name]).counts]
            if self.watch is not None and (watched := f"{self.watch.task} at {self.watch.shots} shots") not in known:
                raise UnknownName("evaluated task", watched, known)
            every = (plan({name: task}, shots=shots[name], seed=self.seed) for name, task in tasks.items())
            self._settings = [sized(setting, self.limit) for some in every for setting in some]

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
                self._evaluate(step, model, began=began)
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
        return self.values(step)

    @property
    def should_stop(self) -> bool:
        """True once the watched metric has not clearly risen for as long as its patience."""
        return self.watch is not None and self.watch.should_stop(self.history)

    def values(self, step: int) -> list[tuple[str, float]]:
        """Return the values of the evaluation at a step; none where there was none."""
        return [pair for entry in self.history if entry.step == step for pair in _pairs(entry)]

    def _evaluate(self, step: int, model: Any, *, began: float) -> None:
        ranks = joined(model)
        module = unwrap_model(model)
        made: list[Model] = []
        ranks.all_gather(lambda: made.append(module if self.wrap is None else self.wrap(module)))
        run = BudgetedRun(made[0], ranks, began)
        if self._sized is None:
            self.history = ranks.all_gather(lambda: [entry for entry in read(self._path) if entry.step < step])[0]
        found = self._rows(step, run)

        def finish() -> list[Entry]:
            if not ranks.first:
                return []
            entries = [Entry.of(step, row, samples=len(setting.samples)) for setting, rows in found for row in rows]
            if self.watch is not None:
                self.watch.check(entries)
            write(self._path, [*self.history, *entries])
            self._log_scores(step, [row for _, rows in found for row in rows], monotonic() - began)
            return entries

        self.history = [*self.history, *ranks.all_gather(finish)[0]]

    def _rows(self, step: int, run: BudgetedRun) -> list[tuple[Setting, list[Row]]]:
        """Return the settings, as large as they are asked, with their rows; the first evaluation measures the sizes."""
        keys = [(setting.name, setting.shots) for setting in self._settings]
        steps = ({entry.step for entry in self.history if (entry.task, entry.shots) == key} for key in keys)
        evaluations = min(map(len, steps), default=0)
        if self._seconds is not None and not evaluations:
            found = measure(self._settings, self._seconds, run)
            self._sized = [setting for setting, _ in found]
            self._warn(run.ranks)
            return found
        if self._sized is None:
            sizes = {(entry.task, entry.shots): entry.samples for entry in self.history}
            kept = zip(self._settings, keys, strict=True)
            self._sized = self._settings if self._seconds is None else [sized(some, sizes[key]) for some, key in kept]
            self._warn(run.ranks)
        found = [(setting, run.evaluate(setting)[0]) for setting in self._sized]
        if self._seconds is None or evaluations > 1 or not self._resize(step, self._seconds, run):
            return found
        return [(setting, run.evaluate(setting)[0]) for setting in self._sized]

    def _resize(self, step: int, budget: float, run: BudgetedRun) -> bool:
        """Make the settings larger or smaller where asking them in one go, for the first time, is far from the budget.

        Returns:
            True where sizes have changed.
        """
        took, before = run.passed(), [len(setting.samples) for setting in self._sized or ()]
        if KEPT[0] <= took / budget <= KEPT[1]:
            return False
        ratio = min(GROWTH, AIM * budget / took)
        pairs = zip(self._settings, before, strict=True)
        self._sized = [sized(setting, max(1, round(ratio * size))) for setting, size in pairs]
        old, new = sum(before), sum(len(setting.samples) for setting in self._sized)
        if new != old and run.ranks.first:
            self.log(
                f"step {step}: asked in one go, {old} samples take {took:.1f} s and not about {budget:.0f} s; "
                f"from this step on {new} are asked, so n differs from the step before"
            )
        return new != old

    def _warn(self, ranks: Ranks) -> None:
        """Say which settings the budget leaves too few samples to tell anything."""
        for setting, every in zip(self._sized or (), self._settings, strict=True):
            if ranks.first and len(setting.samples) < min(FEW, len(every.samples)):
                self.log(
                    f"{setting.label}: only {len(setting.samples)} samples fit into its part of the budget; "
                    "give more time"
                )

    def _log_scores(self, step: int, rows: Sequence[Row], took: float) -> None:
        logged: set[tuple[str, int]] = set()
        for row in rows:
            if (row.task, row.shots) in logged:
                continue
            logged.add((row.task, row.shots))
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
