"""What a run asks: every task at every number of shots, in the usual way and in others that are asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from kosmos_eval.errors import BadData, BadImage, KosmosEvalError, PlugInError, UnknownName
from kosmos_eval.evaluation.ablation import Images, blanked, exchanged, other, stripped
from kosmos_eval.evaluation.run_folder import Record, Run
from kosmos_eval.evaluation.variant import joined, parted
from kosmos_eval.fewshot.selection import Choice, RandomShots, Shots
from kosmos_eval.request import Output, Request
from kosmos_eval.sample import Sample, subset
from kosmos_eval.task import Task


@dataclass(frozen=True)
class Variants:
    """In which ways tasks are asked; by default in the usual one alone.

    Args:
        images: what stands in the places of a prompt's images (`kosmos_eval.evaluation.ablation`).
        with_blind: whether every task with images is also asked with blank ones.
        prompts: names of wordings for tasks that have several, or ``all``; none for the task's own choice.
        seeds: how many times demonstrations are drawn, with the run's seed and those after it; where none are, a task
            is asked once.
    """

    images: Images = "real"
    with_blind: bool = False
    prompts: tuple[str, ...] = ()
    seeds: int = 1

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Variants":
        """The ways that the options of a ``run.json`` name."""
        given = options.get("ways", {})
        return cls(**given | {"prompts": tuple(given.get("prompts", ()))})

    def __post_init__(self) -> None:
        if self.with_blind and self.images != "real":
            raise KosmosEvalError(f"--with-blind asks with the real images too; leave out --images {self.images}")


@dataclass
class Setting:
    """A task at a number of shots, with the samples to evaluate: what gives one set of rows in the report.

    Samples are made when they are looked at, and may be costly; their outlines are kept from the first pass.
    ``variant`` says how they are asked otherwise than usual, such as ``images=blank``; a cell is told from others by
    task, shots and variant. ``split`` is all samples of the task, whose images are exchanged where ``images`` says so.
    """

    name: str
    task: Task
    shots: int
    seed: int
    samples: Sequence[Sample]
    pool: Sequence[Sample]
    leave_one_out: bool
    seen: dict[str, Sample] = field(default_factory=dict)
    variant: str = ""
    choice: Choice = field(default_factory=RandomShots)
    images: Images = "real"
    split: Sequence[Sample] = ()
    own_shots: bool = False

    def outlines(self) -> list[Sample]:
        """Every sample without its prompt, in order."""
        if len(self.seen) < len(self.samples):
            self.seen = {sample.id: sample.outline for sample in self.samples}
        return list(self.seen.values())

    @property
    def label(self) -> str:
        """How progress and errors name the cell."""
        return ", ".join(filter(None, (self.name, f"{self.shots} shots", self.variant)))

    @property
    def sighted(self) -> "Setting | None":
        """The same samples asked in the same way with the real pictures; None for a cell that shows them itself."""
        if self.images == "real":
            return None
        return replace(self, images="real", variant=joined(**parted(self.variant) | {"images": None}))

    def record(self, run: Run, id: str) -> Record | None:
        """What a run knows of one of the samples; None while it was not asked."""
        return run.record(self.name, self.shots, id, variant=self.variant)

    def requests(self, sample: Sample, shots: Sequence[Sample], outputs: Sequence[Output] = ()) -> list[Request]:
        """What is asked about a sample after demonstrations, with the images that the cell shows.

        Args:
            sample: one of the samples.
            shots: the demonstrations.
            outputs: those that have come, where the next stage is asked for.
        """
        requests = self._own(sample, shots, outputs)
        if self.images == "shuffled" and requests:
            another = other(sample, self.split, seed=self.seed, task=self.name)
            return exchanged(requests, self._own(sample, (), outputs), self._own(another, (), outputs))
        if self.images in ("blank", "none"):
            return blanked(requests) if self.images == "blank" else stripped(requests)
        return requests

    def _own(self, sample: Sample, shots: Sequence[Sample], outputs: Sequence[Output]) -> list[Request]:
        task = self.task
        requests = task.follow_up(sample, shots, outputs) if outputs else task.requests(sample, shots)
        return [replace(request, prompt=request.prompt.within(task.readable)) for request in requests]


def cells(
    tasks: Mapping[str, Task],
    *,
    shots: Sequence[int] | Shots,
    limit: int | None,
    seed: int,
    ways: Variants | None = None,
) -> list[Setting]:
    """Every task at every number of shots in every way; all data is opened and checked here, before anything is asked.

    Raises:
        KosmosEvalError: if the data cannot be read, there are too few demonstrations, or a task cannot be asked so.
    """
    plan, asked = Shots.of(shots), ways or Variants()
    made: list[Setting] = []
    for name, given in tasks.items():
        for wording, task in _worded(name, given, asked.prompts):
            usual = _usual(name, task, plan, limit=limit, seed=seed)
            made += [replace(cell, seen={}) for cell in _varied(usual, wording, asked)]
    return sorted(made, key=_order(list(tasks), plan))


def demonstrations(cell: Setting, sample: Sample) -> list[Sample]:
    """What is shown before a sample.

    Raises:
        KosmosEvalError: if there is not enough to show.
    """
    if (chosen := cell.task.choose_shots(sample, cell.shots)) is not None:
        return list(chosen)
    return cell.choice.draw(sample, cell.pool, cell.shots, seed=cell.seed, task=cell.name)


def _usual(name: str, task: Task, plan: Shots, *, limit: int | None, seed: int) -> list[Setting]:
    """A task at every number of shots in the usual way."""
    most = max(plan.counts, default=0)
    every = _samples(name, task)
    own = most > 0 and _chooses_shots(task, every[0], most)
    pool = task.examples() if most and not own else ()
    alone = bool(pool) and len(pool) == len(every) and pool[0].id == every[0].id
    if not own and most > len(pool) - alone:
        raise KosmosEvalError(
            f"{name}: {most} shots are asked for, but there are only {max(len(pool) - alone, 0)} demonstrations; "
            f"lower --shots or give more data"
        )
    samples = subset(every, limit, seed=seed, task=name)
    made = [
        Setting(
            name, task, count, seed, samples, pool, alone and count > 0, choice=plan.choice, split=every, own_shots=own
        )
        for count in plan.counts
    ]
    if made and samples:
        if most:
            plan.choice.prepare(samples, pool, task=name)
        with suppress(BadImage):  # it fails its own sample when that is asked
            demonstrations(max(made, key=lambda cell: cell.shots), samples[0])
    return made


def _chooses_shots(task: Task, sample: Sample, count: int) -> bool:
    """Return whether demonstrations belong to the samples themselves."""
    try:
        return task.choose_shots(sample, count) is not None
    except BadImage:  # it fails its own sample when that is asked
        return True


def _samples(name: str, task: Task) -> Sequence[Sample]:
    """Every sample of a task that has all that a task needs."""
    if not isinstance(task, Task):
        raise PlugInError(f"task {name!r} is a {type(task).__name__}; expected a subclass of kosmos_eval.Task")
    given = task.samples()
    every = given if isinstance(given, Sequence) else list(given)
    if not every:
        raise BadData(f"{name} has no samples; is its split empty?")
    return every


def _worded(name: str, task: Task, prompts: Sequence[str]) -> list[tuple[str | None, Task]]:
    """A task in each wording that is asked for; the one that it has chosen itself is the usual one, without a name."""
    if not prompts or not task.prompt_variants:
        return [(None, task)]
    made: Any = task
    chosen = list(made.prompt_variants) if "all" in prompts else list(dict.fromkeys(prompts))
    for prompt in chosen:
        if prompt not in made.prompt_variants:
            raise UnknownName(f"prompt of {name}", prompt, made.prompt_variants)
    return [(None if prompt == made.prompt else prompt, replace(made, prompt=prompt)) for prompt in chosen]


def _varied(usual: Sequence[Setting], wording: str | None, ways: Variants) -> Iterator[Setting]:
    """The cells of one wording in every way: draws of demonstrations, and beside each the same without sight."""
    if ways.images != "real" and not all(map(_sighted, usual[:1])):
        raise KosmosEvalError(f"{usual[0].name} shows no images; evaluate it without --images {ways.images}")
    shown: tuple[Images, ...] = (ways.images,)
    if ways.with_blind and all(map(_sighted, usual[:1])):
        shown = ("real", "blank")
    for cell in usual:
        draws = ways.seeds if cell.shots and cell.choice.seeded and not cell.own_shots else 1
        for seed in range(cell.seed, cell.seed + draws):
            for images in shown:
                variant = joined(
                    images=None if images == "real" else images,
                    prompt=wording,
                    seed=None if seed == cell.seed else seed,
                )
                yield replace(cell, seed=seed, images=images, variant=variant)


def _sighted(cell: Setting) -> bool:
    """Whether the task shows images, by its first sample; one without samples may."""
    try:
        asked = [cell.task.requests(sample, ()) for sample in cell.samples[:1]]
        return not asked or any(request.prompt.images for request in asked[0])
    except BadImage:
        return True


def _order(names: Sequence[str], plan: Shots) -> Callable[[Setting], tuple[int, int]]:
    """By task, then by number of shots, as they were asked for."""
    return lambda cell: (names.index(cell.name), plan.counts.index(cell.shots))
