"""Commands that make runs: run, rerun, score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kosmos_eval.cli.console import (
    AllowOutside,
    Data,
    Device,
    Folder,
    Hub,
    ImagesOption,
    ModelFile,
    ModelOption,
    MovedData,
    Overwrite,
    Revision,
    Seed,
    ShotsFrom,
    Split,
    TaskFile,
    TaskOption,
    console,
    errors,
    load_files,
    path_option,
    source_of,
    split_names,
)
from kosmos_eval.errors import KosmosEvalError, RunError
from kosmos_eval.registry import named
from kosmos_eval.source import Source

if TYPE_CHECKING:
    from kosmos_eval.analysis.saved_run import SavedRun
    from kosmos_eval.evaluation.results import Report
    from kosmos_eval.evaluation.run_config import RunConfig
    from kosmos_eval.report.trackers import Tracker
    from kosmos_eval.task import Task

DECIDED = (
    *("model", "tasks", "suite", "shots", "shots_from", "data", "hub", "revision", "allow_outside", "split"),
    *("limit", "seed"),
    *("seeds", "images", "with_blind", "prompts", "task_option", "model_option"),
)
"""Options that a configuration file decides."""


def run(
    context: typer.Context,
    model: Annotated[str, typer.Option("--model", help="NAME or NAME:REST, such as hf:PATH.")] = "kosmos-nano",
    tasks: Annotated[str | None, typer.Option("--tasks", help="Names, separated by commas.")] = None,
    suite: Annotated[str | None, typer.Option("--suite", help="A named set of tasks; see `kosmos-eval tasks`.")] = None,
    shots: Annotated[
        str | None, typer.Option("--shots", help="Numbers of demonstrations, such as 0,4; default: 0, or the suite's.")
    ] = None,
    shots_from: ShotsFrom = "random",
    data: Data = None,
    hub: Hub = False,
    revision: Revision = None,
    allow_outside: AllowOutside = False,
    split: Split = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="A seeded subset of so many samples a task.")
    ] = None,
    seed: Seed = 0,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Draw demonstrations with so many seeds.")] = 1,
    images: ImagesOption = "real",
    with_blind: Annotated[bool, typer.Option("--with-blind", help="Add the blank-image baseline.")] = False,
    prompts: Annotated[
        str, typer.Option("--prompts", help="Prompt variants of tasks that have some: all, or NAME,NAME.")
    ] = "default",
    task_option: TaskOption = None,
    model_option: ModelOption = None,
    task_file: TaskFile = None,
    model_file: ModelFile = None,
    config: Annotated[Path | None, path_option("--config", "FILE", "A TOML file, in place of the above.")] = None,
    device: Device = "auto",
    batch_tokens: Annotated[
        str | None, typer.Option("--batch-tokens", help="Max tokens per batch: auto or a number.")
    ] = None,
    out: Annotated[Path | None, path_option("--out", "DIR", "The run's folder; default: one in results/runs/.")] = None,
    overwrite: Overwrite = False,
    html: Annotated[bool, typer.Option("--html/--no-html", help="Write report.html at the end.")] = True,
    profile: Annotated[bool, typer.Option("--profile", help="Say what was shared and where the time went.")] = False,
    tracker: Annotated[
        list[str] | None, typer.Option("--tracker", help="tensorboard, wandb, mlflow; with :FOLDER.")
    ] = None,
) -> None:
    """Evaluate a model; the same command again resumes what was interrupted.

    Without --data or --hub each task uses its synthetic split, which the package generates itself.
    """
    from kosmos_eval.evaluation.run_config import RunConfig, load_config
    from kosmos_eval.evaluation.suites import members
    from kosmos_eval.evaluation.variant import Variants
    from kosmos_eval.report.trackers import Tracker

    trackers = [Tracker.named(spec) for spec in tracker or ()]
    load_files(model_file)
    added = load_files(task_file)
    if config is not None:
        _refuse_beside_config(context)
        made, asked = _from_config(load_config(config))
    else:
        counts: Sequence[int] | None = None if shots is None else _counts(shots)
        source, options = source_of(data, hub, revision, allow_outside=allow_outside), task_option or ()
        if tasks is not None and suite is not None:
            raise KosmosEvalError(f"--tasks {tasks} and --suite {suite} both name tasks; give one of them")
        if suite is None:
            from kosmos_eval.evaluation.setup import load_tasks

            names = split_names(tasks, "--tasks") if tasks is not None else added or members("default")[1]
            made = load_tasks(names, source, splits=split, options=options)
        else:
            made, counts = _suite(suite, source, shots=counts, seed=seed, splits=split, options=options)
        variants = () if prompts == "default" else tuple(split_names(prompts, "--prompts"))
        asked = RunConfig(
            model,
            shots=tuple(counts or (0,)),
            shots_from=shots_from,
            limit=limit,
            seed=seed,
            variants=Variants(images, with_blind, variants, seeds),
            model_options=tuple(model_option or ()),
        )
    asked = replace(asked, model_options=(*asked.model_options, *_batch_tokens(asked.model, batch_tokens)))
    report = evaluate_config(asked, made, out=out, device=device, overwrite=overwrite, profile=profile)
    finish(report, html=html, trackers=trackers)


def rerun(
    folder: Folder,
    out: Annotated[Path | None, path_option("--out", "DIR", "The new run's folder; default: RUN-again.")] = None,
    device: Device = "auto",
    data: MovedData = None,
    overwrite: Overwrite = False,
    task_file: TaskFile = None,
    model_file: ModelFile = None,
) -> None:
    """Repeat a run from its folder and say, row by row and sample by sample, whether it is the same."""
    from kosmos_eval.analysis.rerun import compare_repeated, describe
    from kosmos_eval.analysis.saved_run import open_run
    from kosmos_eval.evaluation.run_config import load_manifest
    from kosmos_eval.evaluation.setup import tasks_of

    load_files(task_file, model_file)
    first = open_run(folder)
    if first.config.kind == "answers":
        raise RunError(f"{folder} holds scores of external answers; repeat it by `kosmos-eval score`")
    if first.config.kind == "live":
        raise RunError(f"{folder} was asked of a model in memory; repeat it by kosmos_eval.evaluate(model, ..., out=)")
    again = out or folder.with_name(f"{folder.resolve().name}-again")
    if again.resolve() == folder.resolve():
        raise RunError(f"--out {again} is the run itself; name another folder for its repetition")
    if (again / "run.json").exists() and load_manifest(again).finished and not overwrite:
        raise RunError(f"{again} holds a finished run; choose another --out, or --overwrite to discard it")
    manifest = first.manifest
    options = [option for option in manifest.model_spec_options if not option.endswith("=***")]
    asked = replace(first.config, model=manifest.model_spec or first.config.model, model_options=tuple(options))
    made = tasks_of(first.config, data=data)
    report = evaluate_config(asked, made, out=again, device=device, overwrite=overwrite)
    finish(report, html=False)
    second = open_run(again)
    found = compare_repeated(first, second)
    for line in describe(found, first, second):
        console.print(line)
    different = [twice.key for twice in found if not twice.same]
    if different:
        raise RunError(f"{again} is not the same as {folder}: {len(different)} of {len(found)} parts differ, see above")


def score(
    task: Annotated[str, typer.Argument(help="The task whose answers these are.")],
    answers: Annotated[Path, path_option("--answers", "FILE", "In the official results format.")],
    data: Data = None,
    allow_outside: AllowOutside = False,
    split: Split = None,
    task_option: TaskOption = None,
    task_file: TaskFile = None,
    seed: Seed = 0,
    out: Annotated[Path | None, path_option("--out", "DIR", "Also leave a run's folder there.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Score external predictions by the rules of the benchmark's official program."""
    from kosmos_eval.evaluation.evaluator import score_answers
    from kosmos_eval.evaluation.setup import load_tasks

    load_files(task_file)
    made = load_tasks([task], source_of(data, allow_outside=allow_outside), splits=split, options=task_option or ())
    finish(score_answers(task, made[task], answers, seed=seed, out=out, overwrite=overwrite), html=False)


