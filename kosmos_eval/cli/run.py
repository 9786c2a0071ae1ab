"""What the commands do, once their options are read."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from inspect import signature
from pathlib import Path
from time import monotonic

from rich.console import Console

from kosmos_eval.analysis.saved_run import SavedRun, marked_cell, marked_rows, open_run, resumed
from kosmos_eval.errors import BadData, KosmosEvalError, RunError
from kosmos_eval.evaluation import run_folder, suites
from kosmos_eval.evaluation.evaluator import Progress, checked
from kosmos_eval.evaluation.launch import Crew, launched, speaks
from kosmos_eval.evaluation.plan import Setting, Variants, cells
from kosmos_eval.evaluation.profiling import Profile, as_json, lines, profiled, summary
from kosmos_eval.evaluation.results import Report
from kosmos_eval.evaluation.run_folder import Record, Run
from kosmos_eval.evaluation.scores import cell_file, has_sample_metrics, marks_file, scored
from kosmos_eval.evaluation.setup import (
    build_model,
    build_shots,
    build_tasks,
    configuration,
    default_folder,
    provenance,
)
from kosmos_eval.fewshot.selection import Shots
from kosmos_eval.files import redacted
from kosmos_eval.model import Model
from kosmos_eval.models.usage import RemoteModel
from kosmos_eval.registry import load_file, named
from kosmos_eval.report.console import print_report
from kosmos_eval.report.progress import shown
from kosmos_eval.report.trackers import Tracker
from kosmos_eval.source import Source
from kosmos_eval.task import Task

console = Console(width=None if sys.stdout.isatty() else 140, quiet=not speaks())
errors = Console(stderr=True, quiet=not speaks())

tasks_named = build_tasks


@dataclass(frozen=True)
class Asking:
    """How a run asks: which model, how many demonstrations, which samples, in which ways; and whether to profile it."""

    model: str
    model_options: Sequence[str]
    device: str
    shots: Sequence[int]
    limit: int | None
    seed: int
    shots_from: str = "random"
    ways: Variants = field(default_factory=Variants)
    profile: bool = False
    batch_tokens: str | None = None


def load_files(paths: Iterable[Path]) -> list[str]:
    """Import users' files; gives the names of the tasks they register."""
    return [name for path in paths for name in load_file(path)]


def default_tasks() -> list[str]:
    """The tasks that run where none is named."""
    return suites.members("default")[1]


def suite(
    name: str, source: Source, *, shots: Sequence[int] | None, seed: int, splits: str | None, options: Sequence[str]
) -> tuple[dict[str, Task], Sequence[int]]:
    """The tasks of a suite (`suites.chosen`) and its numbers of demonstrations; tells what is left out, and why."""
    chosen = suites.chosen(name, source, shots=shots, seed=seed, splits=splits, options=options)
    for task, reason in chosen.missing.items():
        errors.print(f"left out: {task}: {reason}", highlight=False, soft_wrap=True, markup=False)
    return chosen.tasks, chosen.shots


def run(
    asking: Asking,
    tasks: Mapping[str, Task],
    *,
    folder: Path | None,
    fresh: bool,
    html: bool = True,
    log: Sequence[str] = (),
) -> None:
    """Evaluate into a run's folder and print the scores.

    Args:
        asking: how is asked.
        tasks: what is asked.
        folder: the run's folder; by default one that model and options name.
        fresh: discard what the folder holds.
        html: also write ``report.html``.
        log: trackers that get the scores too, such as ``tensorboard:FOLDER`` (`kosmos_eval.report.trackers`).

    Raises:
        KosmosEvalError: when samples failed; everything else is finished and kept by then.
    """
    trackers = [Tracker.named(spec) for spec in log]
    with launched() as crew:
        _run(crew, asking, tasks, folder=folder, fresh=fresh, html=html, trackers=trackers)


