"""The choice of the demonstrations that a sample gets.

They depend on the seed, the task and the sample alone: no limit, order, shard or number of machines changes a prompt.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from kosmos_eval.errors import BadImage, KosmosEvalError
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.sample import Sample

Progress = Callable[[str, int, int], None]
"""Called with a label, how much is done and how much there is."""


def silent(label: str, done: int, total: int) -> None:
    """A progress callback that does nothing."""


def few_shot(sample: Sample, shots: Sequence[Sample], *, separator: str = "\n") -> Prompt:
    """The demonstrations with their answers, then the question.

    >>> few_shot(Sample("b", Prompt("2+2=")), [Sample("a", Prompt("1+1="), "2")], separator=" ; ").text()
    '1+1= 2 ; 2+2='
    """
    return Prompt.join([*(shot.shown for shot in shots), sample.prompt], separator=separator)


def random_shots(sample: Sample, pool: Sequence[Sample], count: int, *, seed: int, task: str) -> list[Sample]:
    """Draw demonstrations without replacement from ``Random(f"{seed}/{task}/{sample.id}")``.

    Never drawn: the sample itself, one of its group or with one of its images, and demonstrations whose image does
    not decode (they would fail samples that are themselves sound). A smaller count gives a prefix of a larger one.

    Raises:
        KosmosEvalError: if the pool holds fewer than ``count`` that may be shown.
    """
    return _drawn(Random(f"{seed}/{task}/{sample.id}"), sample, pool, count, task=task)


class Choice(Protocol):
    """A way to choose demonstrations from a pool."""

    @property
    def name(self) -> str:
        """As ``--shots-from`` takes it."""
        ...

    @property
    def fingerprint(self) -> str:
        """A digest of what decides the choice beside the name and the data; empty where nothing does."""
        ...

    @property
    def seeded(self) -> bool:
        """True where another seed chooses others."""
        ...

    def prepare(self, samples: Sequence[Sample], pool: Sequence[Sample], *, task: str) -> None:
        """Look at all that is going to be asked and may be shown, before the first is drawn.

        Raises:
            KosmosEvalError: if nothing can be chosen for this task.
        """
        ...

    def draw(self, sample: Sample, pool: Sequence[Sample], count: int, *, seed: int, task: str) -> list[Sample]:
        """The demonstrations of a sample, in the order in which they are shown.

        Raises:
            KosmosEvalError: if the pool holds fewer than ``count`` that may be shown.
        """
        ...

    def note(self, samples: Sequence[Sample], pool: Sequence[Sample], count: int, *, seed: int, task: str) -> str:
        """Return the note of a report about the choice for these samples (outlines); empty for the default choice."""
        ...


@dataclass(frozen=True)
class RandomShots:
    """Every sample has demonstrations of its own, as `random_shots` draws them."""

    name: str = "random"
    fingerprint: str = ""
    seeded: bool = True

    def prepare(self, samples: Sequence[Sample], pool: Sequence[Sample], *, task: str) -> None:
        """Nothing to look at: every pool will do."""

    def draw(self, sample: Sample, pool: Sequence[Sample], count: int, *, seed: int, task: str) -> list[Sample]:
        """Drawn without replacement."""
        return random_shots(sample, pool, count, seed=seed, task=task)

    def note(self, samples: Sequence[Sample], pool: Sequence[Sample], count: int, *, seed: int, task: str) -> str:
        """Nothing: this is the usual way (KOSMOS-1 section 4.1)."""
        return ""


@dataclass(frozen=True)
class FixedShots:
    """The same demonstrations for every sample, from ``Random(f"{seed}/{task}")``.

    Only a sample that may not see one of them (`random_shots` says when) is shown the next in its place.
    """

    name: str = "fixed"
    fingerprint: str = ""
    seeded: bool = True

    def prepare(self, samples: Sequence[Sample], pool: Sequence[Sample], *, task: str) -> None:
        """Refuse a task without a pool."""
        if not pool:
            raise chooses_itself(task, self.name)

    def draw(self, sample: Sample, pool: Sequence[Sample], count: int, *, seed: int, task: str) -> list[Sample]:
        """Drawn without replacement."""
        return _drawn(Random(f"{seed}/{task}"), sample, pool, count, task=task)

    def note(self, samples: Sequence[Sample], pool: Sequence[Sample], count: int, *, seed: int, task: str) -> str:
        """That they are fixed, and how many samples are exceptions, by id and group."""
        shown = self.draw(Sample("", Prompt()), pool, count, seed=seed, task=task)
        others = sum(any(related(sample, shot) for shot in shown) for sample in samples)
        return "fixed shots" + (f" ({others} samples, which are among them, see others)" if others else "")


@dataclass(frozen=True)
class Shots:
    """The numbers of demonstrations, and how they are chosen.

    Args:
        counts: numbers of demonstrations; each gives rows of its own.
        choice: how they are chosen.
    """

    counts: tuple[int, ...] = (0,)
    choice: Choice = RandomShots()

    @classmethod
    def of(cls, given: "Sequence[int] | Shots") -> "Shots":
        """Bare numbers are of random demonstrations."""
        return given if isinstance(given, Shots) else cls(tuple(given))


def related(sample: Sample, shot: Sample) -> bool:
    """Return True if two samples are the same, or of the same group or image: one may not demonstrate the other."""
    if shot.id == sample.id or (sample.group and shot.group == sample.group):
        return True
    return not set(sample.prompt.images).isdisjoint(shot.prompt.images)


def chooses_itself(task: str, choice: str) -> KosmosEvalError:
    """The error of a task whose demonstrations belong to the sample, so that there is no pool to choose from."""
    return KosmosEvalError(f"{task} chooses its own demonstrations; evaluate it without --shots-from {choice}")


def too_few(sample: Sample, pool: Sequence[Sample], count: int, found: int, *, task: str) -> KosmosEvalError:
    """The error of a pool that has not enough for a sample."""
    return KosmosEvalError(
        f"{task}: {count} shots are asked for sample {sample.id}, but of its {len(pool)} demonstrations only "
        f"{found} may be shown; lower --shots"
    )


def readable(image: Image) -> bool:
    """Return True if the image decodes, tried at a small size where the format allows it."""
    try:
        return _readable_content(image)
    except BadImage:
        return False


def _drawn(random: Random, sample: Sample, pool: Sequence[Sample], count: int, *, task: str) -> list[Sample]:
    drawn: list[Sample] = []
    tried: set[int] = set()
    while len(drawn) < count:
        if len(tried) == len(pool):
            raise too_few(sample, pool, count, len(drawn), task=task)
        index = random.randrange(len(pool))
        if index in tried:
            continue
        tried.add(index)
        shot = pool[index]
        if not related(sample, shot) and all(readable(image) for image in shot.prompt.images):
            drawn.append(shot)
    return drawn


def _readable_content(image: Image) -> bool:
    digest = image.digest
    if digest not in _READABLE:
        try:
            image.pixels(draft=32)
            _READABLE[digest] = True
        except BadImage:
            _READABLE[digest] = False
    return _READABLE[digest]


_READABLE: dict[str, bool] = {}
