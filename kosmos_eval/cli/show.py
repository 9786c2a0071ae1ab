"""Commands that show what there is: tasks, models, prompts, data."""

from __future__ import annotations

import html as markup
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from kosmos_eval.cli.console import (
    AllowOutside,
    Data,
    Hub,
    ImagesOption,
    ModelFile,
    Seed,
    ShotsFrom,
    Split,
    TaskFile,
    TaskOption,
    console,
    load_files,
    path_option,
    source_of,
)
from kosmos_eval.errors import BadImage, KosmosEvalError, RunError
from kosmos_eval.files import write_output
from kosmos_eval.registry import named, names
from kosmos_eval.source import Source
from kosmos_eval.task import info

if TYPE_CHECKING:
    from kosmos_eval.evaluation.evaluator import PendingSample
    from kosmos_eval.evaluation.variant import SettingKey
    from kosmos_eval.request import Request
    from kosmos_eval.sample import Sample


def tasks(task_file: TaskFile = None) -> None:
    """List the tasks: metric, splits, where their data comes from; then the suites."""
    from kosmos_eval.evaluation import suites

    load_files(task_file)
    table = Table("task", "metric", "splits (default first)", "what it is", header_style="bold")
    for name in names("task"):
        factory = named("task", name)
        said = info(factory)
        splits = "\n".join(f"{source}: {', '.join(found)}" for source, found in said.splits.items())
        extension = " (few-shot form not in the paper)" if said.extension else ""
        table.add_row(name, said.metric, splits, _first_line(factory) + extension)
    console.print(table)
    for suite, members in suites.every().values():
        console.print(f"suite {suite.name}, {', '.join(map(str, suite.shots))} shots: {', '.join(members)}")


def models(model_file: ModelFile = None) -> None:
    """List the models that --model can name."""
    load_files(model_file)
    table = Table("model", "what it is", header_style="bold")
    for name in names("model"):
        table.add_row(name, _first_line(named("model", name)))
    console.print(table)


def show(
    task: Annotated[str, typer.Argument(help="The task.")],
    shots: Annotated[int, typer.Option("--shots", min=0, help="Number of demonstrations.")] = 0,
    index: Annotated[int, typer.Option("--index", min=0, help="Index of the sample.")] = 0,
    html: Annotated[Path | None, path_option("--html", "FILE", "Write a page with the images in place.")] = None,
    run: Annotated[Path | None, path_option("--run", "RUN", "A run's folder: show its answer too.")] = None,
    data: Data = None,
    hub: Hub = False,
    allow_outside: AllowOutside = False,
    split: Split = None,
    seed: Seed = 0,
    shots_from: ShotsFrom = "random",
    images: ImagesOption = "real",
    task_option: TaskOption = None,
    task_file: TaskFile = None,
) -> None:
    """Show the exact prompt of a sample, its images in place; no model is needed."""
    from kosmos_eval.evaluation.evaluator import build_requests
    from kosmos_eval.evaluation.plan import plan
    from kosmos_eval.evaluation.setup import load_shots, load_tasks
    from kosmos_eval.evaluation.variant import Variants

    load_files(task_file)
    made = load_tasks(
        [task], source_of(data, hub, allow_outside=allow_outside), splits=split, options=task_option or ()
    )
    chosen, variants = load_shots([shots], shots_from), Variants(images)
    (setting,) = plan(made, shots=chosen, seed=seed, variants=variants)
    if index >= len(setting.samples):
        raise KosmosEvalError(f"{setting.name} has {len(setting.samples)} samples; there is no --index {index}")
    sample = setting.samples[index]
    asked = build_requests(setting, sample)
    below = {} if run is None else _answer(run, setting.key, asked)
    below["correct"] = _correct(sample)
    if html is None:
        _print(f"{setting.name} · {sample.id}", asked.requests, below)
        return
    write_output(html, _page(f"{setting.name} · {sample.id}", asked.requests, below))
    console.print(f"written: {html}")


