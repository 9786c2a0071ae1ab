"""The loop: samples become prompts and requests, outputs become scores, scores become a report.

Whoever knows this file knows the program.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from math import isnan

from kosmos_eval.errors import BadData, BadImage, ModelError, PlugInError
from kosmos_eval.evaluation.plan import Setting, Variants, cells, demonstrations
from kosmos_eval.evaluation.profiling import spent, through
from kosmos_eval.evaluation.results import Report, Row, rows
from kosmos_eval.evaluation.run_folder import Record, Run
from kosmos_eval.evaluation.scores import added, scored
from kosmos_eval.fewshot.selection import Shots
from kosmos_eval.model import Model
from kosmos_eval.request import Failure, Likelihoods, LogLikelihood, Output, Request
from kosmos_eval.sample import Sample
from kosmos_eval.task import Task, validate_score

WINDOW = 512
"""Samples handed to the model at a time: enough to plan shared work, few enough to stream."""

Progress = Callable[[str, int, int], None]
"""Called with a label, how many samples are done and how many there are."""


@dataclass
class Asked:
    """A sample on its way: its requests so far, and the outputs that have come."""

    sample: Sample
    shots: Sequence[Sample]
    requests: list[Request]
    prompt: str
    outputs: list[Output | Failure | None] = field(default_factory=list)
    error: str | None = None


def evaluate(
    model: Model,
    tasks: Mapping[str, Task],
    *,
    shots: Sequence[int] | Shots = (0,),
    limit: int | None = None,
    seed: int = 0,
    ways: Variants | None = None,
    run: Run | None = None,
) -> Report:
    """Evaluate a model on tasks, zero- and few-shot.

    Args:
        model: whatever answers requests.
        tasks: the tasks by the names that the report gives them.
        shots: numbers of demonstrations, each of which gives rows of its own; `Shots` also says how they are chosen.
        limit: evaluate a seeded subset of this many samples; a smaller one is part of a larger one.
        seed: decides demonstrations, the subset and the bootstrap.
        ways: in which ways tasks are asked beside the usual one: without the right pictures, in other wordings, with
            other draws of demonstrations; for example ``Variants(with_blind=True, prompts=("all",), seeds=3)``.
        run: where records go and what is already finished; in memory by default. `evaluated` also tells of progress.

    Returns:
        The scores with their intervals. Failed samples are counted there, never scored.

    Raises:
        KosmosEvalError: if the data cannot be read, there are fewer demonstrations than ``shots``, or task or model
            cannot be asked in one of the ``ways``.
    """
    todo = cells(tasks, shots=shots, limit=limit, seed=seed, ways=ways)
    checked(model, todo)
    reports = [report for _, report in evaluated(model, todo, run or Run(), lambda label, done, total: None)]
    return reports[-1] if reports else Report(model.name, ())


def checked(model: Model, todo: Iterable[Setting]) -> None:
    """Make sure, before anything is asked or written, that a model can be asked so.

    Raises:
        ModelError: if prompts are to have no images, and the model reads none without.
    """
    if not isinstance(model, Model):
        raise ModelError(f"the model is a {type(model).__name__}; expected a subclass of kosmos_eval.Model")
    if model.requires_images and any(cell.images == "none" for cell in todo):
        raise ModelError(f"{model.name} reads no prompt without an image; ask with --images blank or shuffled instead")


def evaluated(model: Model, todo: Iterable[Setting], run: Run, progress: Progress) -> Iterator[tuple[Setting, Report]]:
    """The loop itself: each cell once it is evaluated, with the report so far."""
    found: list[Row] = []
    for cell in todo:
        evaluate_cell(model, cell, run, progress)
        found += cell_rows(cell, run)
        yield cell, Report.of(model.name, found)


def evaluate_cell(model: Model, cell: Setting, run: Run, progress: Progress) -> None:
    """Ask and mark whatever the run has not finished, a window of samples at a time."""
    total, done = len(cell.samples), 0
    progress(cell.label, 0, total)

    def step(count: int = 1) -> None:
        nonlocal done
        done += count
        progress(cell.label, done, total)

    waiting = _asked(model, cell, run, step)
    while window := list(islice(waiting, WINDOW)):
        for asked in _answered(model, cell, window):
            with spent("scoring"):
                run.append(_record(cell, asked))
            step()


def cell_rows(cell: Setting, run: Run) -> list[Row]:
    """The report's rows of a cell, from the records of its samples."""
    samples, scores = scored(cell, run)
    with spent("scoring"):
        metrics = cell.task.aggregate(samples, scores, seed=cell.seed)
        sight = added(cell, run, metrics)
    notes = list(cell.task.notes)
    if cell.shots and cell.task.info.extension:
        notes.append("extension")
    if cell.leave_one_out:
        notes.append("leave-one-out")
    if cell.shots and (note := cell.choice.note(samples, cell.pool, cell.shots, seed=cell.seed, task=cell.name)):
        notes.append(note)
    shown = [record.shown for sample in cell.outlines() if (record := cell.record(run, sample.id))]
    failed = len(cell.samples) - len(samples)
    mean = sum(shown) / max(len(shown), 1)
    found = rows(cell.name, cell.shots, metrics, shown=mean, failed=failed, notes=notes, variant=cell.variant)
    return [row.beside(sight[row.metric]) if row.metric in sight else row for row in found]


