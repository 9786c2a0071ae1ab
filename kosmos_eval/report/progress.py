"""Progress: a bar with rate and time left on a terminal, plain lines in a pipe."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from kosmos_eval.fewshot.selection import Progress as Told


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="progress.data.speed")


@contextmanager
def shown(console: Console) -> Iterator[Told]:
    """Show progress on a console while the context lasts; yields what `evaluate` tells."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        known = {}

        def tell(label: str, done: int, total: int) -> None:
            if label not in known:
                known[label] = bars.add_task(label, total=total)
            bars.update(known[label], completed=done)

        yield tell


class _Lines:
    """A line at the start, at the end and at most every ten seconds between."""

    def __init__(self, console: Console) -> None:
        self.console, self.started, self.said = console, 0.0, 0.0

    def __call__(self, label: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done == 0:
            self.started = now
        elif done < total and now - self.said < 10:
            return
        self.said = now
        rate = f", {done / (now - self.started):.1f}/s" if done and now > self.started else ""
        self.console.print(f"{label}: {done}/{total}{rate}", highlight=False, soft_wrap=True)
