"""The loop: samples become prompts and requests, outputs become scores, scores become a report.

Whoever knows this file knows the program.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path

from kosmos_eval.errors import BadData, BadImage, ModelError, PlugInError
from kosmos_eval.evaluation.launch import ProcessGroup, process_group, shard
from kosmos_eval.evaluation.plan import Setting, plan
from kosmos_eval.evaluation.profiling import as_json, lines, profiled, spent, summary, through
from kosmos_eval.evaluation.results import Report, Row
from kosmos_eval.evaluation.run_config import Environment, Manifest, RunConfig, timestamp
from kosmos_eval.evaluation.run_folder import SCORES, Record, RunFolder, open_folder
from kosmos_eval.evaluation.scores import score_setting, summarise, write_setting
from kosmos_eval.evaluation.setup import (
    default_folder,
    load_model,
    load_shots,
    load_tasks,
    summarise_task,
    task_options,
)
from kosmos_eval.evaluation.variant import SettingKey, Variants
from kosmos_eval.fewshot.selection import Progress, Shots, silent
from kosmos_eval.model import Model
from kosmos_eval.models.usage import RemoteModel
from kosmos_eval.request import Completion, Failure, LogLikelihood, Output, Request, is_finite
from kosmos_eval.sample import Sample
from kosmos_eval.source import Source
from kosmos_eval.task import Task, validate_score

WINDOW = 512
"""Samples handed to the model at a time: enough to plan shared work, few enough to stream."""

Log = Callable[[str], None]
"""Called with a line for the user."""


def evaluate(  # noqa: PLR0913 - the fields of RunConfig, and where the run lives
    model: Model | str,
    tasks: Mapping[str, Task] | Sequence[str],
    *,
    shots: Sequence[int] | Shots = (0,),
    shots_from: str = "random",
    limit: int | None = None,
    seed: int = 0,
    variants: Variants | None = None,
    model_options: Sequence[str] = (),
    device: str = "auto",
    out: Path | str | None = None,
    overwrite: bool = False,
    profile: bool = False,
    progress: Progress | None = None,
    log: Log | None = None,
) -> Report:
    """Evaluate a model on tasks, zero- and few-shot.

    Args:
        model: a model, or its name as ``--model`` takes it.
        tasks: tasks by the names that the report gives them, or names of registered tasks on their synthetic splits.
        shots: numbers of demonstrations, each of which gives rows of its own; `Shots` also says how they are chosen.
        shots_from: how demonstrations are chosen: ``random``, ``fixed``, ``rices``, ``rices:ENCODER:PATH``.
        limit: evaluate a seeded subset of this many samples; a smaller one is part of a larger one.
        seed: decides demonstrations, the subset and the bootstrap.
        variants: the variants in which tasks are asked beside the default: without the real images, with other
            prompts, with other draws of demonstrations; ``Variants(with_blind=True, prompts=("all",), seeds=3)``.
        model_options: ``option=value`` each, for a model that is named.
        device: where a model that is named computes.
        out: the run's folder, which `kosmos_eval.report.write`, ``compare``, ``leaderboard`` and ``export`` read; a
            run that is there and was interrupted is resumed. ``auto`` is a folder under ``results/runs`` that model
            and configuration name. Nothing is written by default.
        overwrite: discard the run that is there.
        profile: write ``profile.json``: what was shared, and where the time went.
        progress: called with a label, how many samples are done and how many there are.
        log: called with each line that a user ought to read.

    Returns:
        The scores with their intervals. Failed samples are counted there, never scored. Where a launcher has started
        several processes, only the first one has the rows.

    Raises:
        KosmosEvalError: if the data cannot be read, there are fewer demonstrations than ``shots``, task or model
            have no such variant, or the folder holds a run of another configuration.
    """
    given_progress, told = progress or silent, log or (lambda line: None)
    with process_group() as group:
        where = group.device(device)
        made = tasks if isinstance(tasks, Mapping) else load_tasks(tasks, Source())

        def planned() -> tuple[Shots, list[Setting]]:
            chosen = shots if isinstance(shots, Shots) else load_shots(shots, shots_from, device=where)
            return chosen, plan(made, shots=chosen, limit=limit, seed=seed, variants=variants)

        chosen, settings = group.main_first(planned)
        loaded = load_model(model, device=where, options=model_options) if isinstance(model, str) else model
        check_capabilities(loaded, settings)
        group = group.joined(loaded)
        decisive = [one for one in model_options if one.partition("=")[0] not in loaded.runtime_options]
        config = RunConfig(
            model=model if isinstance(model, str) and not isinstance(loaded, RemoteModel) else loaded.name,
            tasks={name: task_options(task) for name, task in made.items()},
            shots=chosen.counts,
            shots_from=chosen.choice.name,
            limit=limit,
            seed=seed,
            variants=variants or Variants(),
            model_options=tuple(decisive),
            model_fingerprint=loaded.fingerprint,
            shots_fingerprint=chosen.choice.fingerprint,
            kind="model" if isinstance(model, str) else "live",
        )
        group.agree(vars(config) | {f"size of {setting.label}": len(setting.samples) for setting in settings})
        manifest = Manifest(
            config,
            model_name=loaded.name,
            environment=Environment.now(made, command=sys.argv, processes=group.ranks.count),
            started=timestamp(),
            model_spec=model if isinstance(model, str) else "",
            model_spec_options=tuple(model_options),
            tasks={name: summarise_task(task) for name, task in made.items()},
        )
        path = default_folder(config, loaded.name) if out == "auto" else None if out is None else Path(out)
        with _opened(path, manifest, group, overwrite=overwrite, log=told) as (run, current), profiled() as measured:
            _keep_usage(loaded, run, told)
            report = Report(loaded.name, ())
            for setting, report in evaluate_settings(loaded, settings, run, group=group, progress=given_progress):
                write_setting(setting, run)
                run.write(SCORES, report.csv())
            if not group.ranks.first:
                return replace(report, folder=path)
            done = current.done(
                notes=loaded.notes, settings={str(setting.key): summarise(setting, run) for setting in settings}
            )
            run.write("run.json", done.dumps())
            if loaded.notes:
                told(f"{loaded.name}: {'; '.join(loaded.notes)}")
        if profile:
            known = summary(measured, loaded.work)
            run.write("profile.json", as_json(known))
            for line in lines(known):
                told(line)
        return replace(report, folder=path)


def score_answers(
    name: str, task: Task, answers: Path, *, seed: int = 0, out: Path | None = None, overwrite: bool = False
) -> Report:
    """Score a file of external answers by the rules of the benchmark's official program.

    Args:
        name: the task's name.
        task: the task.
        answers: in the benchmark's results format; scores of an earlier state of the file are forgotten.
        seed: of the bootstrap.
        out: the folder of the run that this makes; nothing is written by default.
        overwrite: discard the run that is there.

    Raises:
        KosmosEvalError: if the task reads no answer files, or the file does not belong to the split.
    """
    given = task.read_answers(answers)
    official = task.official()
    split = official.samples()
    samples = [sample for sample in split if sample.id in given]
    setting = Setting(SettingKey(name), official, seed, samples, split=split)
    unknown = sorted(set(given) - {sample.id for sample in samples})
    if unknown:
        raise BadData(f"{answers} answers {unknown[0]}, which this split of {name} does not have; name its --split")
    config = RunConfig(model=str(answers.resolve()), tasks={name: task_options(official)}, seed=seed, kind="answers")
    environment = Environment.now([name], command=sys.argv)
    manifest = Manifest(config, str(answers), environment, started=timestamp(), tasks={name: summarise_task(official)})
    with _opened(out, manifest, ProcessGroup(), overwrite=overwrite, log=lambda line: None) as (run, current):
        scores = ((index, one, official.score_answer(one, given[one.id])) for index, one in enumerate(samples))
        run.replace_all([Record(setting.key, one, index=index, score=score) for index, one, score in scores])
        report = Report(str(answers), tuple(score_setting(setting, run, external_notes(setting), recompute=True)))
        write_setting(setting, run)
        run.write(SCORES, report.csv())
        run.write("run.json", current.done(notes=(), settings={str(setting.key): summarise(setting, run)}).dumps())
    return replace(report, folder=out)


def external_notes(setting: Setting, *, gone: int = 0) -> list[str]:
    """Return the notes of external answers; they say how many samples have none, and how many answers no sample.

    The note of a closed-ended task is the rule by which it chooses; nothing was chosen here.
    """
    closed = all(sample.choices for sample in setting.outlines())
    notes = [] if closed else list(setting.task.notes)
    if left := len(setting.split) - len(setting.samples):
        notes.append(f"{left} of {len(setting.split)} samples are not answered")
    if gone:
        notes.append(f"{gone} answers are to samples that the data no longer have")
    return [*notes, "external predictions"]


def check_capabilities(model: Model, settings: Iterable[Setting]) -> None:
    """Make sure, before anything is asked or written, that a model can be asked in these settings.

    Raises:
        ModelError: if it is no model, or prompts are to have no images and the model reads none without.
    """
    if not isinstance(model, Model):
        raise ModelError(f"the model is a {type(model).__name__}; expected `class ...(kosmos_eval.Model)`")
    if model.requires_images and any(setting.key.variant.images == "none" for setting in settings):
        raise ModelError(f"{model.name} reads no prompt without an image; ask with --images blank or shuffled instead")


def evaluate_settings(
    model: Model,
    settings: Sequence[Setting],
    run: RunFolder,
    *,
    group: ProcessGroup | None = None,
    progress: Progress = silent,
) -> Iterator[tuple[Setting, Report]]:
    """Evaluate settings one after the other; give each once it is scored, with the report so far.

    Each process of a group answers its share of every setting and waits for the others; the first one then has all
    reports, the others none.
    """
    group = group or ProcessGroup()
    found: list[Row] = []
    if group.alone:
        for setting in settings:
            evaluate_setting(model, setting, run, progress)
            found += score_setting(setting, run, recompute=True)
            yield setting, Report.of(model.name, found)
        return
    with group.shared_progress({setting.label: len(setting.samples) for setting in settings}, progress) as tell:
        for setting in settings:
            evaluate_setting(model, shard(setting, run, group.ranks), run, tell)
    if group.ranks.first:
        run.gather()
        for setting in settings:
            found += score_setting(setting, run, recompute=True)
            yield setting, Report.of(model.name, found)


def evaluate_setting(model: Model, setting: Setting, run: RunFolder, progress: Progress = silent) -> None:
    """Ask and score whatever the run has not finished, a window of samples at a time."""
    total, done = len(setting.samples), 0
    progress(setting.label, 0, total)

    def step() -> None:
        nonlocal done
        done += 1
        progress(setting.label, done, total)

    waiting = _pending(model, setting, run, step)
    while window := list(islice(waiting, WINDOW)):
        for pending in _answered(model, setting, window):
            with spent("scoring"):
                run.append(_record(setting, pending))
            step()


@dataclass
class PendingSample:
    """A sample on its way: its requests so far, and the outputs that have come.

    Args:
        sample: the sample.
        index: its place in the setting.
        shots: the demonstrations that are shown.
        requests: of all turns so far.
        prompt: digest of the first turn.
        outputs: by request, as far as they have come.
        error: why the sample failed.
    """

    sample: Sample
    index: int = 0
    shots: Sequence[Sample] = ()
    requests: list[Request] = field(default_factory=list)
    prompt: str = ""
    outputs: dict[int, Output | Failure] = field(default_factory=dict)
    error: str | None = None

    @property
    def answers(self) -> tuple[Output, ...]:
        """The outputs in the order of the requests, failures left out."""
        ordered = (self.outputs[place] for place in sorted(self.outputs))
        return tuple(output for output in ordered if not isinstance(output, Failure))


def build_requests(
    setting: Setting, sample: Sample, fits: Callable[[Request], bool] = lambda request: True, *, index: int = 0
) -> PendingSample:
    """Return a sample with its first requests, and as many whole demonstrations as fit into the model's context."""
    pending = PendingSample(sample, index, setting.demonstrations(sample))
    _next_turn(setting, pending, fits)
    if not pending.requests:
        raise PlugInError(f"{setting.name} asks nothing about sample {sample.id}; expected requests() to give some")
    pending.prompt = digest(pending.requests)
    return pending


