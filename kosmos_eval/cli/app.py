"""The command line: each command builds what its user names and calls the library."""

import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kosmos_eval import registry
from kosmos_eval.analysis.rerun import rerun
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.files import redacted, register_environment
from kosmos_eval.source import Source

if TYPE_CHECKING:
    from kosmos_eval.evaluation.plan import Variants

app = typer.Typer(
    name="kosmos-eval",
    help="Evaluate multimodal language models zero- and few-shot on interleaved image-text prompts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Data = Annotated[Path | None, typer.Option("--data", help="Folder of official files; default: synthetic splits.")]
Hub = Annotated[bool, typer.Option("--hub", help="Read data sets from the hub (with --data: from a mirror of it).")]
Revision = Annotated[str | None, typer.Option("--revision", help="The hub's revision; the resolved one is recorded.")]
Split = Annotated[str | None, typer.Option("--split", help="A split for all tasks, or task=split,task=split.")]
TaskOption = Annotated[list[str] | None, typer.Option("--task-option", help="TASK.OPTION=VALUE, repeatable.")]
TaskFile = Annotated[list[Path] | None, typer.Option("--task-file", help="A Python file that registers tasks.")]
ModelFile = Annotated[list[Path] | None, typer.Option("--model-file", help="A Python file that registers models.")]
Out = Annotated[
    Path | None, typer.Option("--out", help="The run's folder; default: results/runs/ by model and options.")
]
Seed = Annotated[int, typer.Option("--seed", help="Decides demonstrations, the subset of --limit, the bootstrap.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="A seeded subset of so many samples a task.")]
ShotsFrom = Annotated[str, typer.Option("--shots-from", help="random, fixed, or by images: rices, rices:clip:PATH.")]
Images = Annotated[
    Literal["real", "blank", "shuffled", "none"],
    typer.Option("--images", help="Grey ones, those of other samples, or none in place of the real."),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Discard what the folder holds instead of resuming it.")]


@app.command()
def run(
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
    split: Split = None,
    limit: Limit = None,
    seed: Seed = 0,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Draw demonstrations with so many seeds.")] = 1,
    images: Images = "real",
    with_blind: Annotated[bool, typer.Option("--with-blind", help="Also ask with blank images, beside.")] = False,
    prompts: Annotated[
        str, typer.Option("--prompts", help="Named wordings of tasks that have some: all, or NAME,NAME.")
    ] = "default",
    task_option: TaskOption = None,
    model_option: Annotated[list[str] | None, typer.Option("--model-option", help="OPTION=VALUE, repeatable.")] = None,
    task_file: TaskFile = None,
    model_file: ModelFile = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, ...")] = "auto",
    batch_tokens: Annotated[
        str | None, typer.Option("--batch-tokens", help="Computed at once: auto or a number.")
    ] = None,
    out: Out = None,
    fresh: Fresh = False,
    html: Annotated[bool, typer.Option("--html/--no-html", help="Write report.html at the end.")] = True,
    profile: Annotated[bool, typer.Option("--profile", help="Say what was shared and where the time went.")] = False,
    log: Annotated[list[str] | None, typer.Option("--log", help="tensorboard, wandb, mlflow; with :FOLDER.")] = None,
) -> None:
    """Evaluate a model; the same command again resumes what was interrupted.

    Without --data or --hub each task uses its synthetic split, which the package generates itself.
    """
    from kosmos_eval.cli import run as commands

    counts: Sequence[int] | None = None if shots is None else _counts(shots)
    commands.load_files(model_file or ())
    added = commands.load_files(task_file or ())
    source, options = _source(data, hub, revision), task_option or ()
    if tasks or suite is None:
        names = _names(tasks) if tasks else added or commands.default_tasks()
        made = commands.tasks_named(names, source, splits=split, options=options)
    else:
        made, counts = commands.suite(suite, source, shots=counts, seed=seed, splits=split, options=options)
    ways = _ways(images, with_blind, prompts, seeds)
    asked = model, model_option or (), device, counts or [0], limit, seed, shots_from, ways, profile, batch_tokens
    commands.run(commands.Asking(*asked), made, folder=out, fresh=fresh, html=html, log=log or ())


@app.command()
def score(
    task: Annotated[str, typer.Argument(help="The task whose answers these are.")],
    answers: Annotated[Path, typer.Option("--answers", help="Answers in the benchmark's official results format.")],
    data: Data = None,
    split: Split = None,
    task_option: TaskOption = None,
    task_file: TaskFile = None,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Also write samples.jsonl and scores.csv there.")] = None,
) -> None:
    """Mark answers made elsewhere, by the rules of the benchmark's official program."""
    from kosmos_eval.cli import run as commands

    commands.load_files(task_file or ())
    made = commands.tasks_named([task], _source(data, False, None), splits=split, options=task_option or ())
    commands.score(task, made[task], answers, seed=seed, folder=out)


@app.command()
def tasks(task_file: TaskFile = None) -> None:
    """List the tasks: metric, splits, where their data comes from."""
    from kosmos_eval.cli import run as commands
    from kosmos_eval.cli import show as listings

    commands.load_files(task_file or ())
    listings.tasks()


@app.command()
def models(model_file: ModelFile = None) -> None:
    """List the models that --model can name."""
    from kosmos_eval.cli import run as commands
    from kosmos_eval.cli import show as listings

    commands.load_files(model_file or ())
    listings.models()


@app.command()
def show(
    task: Annotated[str, typer.Argument(help="The task.")],
    shots: Annotated[int, typer.Option("--shots", min=0, help="Number of demonstrations.")] = 0,
    index: Annotated[int, typer.Option("--index", min=0, help="Which sample.")] = 0,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with the images in place.")] = None,
    run: Annotated[Path | None, typer.Option("--run", help="A run's folder: also show its answer and marks.")] = None,
    data: Data = None,
    hub: Hub = False,
    split: Split = None,
    seed: Seed = 0,
    shots_from: ShotsFrom = "random",
    images: Images = "real",
    task_option: TaskOption = None,
    task_file: TaskFile = None,
) -> None:
    """Show the exact prompt of a sample, its images in place; no model is needed."""
    from kosmos_eval.cli import run as commands
    from kosmos_eval.cli import show as listings
    from kosmos_eval.evaluation.setup import build_shots

    commands.load_files(task_file or ())
    made = commands.tasks_named([task], _source(data, hub, None), splits=split, options=task_option or ())
    chosen = build_shots([shots], shots_from)
    listings.show(made, shots=chosen, index=index, seed=seed, page=html, answered=run, ways=_ways(images))


@app.command()
def data(
    task: Annotated[str | None, typer.Argument(help="One task; default: all.")] = None,
    root: Annotated[Path | None, typer.Option("--data", help="Folder of official files.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="A split; default: the task's.")] = None,
    task_file: TaskFile = None,
) -> None:
    """Say for each task whether its official data is complete and readable, and where to get it."""
    from kosmos_eval.cli import run as commands
    from kosmos_eval.cli import show as listings

    commands.load_files(task_file or ())
    listings.data([task] if task else None, root, split=split)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A run's folder.")], task_file: TaskFile = None) -> None:
    """Print a run's scores again and rewrite its scores.csv and report.html."""
    from kosmos_eval.cli import run as commands

    commands.load_files(task_file or ())
    commands.report(folder)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="A run's folder.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="The run that is compared with it.")],
    changes: Annotated[int, typer.Option("--changes", min=0, help="Samples to list, the largest change first.")] = 3,
    out: Annotated[Path | None, typer.Option("--out", help="Also write all of it as .json, the rows as .csv.")] = None,
    seed: Seed = 0,
    task_file: TaskFile = None,
) -> None:
    """Compare two runs sample by sample: difference, interval, p-value, and which samples changed."""
    from kosmos_eval.analysis.compare import compare as compared
    from kosmos_eval.cli import run as commands
    from kosmos_eval.report import comparison

    if out is not None:
        comparison.named(out)
    commands.load_files(task_file or ())
    found = compared(first, second, seed=seed)
    comparison.print_comparison(found, commands.console, changes=changes)
    if out is not None:
        comparison.write(found, out)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A run's folder.")],
    to: Annotated[str, typer.Option("--to", help="json (scores), parquet (samples) or lm-eval (its results file).")],
    out: Annotated[Path | None, typer.Option("--out", help="Where the files go; default: the run's folder.")] = None,
    task_file: TaskFile = None,
) -> None:
    """Write a run in a format that other tools read."""
    from kosmos_eval.analysis.export import export as exported
    from kosmos_eval.cli import run as commands

    commands.load_files(task_file or ())
    commands.console.print(*exported(folder, to, out=out), sep="\n", highlight=False, soft_wrap=True, markup=False)


@app.command()
def leaderboard(
    sources: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or others' scores.csv.")],
    out: Annotated[Path, typer.Option("--out", help="The merged file.")] = Path("results/leaderboard.csv"),
) -> None:
    """Merge runs into a leaderboard and its page, in which only comparable rows are ranked."""
    from kosmos_eval.analysis.leaderboard import update
    from kosmos_eval.cli import run as commands
    from kosmos_eval.report.console import print_standing

    print_standing(update(out, sources), commands.console)
    commands.console.print(f"leaderboard: {out}, {out.with_suffix('.html')}", highlight=False, soft_wrap=True)


class _Interrupted(BaseException):
    """Ctrl-C, by a name of our own because typer would turn KeyboardInterrupt into exit code 1."""


def main() -> None:
    """Run the command line: exit 0 when all went well, 1 for a bug, 2 when the user can act, 130 when interrupted."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise _Interrupted

    signal.signal(signal.SIGINT, interrupt)
    register_environment()
    try:
        app.command()(rerun)
        for name in registry.names("command"):
            app.command(name)(registry.named("command", name))
        app()
    except KosmosEvalError as error:
        print(f"error: {redacted(str(error))}", file=sys.stderr)
        sys.exit(2)
    except _Interrupted:
        from kosmos_eval.evaluation.launch import speaks

        if speaks():
            print("interrupted; what is finished is kept, the same command resumes", file=sys.stderr)
        sys.exit(130)
    finally:
        sys.excepthook = _print_traceback


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of a bug, without secrets; typer sets a hook of its own, so it is set late."""
    print(redacted("".join(traceback.format_exception(kind, error, trace))), file=sys.stderr, end="")


def _source(data: Path | None, hub: bool, revision: str | None) -> Source:
    if revision is not None and not hub:
        raise KosmosEvalError("--revision is the hub's; give it with --hub")
    if data is not None and not data.is_dir():
        raise KosmosEvalError(f"--data {data} is not a folder; name the one that holds the official files")
    return Source("hub" if hub else "data" if data is not None else "synthetic", data, None, revision)


def _ways(images: Images, with_blind: bool = False, prompts: str = "default", seeds: int = 1) -> "Variants":
    from kosmos_eval.evaluation.plan import Variants

    return Variants(images, with_blind, () if prompts == "default" else tuple(_names(prompts)), seeds)


def _names(listed: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in listed.split(",") if name.strip()))
    if not names:
        raise KosmosEvalError(f"{listed!r} names nothing; expected names separated by commas")
    return names


def _counts(listed: str) -> list[int]:
    try:
        counts = [int(count) for count in listed.split(",")]
    except ValueError as error:
        raise KosmosEvalError(f"--shots {listed} is not a list of whole numbers, such as 0,4") from error
    if min(counts) < 0:
        raise KosmosEvalError(f"--shots {listed} has a negative number")
    return list(dict.fromkeys(counts))
