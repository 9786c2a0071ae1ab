"""Progress: a bar with rate and time left on a terminal, plain lines in a pipe."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from kosmos_eval.fewshot.selection import Progress


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="progress.data.speed")


@contextmanager
def shown(console: Console) -> Iterator[Progress]:
    """Show progress on a console while the context lasts; yields what `evaluate` tells."""
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Bars(*columns, console=console) as bars:
        known: dict[str, TaskID] = {}

        def tell(label: str, done: int, total: int) -> None:
            if label not in known:
                known[label] = bars.add_task(label, total=total)
            bars.update(known[label], completed=done)

        yield tell


def _lines(console: Console) -> Progress:
    """Return progress as a line at the start, at the end and at most every ten seconds between."""
    started = said = 0.0

    def tell(label: str, done: int, total: int) -> None:
        nonlocal started, said
        now = time.monotonic()
        if done == 0:
            started = now
        elif done < total and now - said < 10:
            return
        said = now
        rate = f", {done / (now - started):.1f}/s" if done and now > started else ""
        console.print(f"{label}: {done}/{total}{rate}", highlight=False, soft_wrap=True)

    return tell
