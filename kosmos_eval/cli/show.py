"""Commands that say what there is: tasks, models, prompts, data."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.markup import escape
from rich.rule import Rule
from rich.table import Table

from kosmos_eval.cli.run import console
from kosmos_eval.errors import BadImage, KosmosEvalError, RunError
from kosmos_eval.evaluation import run_folder, suites
from kosmos_eval.evaluation.evaluator import prepared
from kosmos_eval.evaluation.plan import Variants, cells
from kosmos_eval.evaluation.run_folder import Record
from kosmos_eval.evaluation.setup import build_task
from kosmos_eval.fewshot.selection import Shots
from kosmos_eval.registry import named, names
from kosmos_eval.report import prompts
from kosmos_eval.request import Request
from kosmos_eval.sample import Sample
from kosmos_eval.source import Source
from kosmos_eval.task import Task, info


def tasks() -> None:
    """Print a line for each task, then one for each suite."""
    table = Table("task", "metric", "splits (default first)", "what it is", header_style="bold")
    for name in names("task"):
        factory = named("task", name)
        said = info(factory)
        splits = "\n".join(f"{source}: {', '.join(found)}" for source, found in said.splits.items())
        table.add_row(
            name, said.metric, splits, _first_line(factory) + (" (few-shot: extension)" if said.extension else "")
        )
    console.print(table)
    for suite, members in suites.every().values():
        shots = ", ".join(map(str, suite.shots))
        line = f"suite {suite.name}, {shots} shots: {', '.join(members)}"
        console.print(line, highlight=False, soft_wrap=True)


def models() -> None:
    """Print a line for each model."""
    table = Table("model", "what it is", header_style="bold")
    for name in names("model"):
        table.add_row(name, _first_line(named("model", name)))
    console.print(table)


def show(
    made: Mapping[str, Task],
    *,
    shots: Shots,
    index: int,
    seed: int,
    page: Path | None,
    answered: Path | None,
    ways: Variants,
) -> None:
    """Show the exact requests of one sample, its images in place; ``page`` writes them as HTML.

    Raises:
        KosmosEvalError: if there is no such sample, ``answered``, a run's folder, has no answer to it, or the page
            cannot be written.
    """
    for cell in cells(made, shots=shots, limit=None, seed=seed, ways=ways):
        if index >= len(cell.samples):
            raise KosmosEvalError(f"{cell.name} has {len(cell.samples)} samples; there is no --index {index}")
        sample = cell.samples[index]
        asked = prepared(cell, sample)
        below: dict[str, str] = {}
        if answered is not None:
            below = _answer(answered, Record(cell.name, cell.shots, sample.id, asked.prompt, variant=cell.variant))
        below["right"] = _right(sample)
        if page is not None:
            content = _page(f"{cell.name} · {sample.id}", asked.requests, below)
            try:
                page.write_text(content, encoding="utf-8")
            except OSError as error:
                raise KosmosEvalError(f"cannot write {page}: {error.strerror or error}; name another file") from error
            console.print(f"written: {page}", highlight=False, soft_wrap=True)
            return
        for number, request in enumerate(asked.requests, start=1):
            console.print(Rule(f"{cell.name} · {sample.id} · request {number} of {len(asked.requests)}"))
            console.print(prompts.on_console(request.prompt, console), soft_wrap=True)
            console.print(f"[dim]{prompts.asked_for(request)}[/dim]", highlight=False)
        for title, text in below.items():
            console.print(Rule(title))
            console.print(text, markup=False, highlight=False, soft_wrap=True)


def data(chosen: Sequence[str] | None, root: Path | None, *, split: str | None = None) -> None:
    """Say for each task whether its official files are complete and every image decodes.

    Raises:
        KosmosEvalError: if one of the chosen tasks is not complete.
    """
    if root is not None and not root.is_dir():
        Source("data", root).folder()
    broken = [name for name in chosen or names("task") if not _complete(name, root, split)]
    if root is not None and broken:
        raise KosmosEvalError(f"not complete under {root}: {', '.join(broken)}")


def _complete(name: str, root: Path | None, split: str | None) -> bool:
    said = info(named("task", name))
    if root is None:
        console.print(f"[bold]{name}[/bold]\n  {said.get or 'generated; needs no files'}", highlight=False)
        return True
    if said.splits and "data" not in said.splits:
        console.print(f"[bold]{name}[/bold] is generated and needs no files", highlight=False)
        return True
    try:
        task = build_task(name, Source("data", root, split))
        samples = task.samples()
        unreadable = _unreadable(
            (request for sample in samples for request in task.requests(sample, ())), task.readable
        )
    except KosmosEvalError as error:
        reason = str(error).removeprefix(f"{name}: ").partition("; `kosmos-eval data")[0]
        line = f"[bold]{name}[/bold] [red]incomplete[/red]: {escape(reason)}\n  get {escape(said.get)}"
        console.print(line, highlight=False, soft_wrap=True)
        return False
    state = f"[red]{len(unreadable)} unreadable, such as {unreadable[0]}[/red]" if unreadable else "[green]ok[/green]"
    console.print(f"[bold]{name}[/bold] {len(samples)} samples, {state}", highlight=False, soft_wrap=True)
    return not unreadable


def _unreadable(requests: Iterable[Request], folders: tuple[str, ...]) -> list[str]:
    """Why images do not decode, one line for each that does not."""
    seen: set[str] = set()
    reasons = []
    for image in (image for request in requests for image in request.prompt.within(folders).images):
        try:
            if image.digest not in seen:
                seen.add(image.digest)
                image.pixels(draft=32)
        except BadImage as error:
            reasons.append(str(error))
    return list(dict.fromkeys(reasons))


def _first_line(factory: object) -> str:
    return (factory.__doc__ or "").strip().partition("\n")[0]


def _right(sample: Sample) -> str:
    counted = Counter(sample.references or (sample.target,))
    return "\n".join(f"{text}   ({count} times)" if count > 1 else text for text, count in counted.items())


def _answer(folder: Path, asked: Record) -> dict[str, str]:
    """What a run was answered when it asked exactly this, by the name of its model."""
    config, run = run_folder.load(folder)
    record = run.record(asked.task, asked.shots, asked.id, variant=asked.variant)
    if record is None or record.prompt != asked.prompt:
        raise RunError(
            f"{folder} did not ask {asked.task} {asked.id} this way; name the run's --shots, --seed and data"
        )
    if record.score is None:
        return {f"{config['model_name']} failed": str(record.error)}
    marks = ", ".join(f"{name} {mark:.2f}" for name, mark in record.score.values.items())
    return {str(config["model_name"]): f"{record.score.answer}   ({marks})" if marks else record.score.answer}


def _page(title: str, requests: Sequence[Request], below: Mapping[str, str]) -> str:
    import html

    body = "".join(
        f'<p class="prompt">{prompts.as_html(request.prompt)}</p><p>{html.escape(prompts.asked_for(request))}</p>'
        for request in requests
    )
    parts = (f"<h2>{html.escape(name)}</h2><p class='prompt'>{html.escape(text)}</p>" for name, text in below.items())
    return prompts.page(title, body + "".join(parts))
