"""A benchmark: four methods to write, and defaults for the rest; its description, and the score of one sample."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar, Self

from kosmos_eval.errors import KosmosEvalError, PlugInError
from kosmos_eval.files import Json
from kosmos_eval.metrics import statistics
from kosmos_eval.metrics.statistics import Metric
from kosmos_eval.request import Completion, Request
from kosmos_eval.sample import Sample
from kosmos_eval.source import Source

Outputs = Sequence[Any]
"""A model's outputs for the requests of a sample: `Completion` or `Likelihoods`, as the task knows."""


@dataclass(frozen=True)
class Score:
    """The score of one sample.

    Args:
        values: metric name to value; 1 is full credit, 0 none.
        answer: what the model was understood to answer, for reports.
        record: whatever `Task.aggregate` needs beyond that; plain JSON values.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    answer: str = ""
    record: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """A named set of tasks, and the numbers of demonstrations that it is run with unless the user says otherwise."""

    name: str
    shots: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class TaskInfo:
    """The description of a task for listings and reports.

    Args:
        metric: the headline metric, the first row of the task's scores.
        splits: source (synthetic, data, hub) to its splits, the default one first.
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


class Task(ABC):
    """A benchmark. Subclass it as a frozen dataclass whose fields are the task's options.

    ``prompt_variants`` maps names to prompts where a task can ask in several, the default one first; such a task has an
    option ``prompt`` that names the one in use. Names have no comma and no equals sign.
    """

    info: ClassVar[TaskInfo] = TaskInfo()
    prompt_variants: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def samples(self) -> Sequence[Sample]:
        """Return the samples to evaluate, in a fixed order."""

    @abstractmethod
    def examples(self) -> Sequence[Sample]:
        """Return the pool of demonstrations; where it equals `samples`, a sample never demonstrates itself."""

    @abstractmethod
    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        """Return the requests about a sample, after its demonstrations."""

    @abstractmethod
    def score(self, sample: Sample, outputs: Outputs) -> Score:
        """Score the outputs, which stand in the order of the requests (of all turns, one after the other)."""

    # Override the rest where a benchmark needs it.

    def follow_up(self, sample: Sample, shots: Sequence[Sample], outputs: Outputs) -> Sequence[Request]:
        """Return the requests of the next turn, given all outputs so far; empty when the sample is done."""
        return ()

    def aggregate(self, samples: Sequence[Sample], scores: Sequence[Score], *, seed: int) -> Mapping[str, Metric]:
        """Return the metrics of the scored samples, headline first; by default the mean of every value.

        Args:
            samples: their outlines (`Sample.outline`: no prompt, no extras).
            scores: in parallel.
            seed: of the bootstrap.
        """
        return means(samples, scores, seed=seed)

    def sample_metrics(self, samples: Sequence[Sample], scores: Sequence[Score]) -> Mapping[str, Mapping[str, float]]:
        """Return values by sample id that only the whole corpus decides, such as CIDEr of an image."""
        return {}

    def choose_shots(self, sample: Sample, count: int) -> Sequence[Sample] | None:
        """Return demonstrations that belong to the sample; None to draw them from `examples`."""
        return None

    @property
    def readable(self) -> tuple[str, ...]:
        """The folders that image files of prompts must lie in (`Source.readable`); empty for anywhere."""
        source = getattr(self, "source", None)
        return source.readable if isinstance(source, Source) else ()

    @property
    def notes(self) -> Sequence[str]:
        """Short phrases that a report shows beside the scores."""
        return ()

    def read_answers(self, file: Path) -> Mapping[str, str]:
        """Read answers by sample id from the benchmark's official results format.

        Raises:
            KosmosEvalError: if the task has no such format, or the file is not in it.
        """
        raise KosmosEvalError(f"{type(self).__name__} reads no answer files; `kosmos-eval run` evaluates it")

    def score_answer(self, sample: Sample, answer: str) -> Score:
        """Score an external answer; by default as if the model had generated it."""
        return self.score(sample, [Completion(answer)])

    def official(self) -> Self:
        """Return the task with the corpus rules of the official scoring program, for external answers."""
        return self

    def submission(self, samples: Sequence[Sample], scores: Sequence[Score]) -> tuple[str, str] | None:
        """Return file name and content for the benchmark's server, where a split's answers are not public."""
        return None

    def options(self) -> Json:
        """Return the task's options as plain JSON values."""
        if not is_dataclass(self):
            return {}
        values: Json = json.loads(json.dumps(asdict(self), default=str))
        return values


def info(task: object) -> TaskInfo:
    """Return what a task, or the factory of one, says of itself; an empty one for a factory that says nothing."""
    found = getattr(task, "info", None)
    return found if isinstance(found, TaskInfo) else TaskInfo()


def validate_score(score: Score, *, of: str) -> Score:
    """Return a score with plain floats as its values.

    Args:
        score: what a task gave.
        of: the task and the sample, for messages.

    Raises:
        PlugInError: if it is no `Score`, or one of its values is not a finite number.
    """
    if not isinstance(score, Score):
        raise PlugInError(f"{of}: score() gave {str(score)[:60]!r}; expected a kosmos_eval.Score")
    for name, value in score.values.items():
        if isinstance(value, str) or not hasattr(value, "__float__") or not isfinite(value):
            raise PlugInError(f"{of}: the value {name!r} is {value!r}; expected a finite number, 1 for full credit")
    return replace(score, values={name: float(value) for name, value in score.values.items()})


def means(
    samples: Sequence[Sample], scores: Sequence[Score], *, seed: int = 0, chance: float | None = None
) -> dict[str, Metric]:
    """Return the mean of every value, and of the first one by kind where the samples are of several kinds.

    Intervals are clustered by the samples' group. Where every sample has choices, the chance level of the first value
    is the mean of 1 / number of choices, unless ``chance`` names another.

    Raises:
        PlugInError: if not all samples have the same values.
    """
    if not scores:
        return {}
    if chance is None and all(sample.choices for sample in samples):
        chance = sum(1 / len(sample.choices) for sample in samples) / len(samples)
    names = list(scores[0].values)
    pairs = list(zip(samples, scores, strict=True))
    for sample, score in pairs:
        if score.values.keys() != scores[0].values.keys():
            other = f"sample {sample.id} has {sorted(score.values)}, sample {samples[0].id} {sorted(names)}"
            raise PlugInError(f"values differ: {other}; give every sample the same, or the task an aggregate()")
    found = {name: _mean(pairs, name, seed=seed, chance=chance if name == names[0] else None) for name in names}
    kinds = sorted({sample.kind for sample in samples})
    if names and len(kinds) > 1:
        for kind in kinds:
            of_kind = [(sample, score) for sample, score in pairs if sample.kind == kind]
            found[f"{names[0]}[{kind}]"] = _mean(of_kind, names[0], seed=seed, chance=chance)
    return found


def _mean(pairs: Sequence[tuple[Sample, Score]], name: str, *, seed: int, chance: float | None) -> Metric:
    values = [score.values[name] for _, score in pairs]
    groups = [sample.group or sample.id for sample, _ in pairs]
    metric = statistics.mean(values, groups=groups, seed=seed, chance=chance)
    return metric if all(0 <= value <= 1 for value in values) else replace(metric, unit="")
