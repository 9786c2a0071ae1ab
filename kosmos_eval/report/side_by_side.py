"""``kosmos-eval beside``: the answers of several runs next to each other, on a page."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from kosmos_eval.analysis.saved_run import SavedRun, open_run
from kosmos_eval.errors import BadImage, KosmosEvalError
from kosmos_eval.evaluation.plan import Setting
from kosmos_eval.evaluation.run_folder import Record
from kosmos_eval.sample import Sample


@dataclass(frozen=True)
class Asked:
    """A sample with what each run has of it, in the order of the runs; None where one has not."""

    sample: Sample
    records: tuple[Record | None, ...]

    @property
    def alike(self) -> bool:
        """Whether all that asked have asked the same at first."""
        return len({record.prompt for record in self.records if record is not None and record.prompt}) < 2


def beside(pasts: Sequence[SavedRun], place: Setting) -> Iterator[Asked]:
    """The samples of a cell of the first run, each with what all runs have of it."""
    for sample in place.samples:
        yield Asked(sample, tuple(place.record(past.run, sample.id) for past in pasts))


def page(pasts: Sequence[SavedRun], *, tasks: Sequence[str], limit: int) -> str:
    """The answers of runs as a self-contained page: a table for each task and number of shots.

    Args:
        pasts: the runs; the first says which samples, in which order.
        tasks: which tasks; all for none.
        limit: the most samples of each.

    Raises:
        KosmosEvalError: if the first run has not all of the tasks.
    """
    from kosmos_eval.report import prompts

    chosen = [cell for cell in pasts[0].cells if not tasks or cell.name in tasks]
    missing = [task for task in tasks if task not in {cell.name for cell in chosen}]
    if missing or not chosen:
        there = ", ".join(dict.fromkeys(cell.name for cell in pasts[0].cells))
        raise KosmosEvalError(f"{pasts[0].folder} has no task {', '.join(missing)}; it has {there or 'none'}")
    style = (
        "<style>body{max-width:none}table{border-collapse:collapse;width:100%}td,th{border:1px solid #8888;"
        "padding:.5rem;text-align:left;vertical-align:top;white-space:pre-wrap;overflow-wrap:anywhere}</style>"
    )
    tables = "".join(_table(pasts, cell, limit) for cell in chosen)
    return prompts.page(f"{' beside '.join(past.model for past in pasts)}", style + tables)


def _table(pasts: Sequence[SavedRun], cell: Setting, limit: int) -> str:
    names = "".join(
        f"<th>{html.escape(past.model)}<br><small>{html.escape(str(past.folder))}</small></th>" for past in pasts
    )
    rows = "".join(_row(asked) for asked in islice(beside(pasts, cell), limit))
    more = len(cell.samples) - limit
    rest = f"<p>and {more:,} more; --limit shows them</p>" if more > 0 else ""
    head = f"<tr><th>sample</th><th>target</th>{names}</tr>"
    return f"<h2>{html.escape(cell.label)}</h2><table>{head}{rows}</table>{rest}"


def _row(asked: Asked) -> str:
    sample = asked.sample
    differs = "" if asked.alike else "<br><small>the runs asked different things</small>"
    shown = f"{_shown(sample)}{differs}"
    answers = "".join(f"<td>{_answer(record)}</td>" for record in asked.records)
    return f"<tr><td>{shown}</td><td>{html.escape(sample.target)}</td>{answers}</tr>"


def _shown(sample: Sample) -> str:
    from kosmos_eval.report import prompts

    try:
        return prompts.as_html(sample.prompt)
    except BadImage as error:
        return html.escape(f"{sample.prompt.text()} ({error})")


def _answer(record: Record | None) -> str:
    if record is None:
        return "<small>not asked</small>"
    if record.score is None:
        return f"<small>failed: {html.escape(str(record.error))}</small>"
    marks = ", ".join(f"{name} {mark:.2f}" for name, mark in record.score.values.items())
    return f"{html.escape(record.score.answer)}<br><small>{html.escape(marks)}</small>"


def command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    html: Annotated[Path, typer.Option("--html", help="The page that is written.")] = Path("results/beside.html"),
    tasks: Annotated[str | None, typer.Option("--tasks", help="Names, separated by commas; default: all.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The most samples of each task.")] = 200,
    task_file: Annotated[list[Path] | None, typer.Option("--task-file", help="Registers tasks.")] = None,
) -> None:
    """Put the answers of several runs next to each other on a page, sample by sample."""
    from kosmos_eval.cli import run

    run.load_files(task_file or ())
    names = [name.strip() for name in (tasks or "").split(",") if name.strip()]
    written = page([open_run(folder) for folder in runs], tasks=names, limit=limit)
    try:
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(written, encoding="utf-8")
    except OSError as error:
        raise KosmosEvalError(f"cannot write {html}: {error.strerror or error}; name another file") from error
    run.console.print(f"page: {html}", highlight=False, soft_wrap=True)