def _next_turn(setting: Setting, pending: PendingSample, fits: Callable[[Request], bool]) -> bool:
    """Add the requests of a sample's next turn; return whether there are any that can be asked."""
    requests, pending.shots, fit = setting.fitting(pending.sample, pending.shots, pending.answers, fits)
    if not fit:
        pending.error = "the prompt is longer than the model's context, even without demonstrations"
    pending.requests += requests
    return bool(requests) and fit


def _pending(model: Model, setting: Setting, run: RunFolder, step: Callable[[], None]) -> Iterator[PendingSample]:
    """Return the samples that still have to be answered, with their requests; failures on the way are recorded."""
    ids: set[str] = set()
    indices = range(len(setting.samples)) if setting.indices is None else setting.indices
    for index, sample in zip(indices, setting.samples, strict=True):
        if sample.id in ids:
            raise BadData(f"{setting.name} has two samples called {sample.id!r}; expected ids of their own")
        ids.add(sample.id)
        setting.seen[sample.id] = sample.outline
        try:
            pending = build_requests(setting, sample, model.fits, index=index)
        except BadImage as error:
            run.append(Record(setting.key, sample, index=index, error=str(error)))
            step()
            continue
        if run.finished(setting.key, sample.id, pending.prompt):
            step()
        elif pending.error is not None:
            run.append(_record(setting, pending))
            step()
        else:
            yield pending