def _run(
    crew: Crew,
    asking: Asking,
    tasks: Mapping[str, Task],
    *,
    folder: Path | None,
    fresh: bool,
    html: bool,
    trackers: Sequence[Tracker],
) -> None:
    device = crew.device(asking.device)
    with shown(errors) as progress:
        chosen, todo = crew.in_turn(lambda: _planned(replace(asking, device=device), tasks, progress))
    model = build_model(asking.model, device=device, options=_settings(asking))
    checked(model, todo)
    crew = crew.joined(model)
    spec, deciding = _identity(asking, model)
    config = configuration(spec, model, tasks, shots=chosen, limit=asking.limit, seed=asking.seed, ways=asking.ways) | {
        "command": sys.argv,
        "processes": crew.ranks.count,
    }
    config["options"] |= {"model_options": deciding} if deciding else {}
    config["given"] = {"model": asking.model, "model_options": _settings(asking)}
    crew.agree(config["options"] | {f"size of {cell.label}": len(cell.samples) for cell in todo})
    folder = folder or default_folder(config)
    found = Report(model.name, ())
    with run_folder.opened(folder, config, fresh=fresh, ranks=crew.ranks) as opened:
        if crew.ranks.first and (said := resumed(config, opened)):
            console.print(said, highlight=False, soft_wrap=True, markup=False)
        if isinstance(model, RemoteModel):
            _keep_account(model, opened)
        with shown(errors) as progress, profiled() as measured:
            for cell, found in crew.evaluated(model, todo, opened, progress):
                _write_marks(cell, opened)
                opened.write("scores.csv", found.csv())
        if not crew.ranks.first:
            return
        config["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        config["data"] = {cell.label: _fingerprint(cell, opened) for cell in todo}
        if model.notes:
            config["model_notes"] = list(model.notes)
            console.print(f"{model.name}: {'; '.join(model.notes)}", highlight=False, soft_wrap=True, markup=False)
        opened.write("run.json", json.dumps(redacted(config), indent=2, ensure_ascii=False) + "\n")
        if asking.profile:
            _write_profile(measured, model, opened)
        if html:
            _write_page(SavedRun(folder, redacted(config), todo, opened), found)
        for tracker in trackers:
            where = tracker.log(found, redacted(config), folder)
            console.print(f"{tracker.name}: {where}", highlight=False, soft_wrap=True, markup=False)
    _finish(found, opened)


def _settings(asking: Asking) -> list[str]:
    """The model's options, with how many tokens it is to compute at once."""
    if asking.batch_tokens is None:
        return list(asking.model_options)
    name = asking.model.partition(":")[0]
    if "batch_tokens" not in signature(named("model", name)).parameters:
        raise KosmosEvalError(f"{name} has no batches of tokens to size; leave --batch-tokens out")
    return [*asking.model_options, f"batch_tokens={asking.batch_tokens}"]


def _identity(asking: Asking, model: Model) -> tuple[str, list[str]]:
    """The model and those of its options that a run is known by: neither where it answers nor how fast decides that."""
    free = model.runtime_options
    deciding = [option for option in asking.model_options if option.partition("=")[0] not in free]
    return model.name if isinstance(model, RemoteModel) else asking.model, deciding


def _keep_account(model: RemoteModel, run: Run) -> None:
    """Let a server's model add to what its answers took so far, and say so where it answers elsewhere now."""
    if run.folder is not None:
        model.usage.keep(run.folder / run.file.replace("samples", "usage", 1))
    before = model.usage.whole().endpoints
    if before and model.address not in before:
        console.print(
            f"{' and '.join(before)} answered so far, {model.address} goes on; nothing tells whether it holds the same "
            "weights under that name: where it does not, start over with --fresh",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )


def _write_profile(measured: Profile, model: Model, run: Run) -> None:
    """Where the time went and what the model saved, as far as the model counts."""
    known = summary(measured, model.work)
    run.write("profile.json", as_json(known))
    for line in lines(known):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _planned(asking: Asking, tasks: Mapping[str, Task], progress: Progress) -> tuple[Shots, list[Setting]]:
    chosen = build_shots(asking.shots, asking.shots_from, device=asking.device, progress=progress)
    return chosen, cells(tasks, shots=chosen, limit=asking.limit, seed=asking.seed, ways=asking.ways)


def report(folder: Path) -> None:
    """Print a run's scores again and rewrite its ``scores.csv`` and ``report.html``.

    Raises:
        RunError: if there is no run.
    """
    past = open_run(folder)
    found = past.report
    past.run.write("scores.csv", found.csv())
    _write_page(past, found)
    _finish(found, past.run)


def score(name: str, task: Task, answers: Path, *, seed: int, folder: Path | None) -> None:
    """Mark a file of answers and print the scores; what an earlier state of the file got is forgotten.

    Raises:
        KosmosEvalError: if the task marks no files, or the file does not belong to the split.
    """
    given = task.read_answers(answers)
    official = task.official()
    cell = marked_cell(name, official, given, seed=seed)
    unknown = sorted(set(given) - {sample.id for sample in cell.samples})
    if unknown:
        raise BadData(f"{answers} answers {unknown[0]}, which this split of {name} does not have; name its --split")
    options = {"answers": str(answers), "task": name, "options": official.options()}
    config = {
        "options": options | ({"seed": seed} if seed else {}),
        "model_name": str(answers),
        "command": sys.argv,
        **provenance([name]),
    }
    with run_folder.opened(folder, config) if folder else nullcontext(Run()) as run:
        marked = [
            Record(name, 0, one.id, prompt="", score=official.score_answer(one, given[one.id])) for one in cell.samples
        ]
        run.records = {record.key: record for record in marked}
        run.write(run_folder.SAMPLES, "".join(f"{record.line()}\n" for record in marked))
        found = Report(str(answers), tuple(marked_rows(cell, run)))
        _write_marks(cell, run)
        run.write("scores.csv", found.csv())
        run.write("run.json", json.dumps(redacted(config), indent=2, ensure_ascii=False) + "\n")
    _finish(found, run)


def _write_page(past: SavedRun, found: Report) -> None:
    from kosmos_eval.report import html

    begun = monotonic()
    content = html.page(past, found)
    past.run.write("report.html", content)
    made = f"{len(content.encode()) / 1e6:.1f} MB, {monotonic() - begun:.1f} s"
    console.print(f"report: {past.folder / 'report.html'} ({made})", highlight=False, soft_wrap=True)


def _write_marks(cell: Setting, run: Run) -> None:
    """Files that a cell gives beside the table: what a server scores, marks that only the corpus decides."""
    samples, scores = scored(cell, run)
    if (submission := cell.task.submission(samples, scores)) is not None:
        file, content = submission
        run.write(f"{cell_file(cell)}-{file}", content)
    if samples and has_sample_metrics(cell.task):
        marks = cell.task.sample_metrics(samples, scores)
        run.write(marks_file(cell), json.dumps(marks, indent=1) + "\n")


def _fingerprint(cell: Setting, run: Run) -> str:
    """A digest of what was evaluated: ids, prompts with the content of their images, and references."""
    total = sha256()
    for sample in cell.outlines():
        record = cell.record(run, sample.id)
        total.update(f"{sample.id} {record.prompt if record else ''} {sample.references!r}\n".encode())
    return total.hexdigest()[:16]


def _finish(found: Report, run: Run) -> None:
    print_report(found, console)
    if run.folder is not None:
        console.print(f"run folder: {run.folder}", highlight=False, soft_wrap=True)
    failed = [record for record in run.records.values() if record.error is not None]
    if found.failed:
        for record in failed[:10]:
            errors.print(
                f"failed: {record.task} {record.id}: {record.error}", highlight=False, soft_wrap=True, markup=False
            )
        more = f" ({len(failed) - 10} more in samples.jsonl)" if len(failed) > 10 else ""
        raise RunError(
            f"{found.failed} samples failed{more}; they are counted apart, and the same command asks them again"
        )
