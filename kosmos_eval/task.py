"""The Protocol of a task, what a task may offer beyond it, and the score of one sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from kosmos_eval.errors import PlugInError
from kosmos_eval.metrics.statistics import Metric
from kosmos_eval.request import Output, Request
from kosmos_eval.sample import Sample

O_contra = TypeVar("O_contra", bound=Output, contravariant=True)


@dataclass(frozen=True)
class Score:
    """The marks of one sample.

    Args:
        marks: metric name to mark; a mark of 1 is full credit, 0 none.
        answer: what the model was understood to answer, for reports.
        record: whatever `aggregate` needs beyond that; plain JSON values.
    """

    marks: Mapping[str, float] = field(default_factory=dict)
    answer: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)


def sound(score: Score, *, of: str) -> Score:
    """A score with its marks as plain floats, whatever numbers they are.

    Args:
        score: what a task gave.
        of: the task and the sample, for messages.

    Raises:
        PlugInError: if it is no `Score`, or one of its marks has no place in a mean.
    """
    if not isinstance(score, Score):
        raise PlugInError(f"{of}: score() gave {str(score)[:60]!r}; expected a kosmos_eval.Score")
    for name, mark in score.marks.items():
        if isinstance(mark, str) or not hasattr(mark, "__float__") or not isfinite(mark):
            raise PlugInError(f"{of}: the mark {name!r} is {mark!r}; expected a finite number, 1 for full credit")
    return replace(score, marks={name: float(mark) for name, mark in score.marks.items()})


@dataclass(frozen=True)
class Suite:
    """A named set of tasks, and the numbers of demonstrations that it is run with unless the user says otherwise."""

    name: str
    shots: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class About:
    """What a task says of itself to listings and reports.

    Args:
        metric: the headline metric, the first row of the task's scores.
        splits: source (mini, data, hub) to its splits, the default one first.
        hub: the data set's name on the Hugging Face hub; empty where none could be confirmed.
        get: where the official files come from and how they are laid out under ``--data``.
        extension: the few-shot form is ours, the paper has none.
        suites: the suites that the task is part of, by name where they are zero-shot; ``default`` is what runs when
            no task is named.
    """

    metric: str = ""
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hub: str = ""
    get: str = ""
    extension: bool = False
    suites: tuple[str | Suite, ...] = ()


class Task(Protocol[O_contra]):
    """A benchmark: its samples, how they are asked, how answers are marked."""

    def samples(self) -> Sequence[Sample]:
        """What is evaluated, in a fixed order."""
        ...

    def examples(self) -> Sequence[Sample]:
        """What demonstrations are drawn from. Where it is `samples` itself, they are drawn leave-one-out."""
        ...

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        """What the model is asked about a sample, after the demonstrations."""
        ...

    def score(self, sample: Sample, outputs: Sequence[O_contra]) -> Score:
        """Mark the outputs, which stand in the order of the requests (of all stages, one after the other)."""
        ...


@runtime_checkable
class Staged(Protocol):
    """A task whose later requests depend on earlier answers, such as chain of thought."""

    def follow_up(self, sample: Sample, shots: Sequence[Sample], outputs: Sequence[Any]) -> Sequence[Request]:
        """The next requests given every output so far; empty when the sample is done."""
        ...


@runtime_checkable
class Aggregated(Protocol):
    """A task with metrics of the whole corpus (CIDEr, BLEU, AUC); without it, marks are averaged."""

    def aggregate(self, samples: Sequence[Sample], scores: Sequence[Score], *, seed: int) -> Mapping[str, Metric]:
        """The metrics of the scored samples, headline first.

        Args:
            samples: their outlines (`Sample.outline`: no prompt, no extras).
            scores: in parallel.
            seed: of resampling.
        """
        ...


@runtime_checkable
class PerSample(Protocol):
    """A task whose samples have marks that only the whole corpus decides, such as CIDEr of an image."""

    def per_sample(self, samples: Sequence[Sample], scores: Sequence[Score]) -> Mapping[str, Mapping[str, float]]:
        """Sample id to its marks."""
        ...


@runtime_checkable
class Noted(Protocol):
    """A task with something to say beside its scores: the rule it chose by, the corpus behind a metric."""

    @property
    def notes(self) -> Sequence[str]:
        """Short phrases for the report."""
        ...


@runtime_checkable
class Worded(Protocol):
    """A task that can ask in several wordings: a dataclass with an option ``prompt`` that names the one in use."""

    @property
    def prompt(self) -> str:
        """The name of the wording in use."""
        ...

    @property
    def prompts(self) -> Mapping[str, str]:
        """Name to wording, the usual one first; names have no comma and no equals sign."""
        ...


@runtime_checkable
class Drawn(Protocol):
    """A task that chooses its own demonstrations, because they belong to the sample."""

    def draw(self, sample: Sample, count: int) -> Sequence[Sample]:
        """The demonstrations of a sample, at most ``count`` of what the task counts as one shot."""
        ...


@runtime_checkable
class Marked(Protocol):
    """A task that marks answers made elsewhere."""

    def answers(self, file: Path) -> Mapping[str, str]:
        """Sample id to answer, read from the benchmark's official results format."""
        ...

    def mark(self, sample: Sample, answer: str) -> Score:
        """Mark one answer."""
        ...

    def official(self) -> Self:
        """The task with the corpus rules of the official scoring program."""
        ...


@runtime_checkable
class Submitted(Protocol):
    """A task with splits whose answers are not public and are scored by a server."""

    def submission(self, samples: Sequence[Sample], scores: Sequence[Score]) -> tuple[str, str] | None:
        """File name and content of what the server takes, or None where this split is scored here."""
        ...


def about(task: object) -> About:
    """What a task says of itself; a bare one for a task that says nothing."""
    said = getattr(task, "about", None)
    return said if isinstance(said, About) else About()