def _answered(model: Model, setting: Setting, window: list[PendingSample]) -> Iterator[PendingSample]:
    """Return each sample of a window as soon as all its turns are answered, or one of them failed.

    What several ask alike is asked once, so that candidates which look alike (blank ones) tie exactly.
    """
    while window:
        owners = _unique(window)
        requests, unanswered = list(owners), len(owners)
        later: list[PendingSample] = []
        for index, found in through("model", model.answers(requests)):
            unanswered -= 1
            output = reject_unusable(found, model)
            for pending, place in owners[requests[index]]:
                pending.outputs[place] = output
                if isinstance(output, Failure):
                    pending.error = pending.error or output.reason
                if len(pending.outputs) < len(pending.requests):
                    continue
                if not pending.error and _next_turn(setting, pending, model.fits):
                    later.append(pending)
                else:
                    yield pending
        if unanswered:
            raise RuntimeError(f"model {model.name} left {unanswered} of {len(requests)} requests unanswered")
        window = later


def _unique(window: Sequence[PendingSample]) -> dict[Request, list[tuple[PendingSample, int]]]:
    """Return each request that is to be asked once, with the samples that wait for it and its place among theirs."""
    owners: dict[Request, list[tuple[PendingSample, int]]] = {}
    for pending in window:
        for place in range(len(pending.outputs), len(pending.requests)):
            owners.setdefault(pending.requests[place], []).append((pending, place))
    return owners