def check_data(
    task: Annotated[str | None, typer.Argument(help="One task; default: all.")] = None,
    root: Annotated[Path | None, path_option("--data", "DIR", "Folder of official files.")] = None,
    allow_outside: AllowOutside = False,
    split: Annotated[str | None, typer.Option("--split", help="A split; default: the task's.")] = None,
    task_file: TaskFile = None,
) -> None:
    """Say for each task whether its official data is complete and readable, and where to get it."""
    load_files(task_file)
    if root is not None and not root.is_dir():
        Source("data", root).folder()
    source = None if root is None else Source("data", root.resolve(), split, allow_outside=allow_outside)
    broken = [name for name in ([task] if task else names("task")) if not _complete(name, source)]
    if root is not None and broken:
        raise KosmosEvalError(f"not complete under {root}: {', '.join(broken)}")


def _complete(name: str, source: Source | None) -> bool:
    """Print the state of a task's official files; return whether all are there and every image decodes."""
    from kosmos_eval.evaluation.setup import load_task

    said = info(named("task", name))
    if source is None:
        console.print(Text(name, "bold"), f"\n  {said.get or 'generated; needs no files'}", sep="")
        return True
    if said.splits and "data" not in said.splits:
        console.print(Text(name, "bold"), "is generated and needs no files")
        return True
    try:
        task = load_task(name, source)
        samples = task.samples()
        requests = (request for sample in samples for request in task.requests(sample, ()))
        unreadable = _unreadable(requests, task.readable)
    except KosmosEvalError as error:
        reason = str(error).removeprefix(f"{name}: ").partition("; `kosmos-eval check-data")[0]
        line = Text.assemble((name, "bold"), " ", ("incomplete", "red"), f": {reason}\n  get {said.get}")
        console.print(line)
        return False
    state = Text("ok", "green")
    if unreadable:
        state = Text(f"{len(unreadable)} unreadable, such as {unreadable[0]}", "red")
    console.print(Text.assemble((name, "bold"), f" {len(samples)} samples, ", state))
    return not unreadable


def _unreadable(requests: Iterable[Request], folders: tuple[str, ...]) -> list[str]:
    """Return why images do not decode, one line for each that does not."""
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


def _correct(sample: Sample) -> str:
    counted = Counter(sample.references or (sample.target,))
    return "\n".join(f"{text}   ({count} times)" if count > 1 else text for text, count in counted.items())


def _answer(folder: Path, key: SettingKey, asked: PendingSample) -> dict[str, str]:
    """Return what a run was answered when it asked exactly this, by the name of its model."""
    from kosmos_eval.evaluation.run_folder import load_folder
    from kosmos_eval.report.units import listed

    manifest, run = load_folder(folder)
    record = run.record(key, asked.sample.id)
    if record is None or record.prompt != asked.prompt:
        raise RunError(
            f"{folder} did not ask {key.task} {asked.sample.id} this way; name the run's --shots, --seed and data"
        )
    if record.score is None:
        return {f"{manifest.model_name} failed": str(record.error)}
    values = f"   ({listed(record.score.values)})" if record.score.values else ""
    return {manifest.model_name: record.score.answer + values}


def _print(title: str, requests: Sequence[Request], below: Mapping[str, str]) -> None:
    from kosmos_eval.report import prompts

    for number, request in enumerate(requests, start=1):
        console.print(Rule(Text(f"{title} · request {number} of {len(requests)}")))
        console.print(prompts.on_console(request.prompt, console))
        console.print(prompts.asked_for(request), style="dim")
    for heading, text in below.items():
        console.print(Rule(Text(heading)))
        console.print(text)


def _page(title: str, requests: Sequence[Request], below: Mapping[str, str]) -> str:
    from kosmos_eval.report import prompts

    body = "".join(
        f'<p class="prompt">{prompts.as_html(request.prompt)}</p><p>{markup.escape(prompts.asked_for(request))}</p>'
        for request in requests
    )
    parts = (
        f"<h2>{markup.escape(name)}</h2><p class='prompt'>{markup.escape(text)}</p>" for name, text in below.items()
    )
    return prompts.page(title, body + "".join(parts))
