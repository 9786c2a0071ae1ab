"""The plan of a run: every task at every number of shots, in the default variant and in others that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from kosmos_eval.errors import BadData, BadImage, KosmosEvalError, PlugInError, UnknownName
from kosmos_eval.evaluation.ablation import blanked, exchanged, other, stripped
from kosmos_eval.evaluation.variant import Images, SettingKey, Variant, Variants
from kosmos_eval.fewshot.selection import Choice, RandomShots, Shots
from kosmos_eval.request import Output, Request
from kosmos_eval.sample import Sample, Samples, subset
from kosmos_eval.task import Task


@dataclass
class Setting:
    """A task at a number of shots in one variant, with the samples to evaluate; it gives one set of rows in the report.

    Samples are made when they are looked at, and may be costly; their outlines are kept from the first pass.

    Args:
        key: the setting's name.
        task: the task.
        seed: of demonstrations and the bootstrap.
        samples: the samples to evaluate.
        pool: the pool of demonstrations.
        leave_one_out: True where the pool is the evaluated split itself.
        choice: how demonstrations are chosen.
        split: all samples of the task, whose images are exchanged where the variant says so.
        own_shots: True where demonstrations belong to the samples themselves.
        indices: the samples' places in the whole setting, where these are only a part of it.
        seen: outlines by id, as far as samples were looked at.
    """

    key: SettingKey
    task: Task
    seed: int
    samples: Sequence[Sample]
    pool: Sequence[Sample] = ()
    leave_one_out: bool = False
    choice: Choice = field(default_factory=RandomShots)
    split: Sequence[Sample] = ()
    own_shots: bool = False
    indices: Sequence[int] | None = None
    seen: dict[str, Sample] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The task's name."""
        return self.key.task

    @property
    def shots(self) -> int:
        """Demonstrations asked for."""
        return self.key.shots

    @property
    def label(self) -> str:
        """The setting in progress and errors."""
        return str(self.key)

    def outlines(self) -> list[Sample]:
        """Return every sample without its prompt, in order."""
        if len(self.seen) < len(self.samples):
            self.seen = {sample.id: sample.outline for sample in self.samples}
        return list(self.seen.values())

    def with_images(self) -> Setting | None:
        """Return the same setting with the real images; None for one that shows them itself."""
        if self.key.variant.images == "real":
            return None
        return replace(self, key=replace(self.key, variant=replace(self.key.variant, images="real")))

    def subset(self, indices: Sequence[int]) -> Setting:
        """Return the setting with these of its samples, each made when it is asked; outlines are not made again."""
        places = [self.indices[index] for index in indices] if self.indices is not None else indices
        return replace(self, samples=Samples(indices, self.samples.__getitem__), indices=places, seen={})

    def demonstrations(self, sample: Sample) -> list[Sample]:
        """Return the demonstrations of a sample.

        Raises:
            KosmosEvalError: if there are too few.
        """
        if self.own_shots:
            return list(self.task.choose_shots(sample, self.shots) or ())
        return self.choice.draw(sample, self.pool, self.shots, seed=self.seed, task=self.name)

    def requests(self, sample: Sample, shots: Sequence[Sample], outputs: Sequence[Output] = ()) -> list[Request]:
        """Return the requests about a sample after demonstrations, with the images of the setting's variant.

        Args:
            sample: one of the samples.
            shots: the demonstrations.
            outputs: those of earlier turns, where the next turn is asked for.
        """
        requests = self._own(sample, shots, outputs)
        images = self.key.variant.images
        if images == "shuffled" and requests:
            another = other(sample, self.split, seed=self.seed, task=self.name)
            return exchanged(requests, self._own(sample, (), outputs), self._own(another, (), outputs))
        if images in ("blank", "none"):
            return blanked(requests) if images == "blank" else stripped(requests)
        return requests

    def fitting(
        self, sample: Sample, shots: Sequence[Sample], outputs: Sequence[Output], fits: Callable[[Request], bool]
    ) -> tuple[list[Request], Sequence[Sample], bool]:
        """Return the next requests of a sample with as many whole demonstrations as fit into the model's context.

        Returns:
            The requests, the demonstrations that are shown, and whether it fits now.
        """
        while True:
            requests = self.requests(sample, shots, outputs)
            fit = all(map(fits, requests))
            if fit or not shots:
                return requests, shots, fit
            shots = shots[1:]

    def _own(self, sample: Sample, shots: Sequence[Sample], outputs: Sequence[Output]) -> list[Request]:
        task = self.task
        requests = task.follow_up(sample, shots, outputs) if outputs else task.requests(sample, shots)
        return [replace(request, prompt=request.prompt.within(task.readable)) for request in requests]