def _asked(model: Model, cell: Setting, run: Run, step: Callable[[], None]) -> Iterator[Asked]:
    """The samples that still have to be answered, with their requests; failures on the way are recorded."""
    ids: set[str] = set()
    for sample in cell.samples:
        if sample.id in ids:
            raise BadData(f"{cell.name} has two samples called {sample.id!r}; expected ids of their own")
        ids.add(sample.id)
        cell.seen[sample.id] = sample.outline
        try:
            asked = prepared(cell, sample, model.fits)
        except BadImage as error:
            run.append(Record(cell.name, cell.shots, sample.id, prompt="", error=str(error), variant=cell.variant))
            step()
            continue
        if run.finished(cell.name, cell.shots, sample.id, asked.prompt, variant=cell.variant):
            step()
        elif asked.error is not None:
            run.append(_record(cell, asked))
            step()
        else:
            yield asked


def prepared(cell: Setting, sample: Sample, fits: Callable[[Request], bool] = lambda request: True) -> Asked:
    """The first requests of a sample, with as many whole demonstrations as fit into the model's context."""
    asked = Asked(sample, demonstrations(cell, sample), [], "")
    asked.requests = _fitting(cell, asked, fits)
    if not asked.requests:
        raise PlugInError(f"{cell.name} asks nothing about sample {sample.id}; expected requests() to give some")
    asked.prompt = digest(asked.requests)
    return asked


def _fitting(cell: Setting, asked: Asked, fits: Callable[[Request], bool]) -> list[Request]:
    """The next requests of a sample, whose first demonstrations are left out until all fit into the model's context."""
    while True:
        requests = cell.requests(asked.sample, asked.shots, _answers(asked))
        if all(fits(request) for request in requests):
            return requests
        if not asked.shots:
            asked.error = "the prompt is longer than the model's context, even without demonstrations"
            return requests
        asked.shots = asked.shots[1:]


def _answered(model: Model, cell: Setting, window: list[Asked]) -> Iterator[Asked]:
    """Each sample of a window as soon as the outputs of all its stages are there, or one of them failed.

    What several ask alike is asked once, so that candidates which look alike (blank ones) tie exactly.
    """
    while window:
        alike: dict[Request, list[tuple[Asked, int]]] = {}
        for asked in window:
            for place in range(len(asked.outputs), len(asked.requests)):
                alike.setdefault(asked.requests[place], []).append((asked, place))
                asked.outputs.append(None)
        places = list(alike.values())
        later: list[Asked] = []
        left = len(places)
        for index, found in through("model", model.answers(list(alike))):
            left -= 1
            output = _usable(found, model)
            for asked, place in places[index]:
                asked.outputs[place] = output
                if isinstance(output, Failure) and asked.error is None:
                    asked.error = output.reason
                if any(output is None for output in asked.outputs):
                    continue
                follow = [] if asked.error else _fitting(cell, asked, model.fits)
                asked.requests += follow
                if follow and not asked.error:
                    later.append(asked)
                else:
                    yield asked
        if left:
            raise RuntimeError(f"model {model.name} left {left} of {len(places)} requests unanswered")
        window = later


def _usable(output: Output | Failure, model: Model) -> Output | Failure:
    if isinstance(output, Likelihoods) and any(map(isnan, output.logprobs)):
        return Failure(f"{model.name} gave a log-probability that is not a number; try another precision")
    return output


def _answers(asked: Asked) -> tuple[Output, ...]:
    return tuple(output for output in asked.outputs if output is not None and not isinstance(output, Failure))


def _record(cell: Setting, asked: Asked) -> Record:
    outputs = _answers(asked)
    of = f"{cell.name}, sample {asked.sample.id}"
    score = None if asked.error is not None else validate_score(cell.task.score(asked.sample, outputs), of=of)
    return Record(
        cell.name,
        cell.shots,
        asked.sample.id,
        prompt=asked.prompt,
        shown=len(asked.shots),
        outputs=outputs,
        score=score,
        error=asked.error,
        variant=cell.variant,
    )


def digest(requests: Sequence[Request]) -> str:
    """16 hex digits over all that is asked: text, content of the images, decoding."""
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