def evaluate_config(
    config: RunConfig,
    tasks: Mapping[str, Task],
    *,
    out: Path | None,
    device: str,
    overwrite: bool = False,
    profile: bool = False,
) -> Report:
    """Evaluate a configuration into a run's folder, with progress on standard error."""
    from kosmos_eval.evaluation.evaluator import evaluate
    from kosmos_eval.report.progress import shown

    with shown(errors) as progress:
        return evaluate(
            config.model,
            tasks,
            shots=config.shots,
            shots_from=config.shots_from,
            limit=config.limit,
            seed=config.seed,
            variants=config.variants,
            model_options=config.model_options,
            device=device,
            out=out or "auto",
            overwrite=overwrite,
            profile=profile,
            progress=progress,
            log=console.print,
        )


def finish(report: Report, *, html: bool = True, trackers: Sequence[Tracker] = ()) -> None:
    """Write the page, log to trackers and print the scores of a run that is done.

    Raises:
        RunError: when samples failed; everything else is finished and kept by then.
    """
    from kosmos_eval.evaluation.launch import is_main_process
    from kosmos_eval.evaluation.run_config import load_manifest
    from kosmos_eval.report.console import print_report

    if not is_main_process():
        return
    folder = report.folder
    if html and folder is not None:
        write_page(folder)
    if folder is not None:
        for tracker in trackers:
            console.print(f"{tracker.name}: {tracker.log(report, load_manifest(folder), folder)}")
    print_report(report, console)
    if folder is not None:
        if synthetic := load_manifest(folder).config.synthetic:
            console.print(f"synthetic data, not the official benchmarks: {', '.join(synthetic)}")
        console.print(f"run folder: {folder}")
    if report.failed:
        _fail(report)