def plan(
    tasks: Mapping[str, Task],
    *,
    shots: Sequence[int] | Shots = (0,),
    limit: int | None = None,
    seed: int = 0,
    variants: Variants | None = None,
) -> list[Setting]:
    """Return every task at every number of shots in every variant; all data is opened and checked here.

    Raises:
        KosmosEvalError: if the data cannot be read, there are too few demonstrations, or a task has no such variant.
    """
    counts, asked = Shots.of(shots), variants or Variants()
    _known_prompts(tasks, asked.prompts)
    made: list[Setting] = []
    for name, given in tasks.items():
        for prompt, task in _with_prompts(given, asked.prompts):
            default = _default(name, task, counts, limit=limit, seed=seed)
            made += [replace(setting, seen={}) for setting in _varied(default, prompt, asked)]
    return sorted(made, key=_order(list(tasks), counts))


def _default(name: str, task: Task, counts: Shots, *, limit: int | None, seed: int) -> list[Setting]:
    """Return a task at every number of shots in its default variant."""
    most = max(counts.counts, default=0)
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
            SettingKey(name, count),
            task,
            seed,
            samples,
            pool=pool,
            leave_one_out=alone and count > 0,
            choice=counts.choice,
            split=every,
            own_shots=own,
        )
        for count in counts.counts
    ]
    if made and samples:
        if most:
            counts.choice.prepare(samples, pool, task=name)
        with suppress(BadImage):  # it fails its own sample when that is asked
            max(made, key=lambda setting: setting.shots).demonstrations(samples[0])
    return made


def _chooses_shots(task: Task, sample: Sample, count: int) -> bool:
    """Return whether demonstrations belong to the samples themselves."""
    try:
        return task.choose_shots(sample, count) is not None
    except BadImage:  # it fails its own sample when that is asked
        return True


def _samples(name: str, task: Task) -> Sequence[Sample]:
    """Return every sample of a task that is one."""
    if not isinstance(task, Task):
        raise PlugInError(f"task {name!r} is a {type(task).__name__}; expected `class ...(kosmos_eval.Task)`")
    given = task.samples()
    every = given if isinstance(given, Sequence) else list(given)
    if not every:
        raise BadData(f"{name} has no samples; is its split empty?")
    return every


def _known_prompts(tasks: Mapping[str, Task], prompts: Sequence[str]) -> None:
    """Make sure that every task with prompt variants has those that are named."""
    for name, task in tasks.items():
        variants = getattr(task, "prompt_variants", {})
        for prompt in prompts if variants else ():
            if prompt != "all" and prompt not in variants:
                raise UnknownName(f"prompt of {name}", prompt, variants)


def _with_prompts(task: Task, prompts: Sequence[str]) -> list[tuple[str | None, Task]]:
    """Return a task with each prompt that is asked for; the one that it has chosen itself has no name."""
    if not prompts or not task.prompt_variants:
        return [(None, task)]
    chosen = list(task.prompt_variants) if "all" in prompts else list(dict.fromkeys(prompts))
    made: Any = task
    return [(None if prompt == made.prompt else prompt, replace(made, prompt=prompt)) for prompt in chosen]


def _varied(default: Sequence[Setting], prompt: str | None, variants: Variants) -> Iterator[Setting]:
    """Return the settings of one prompt: draws of demonstrations, and beside each the same with other images."""
    if variants.images != "real" and not all(map(_shows_images, default[:1])):
        raise KosmosEvalError(f"{default[0].name} shows no images; evaluate it without --images {variants.images}")
    shown: tuple[Images, ...] = (variants.images,)
    if variants.with_blind and all(map(_shows_images, default[:1])):
        shown = ("real", "blank")
    for setting in default:
        draws = variants.seeds if setting.shots and setting.choice.seeded and not setting.own_shots else 1
        for seed in range(setting.seed, setting.seed + draws):
            for images in shown:
                variant = Variant(images=images, prompt=prompt, seed=None if seed == setting.seed else seed)
                yield replace(setting, seed=seed, key=replace(setting.key, variant=variant))


def _shows_images(setting: Setting) -> bool:
    """Return whether the task shows images, by its first sample; one without samples may."""
    try:
        asked = [setting.task.requests(sample, ()) for sample in setting.samples[:1]]
        return not asked or any(request.prompt.images for request in asked[0])
    except BadImage:
        return True


def _order(names: Sequence[str], counts: Shots) -> Callable[[Setting], tuple[int, int]]:
    """Return the sort key: by task, then by number of shots, as they were asked for."""
    return lambda setting: (names.index(setting.name), counts.counts.index(setting.shots))
