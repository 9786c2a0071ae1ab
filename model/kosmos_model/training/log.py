"""Logs of a run: ``losses.csv``, TensorBoard where it is installed, and the console.

The scores of evaluations on the way are in ``scores.csv``, which `kosmos_eval.hook.eval_hook` writes.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kosmos_eval.files import mark_made, write_text
from kosmos_model.training.checkpoints import MADE_BY

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOSSES, SCORES, TENSORBOARD = "losses.csv", "scores.csv", "tensorboard"
QUIET = 10.0
"""Seconds between two lines in a pipe."""


@dataclass(frozen=True)
class StepMetrics:
    """The measurements of one step.

    Args:
        step: its number, from 1.
        seconds: it took.
        tokens: read by all ranks, padding aside.
        learning_rate: of the step.
        norm: of the gradient, before it was clipped.
        losses: nats per token, by dataset.
        utilisation: the part of this device's peak that the model's own operations took; None where it is not known.
    """

    step: int
    seconds: float
    tokens: int
    learning_rate: float
    norm: float
    losses: Mapping[str, float]
    utilisation: float | None = None


def _begin(path: Path, columns: Sequence[str], *, begun: int) -> None:
    """Write the columns, and what was written before of steps up to ``begun``; later ones are taken again."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    header = StringIO()
    csv.writer(header, lineterminator="\n").writerow(columns)
    write_text(path, "".join([header.getvalue(), *(line for line in lines if _number(line) <= begun)]))


def _number(line: str) -> int:
    first, comma, _ = line.partition(",")
    return int(first) if comma and first.isdigit() and line.endswith("\n") else 1 << 60


class Log:
    """The files of a run.

    Args:
        folder: of the run.
        kinds: its datasets.
        begun: the step that it goes on after; what was written of later ones is forgotten.
    """

    def __init__(self, folder: Path, kinds: Sequence[str], *, begun: int = 0) -> None:
        self.kinds = kinds
        mark_made(folder, MADE_BY, [LOSSES])
        _begin(folder / LOSSES, ["step", "seconds", "tokens", "learning_rate", "norm", *kinds], begun=begun)
        self._file = (folder / LOSSES).open("a", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._board = _board(folder, begun)

    def add(self, metrics: StepMetrics) -> None:
        """Write one step."""
        losses = [f"{metrics.losses[kind]:.9g}" if kind in metrics.losses else "" for kind in self.kinds]
        plain = [f"{metrics.seconds:.3f}", metrics.tokens, f"{metrics.learning_rate:.4g}", f"{metrics.norm:.4g}"]
        self._csv.writerow([metrics.step, *plain, *losses])
        self._file.flush()
        values = {f"loss/{kind}": loss for kind, loss in metrics.losses.items()}
        values |= {"learning rate": metrics.learning_rate, "tokens per second": metrics.tokens / metrics.seconds}
        if metrics.utilisation is not None:
            values["utilisation"] = metrics.utilisation
        self._plot(metrics.step, values.items())

    def scores(self, step: int, found: Iterable[tuple[str, float]]) -> None:
        """Write what an evaluation inside the loop has found, by name."""
        self._plot(step, ((f"score/{name}", value) for name, value in found))

    def _plot(self, step: int, values: Iterable[tuple[str, float]]) -> None:
        if self._board is not None:
            for name, value in values:
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def _board(folder: Path, begun: int) -> SummaryWriter | None:
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    mark_made(folder, MADE_BY, [TENSORBOARD])
    return SummaryWriter(str(folder / TENSORBOARD), purge_step=begun + 1)


@dataclass
class ProgressDisplay:
    """Progress on a console: a bar on a terminal, a line every ten seconds in a pipe."""

    console: Console
    bar: Progress | None
    waiting: list[StepMetrics] = field(default_factory=list)
    said: float = 0.0

    def step(self, metrics: StepMetrics, steps: int | None) -> None:
        """Tell of a step."""
        self.waiting.append(metrics)
        now = time.monotonic()
        done = metrics.step == steps
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], total=steps, completed=metrics.step)
        if now - self.said < QUIET and not done:
            return
        self.said = now
        line = summary(self.waiting)
        self.waiting = []
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], description=line)
        else:
            self.console.print(f"step {metrics.step}/{steps or '?'}: {line}", highlight=False, soft_wrap=True)

    def say(self, line: str) -> None:
        """Print a line of its own."""
        self.console.print(line, highlight=False, soft_wrap=True)


def summary(steps: Sequence[StepMetrics]) -> str:
    """Return tokens a second, the part of the device's peak that is used, and the mean loss of each dataset.

    >>> first, second = (StepMetrics(n, 2.0, 200 * n - 100, 1e-3, 1.0, {"text": 4.0 - n}) for n in (1, 2))
    >>> summary([first, second])
    '100 tokens/s, text 2.500'
    >>> summary([StepMetrics(1, 2.0, 100, 1e-3, 1.0, {"text": 3.0}, 0.25)])
    '50 tokens/s, MFU 25.0 %, text 3.000'
    """
    seconds = sum(step.seconds for step in steps)
    busy = [step.utilisation * step.seconds for step in steps if step.utilisation is not None]
    found: dict[str, list[float]] = {}
    for step in steps:
        for kind, loss in step.losses.items():
            found.setdefault(kind, []).append(loss)
    speed = [f"{sum(step.tokens for step in steps) / seconds:,.0f} tokens/s"]
    used = [f"MFU {sum(busy) / seconds:.1%}".replace("%", " %")] if busy else []
    return ", ".join([*speed, *used, *(f"{kind} {sum(values) / len(values):.3f}" for kind, values in found.items())])


@contextmanager
def progress_display(console: Console, *, begun: int) -> Iterator[ProgressDisplay]:
    """Show progress on a console while the context lasts."""
    if not console.is_terminal:
        yield ProgressDisplay(console, None)
        return
    with Progress(MofNCompleteColumn(), BarColumn(20), TimeRemainingColumn(), TextColumn("{task.description}")) as bar:
        bar.add_task("", completed=begun, total=None)
        yield ProgressDisplay(console, bar)