def write_page(folder: Path, **options: Any) -> SavedRun:
    """Write a run's page, and say how large it is and how long that took."""
    from kosmos_eval import report as reports

    began = monotonic()
    saved = reports.write(folder, **options)
    size = (folder / "report.html").stat().st_size
    console.print(f"report: {folder / 'report.html'} ({size / 1e6:.1f} MB, {monotonic() - began:.1f} s)")
    return saved


def _fail(report: Report) -> None:
    """Print the first failures, and raise."""
    from kosmos_eval.evaluation.run_folder import load_folder

    records = []
    if report.folder is not None:
        _, run = load_folder(report.folder)
        records = [record for own in run.records.values() for record in own.values() if record.error is not None]
    for record in records[:10]:
        errors.print(f"failed: {record.key.task} {record.id}: {record.error}")
    more = f" ({len(records) - 10} more in samples.jsonl)" if len(records) > 10 else ""
    raise RunError(
        f"{report.failed} samples failed{more}; they are counted apart, and the same command asks them again"
    )


def _refuse_beside_config(context: typer.Context) -> None:
    """Make sure that no option is given that the configuration file decides."""
    for name in DECIDED:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise KosmosEvalError(f"--{name.replace('_', '-')} is decided by the --config file; give one of them")


def _from_config(config: RunConfig) -> tuple[dict[str, Task], RunConfig]:
    """Return the tasks that a configuration file names, or the default ones, and the configuration."""
    from kosmos_eval.evaluation.setup import load_tasks, tasks_of
    from kosmos_eval.evaluation.suites import members

    return (tasks_of(config) if config.tasks else load_tasks(members("default")[1])), config


def _suite(
    name: str, source: Source, *, shots: Sequence[int] | None, seed: int, splits: str | None, options: Sequence[str]
) -> tuple[dict[str, Task], Sequence[int]]:
    """Return the tasks of a suite and its numbers of demonstrations; say what is left out, and why."""
    from kosmos_eval.evaluation import suites

    chosen = suites.chosen(name, source, shots=shots, seed=seed, splits=splits, options=options)
    for task, reason in chosen.missing.items():
        errors.print(f"left out: {task}: {reason}")
    return chosen.tasks, chosen.shots


def _batch_tokens(model: str, given: str | None) -> list[str]:
    """Return the model's option for the size of its batches, if one is given."""
    if given is None:
        return []
    name = model.partition(":")[0]
    if "batch_tokens" not in signature(named("model", name)).parameters:
        raise KosmosEvalError(f"{name} has no batches of tokens to size; leave --batch-tokens out")
    return [f"batch_tokens={given}"]


def _counts(listed: str) -> list[int]:
    try:
        counts = [int(count) for count in listed.split(",")]
    except ValueError as error:
        raise KosmosEvalError(f"--shots {listed} is not a list of whole numbers, such as 0,4") from error
    if min(counts) < 0:
        raise KosmosEvalError(f"--shots {listed} has a negative number")
    return list(dict.fromkeys(counts))