def reject_unusable(output: Output | Failure, model: Model) -> Output | Failure:
    """Return an output, or a failure in place of one that is no answer.

    No answer are log-probabilities that are not finite numbers, and white space alone that only the length ended.
    """
    if isinstance(output, Failure):
        return output
    if isinstance(output, Completion) and not output.finished and not output.text.strip():
        return Failure(f"{model.name} gave white space alone up to the most tokens; allow more of them")
    if not is_finite(output):
        return Failure(f"{model.name} gave a log-probability that is not a finite number; try another precision")
    return output


def _record(setting: Setting, pending: PendingSample) -> Record:
    of, outputs = f"{setting.name}, sample {pending.sample.id}", pending.answers
    failed = pending.error is not None
    return Record(
        setting.key,
        pending.sample,
        prompt=pending.prompt,
        index=pending.index,
        shown=len(pending.shots),
        outputs=outputs,
        score=None if failed else validate_score(setting.task.score(pending.sample, outputs), of=of),
        error=pending.error,
    )


def digest(requests: Sequence[Request]) -> str:
    """Return 16 hex digits over all that is asked: text, content of the images, decoding."""
    total = sha256()
    for request in requests:
        if isinstance(request, LogLikelihood):
            rest: tuple[object, ...] = (request.continuations, request.terminated)
        else:
            rest = (request.max_tokens, request.stop, request.beams, request.length_penalty, request.choices)
            rest += () if request.sampling is None else (request.sampling,)
            rest += () if request.early_stopping else ("early_stopping=False",)
        total.update(f"{type(request).__name__} {request.prompt.digest} {rest!r}\n".encode())
    return total.hexdigest()[:16]


@contextmanager
def _opened(
    path: Path | None, manifest: Manifest, group: ProcessGroup, *, overwrite: bool, log: Log
) -> Iterator[tuple[RunFolder, Manifest]]:
    """Open a run's folder, or keep the run in memory; give it with the manifest, which continues one that is there."""
    if path is None:
        yield RunFolder(), manifest
        return
    with open_folder(path, manifest, overwrite=overwrite, ranks=group.ranks) as (run, there):
        if there is not None and group.ranks.first:
            manifest, said = manifest.resumed_from(there, run.answered)
            if said:
                log(said)
                run.write("run.json", manifest.dumps())
        yield run, manifest


def _keep_usage(model: Model, run: RunFolder, log: Log) -> None:
    """Continue the usage log of a remote model; warn if its endpoint changed."""
    if not isinstance(model, RemoteModel):
        return
    if run.path is not None:
        model.usage.keep(run.path / run.file.replace("samples", "usage", 1))
    before = model.usage.whole().endpoints
    if before and model.address not in before:
        log(
            f"{' and '.join(before)} answered so far, {model.address} goes on; nothing tells whether it holds the same "
            "weights under that name: if it does not, start over with --overwrite"
        )
