"""A benchmark of texts as a task: its choices compete by likelihood, in one or several readings.

The paper gives neither prompts nor rules of its language tasks. Each has two readings, named by its option ``prompt``.
The usual one, ``lm-eval``, is the task of lm-evaluation-harness 0.4.13. ``gpt3`` is that of GPT-3 (its section 2.4 and
the figures of its appendix G), plausibly also that of METALM and of this paper: choices compete by the mean over their
tokens; none of the eight is among the tasks where GPT-3 divides by the probability without the prompt. GPT-3 has one or
two line breaks between demonstrations, depending on the task; here they are two.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from kosmos_eval.errors import KosmosEvalError, UnknownName
from kosmos_eval.fewshot.selection import few_shot
from kosmos_eval.metrics.choice import Rule
from kosmos_eval.registry import register
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.sample import Sample, Samples
from kosmos_eval.source import Source, from_hub, table
from kosmos_eval.task import Score, Suite, Task, TaskInfo
from kosmos_tasks.families.multiple_choice import MARKS, PARAGRAPH, asked, asked_in_context, ranked, ranked_in_context
from kosmos_tasks.families.suites import KOSMOS1, LANGUAGE, SYNTHETIC
from kosmos_tasks.formats.records import Row, some

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, eq=False)
class TextRows:
    """Where the rows of a benchmark come from; in all three sources they have the same columns, and ``id``.

    Args:
        task: the name of the task.
        get: where its files are to be had, and where they lie under ``--data``.
        folders: where its files lie under ``--data``, the first that is there; else the root itself.
        files: split to the patterns of its official file, default split first. The first pattern that something
            matches counts, and of several files the largest.
        read: the rows of an official file, in its order.
        synthetic: the generated rows of ``test`` or ``train``.
        hub: the data set's name on the hub, and its configuration.
        hub_splits: the hub's splits with labels, default split first.
        examples: splits that demonstrations come from, the first that is there; else they are the evaluated one's own.
        first: splits that are only the beginning of their official file, and of how many rows.
    """

    task: str
    get: str
    folders: tuple[str, ...]
    files: Mapping[str, tuple[str, ...]]
    read: Callable[[Path], Iterable[Row]]
    synthetic: Callable[[str], Iterable[Row]]
    hub: tuple[str, str | None] = ("", None)
    hub_splits: tuple[str, ...] = ()
    examples: tuple[str, ...] = ("train",)
    first: Mapping[str, int] = field(default_factory=dict)

    @property
    def splits(self) -> Mapping[str, tuple[str, ...]]:
        """Source to its splits."""
        known = {"synthetic": ("test", "train"), "data": tuple(self.files), "hub": self.hub_splits}
        return {source: splits for source, splits in known.items() if splits}

    def split(self, source: Source) -> str:
        """The split that is evaluated."""
        return source.chosen(self._known(source), task=self.task, folders=self.folders)

    def info(
        self, metric: str, *, suites: tuple[str | Suite, ...] = (KOSMOS1, LANGUAGE, SYNTHETIC), extension: bool = False
    ) -> TaskInfo:
        """What a task of these rows says of itself; by default one of the paper's language tasks."""
        return TaskInfo(metric, self.splits, self.hub[0], self.get, extension, suites)

    def evaluated(self, source: Source) -> "Dataset":
        """The rows of the split that is evaluated."""
        return rows(self, source, self.split(source))

    def shown(self, source: Source) -> "Dataset":
        """The rows that demonstrations are drawn from."""
        known = self._known(source)
        return rows(self, source, next((split for split in self.examples if split in known), self.split(source)))

    def file(self, source: Source, split: str) -> Path | None:
        """The official file of a split, where it is there."""
        folder = source.folder(*self.folders)
        places = (folder, folder / folder.name)
        matches = (list(place.glob(pattern)) for place in places for pattern in self.files[split])
        return max(next(filter(None, matches), []), key=lambda file: file.stat().st_size, default=None)

    def _known(self, source: Source) -> Sequence[str]:
        if source.kind != "data":
            return self.splits.get(source.kind, ())
        return [split for split in self.files if self.file(source, split)]


@lru_cache(maxsize=32)
def rows(benchmark: TextRows, source: Source, split: str) -> "Dataset":
    """The rows of a split, each with an ``id``: the split and its place in it."""
    if source.kind == "hub":
        name, config = benchmark.hub
        found = from_hub(name, source=source, split=split, config=config)
    else:
        file = benchmark.file(source, split) if source.kind == "data" else None
        given = benchmark.synthetic(split) if file is None else islice(benchmark.read(file), benchmark.first.get(split))
        found = table(some(given, named_by=file or benchmark.task))
    return found.add_column("id", [f"{split}/{place}" for place in range(len(found))])


@dataclass(frozen=True)
class Reading:
    """A way to ask for choices and to mark them.

    Args:
        wording: the question, with what is filled in between braces.
        answers: the choices, where they are the same for every sample.
        gap: what stands between question and choice beside one space.
        rule: how likelihoods are compared for the headline, unless the user says otherwise; None where the same text is
            compared after each choice (partial evaluation), to which no rule of length applies.
        also: rules that further marks are by.
        separator: what stands between demonstrations.
        notes: what a report says beside the rule.
    """

    wording: str
    answers: tuple[str, ...] = ()
    gap: str = ""
    rule: Rule | None = "sum"
    also: tuple[Rule, ...] = ()
    separator: str = PARAGRAPH
    notes: tuple[str, ...] = ()


def ranking(
    rows: TextRows,
    says: str,
    *,
    sample: Callable[[Row, Reading], Sample],
    readings: Mapping[str, Reading],
    mark: str = "",
    suites: tuple[str | Suite, ...] = (KOSMOS1, LANGUAGE, SYNTHETIC),
    extension: bool = False,
) -> Callable[..., Task]:
    """The type of a task whose samples ask for the likeliest of their choices, registered by the name of its rows.

    Args:
        rows: where its samples come from.
        says: what it is, in a sentence.
        sample: a row as a sample, in a reading.
        readings: how it is asked and marked, by name, the usual reading first.
        mark: what the mark of the rule is called; empty for its own name (`choices.MARKS`).
        suites: the suites that it is part of.
        extension: the paper is zero-shot here.
    """
    usual = next(iter(readings))

    @register(rows.task)
    @dataclass(frozen=True)
    class Ranking(Task):
        source: Source = field(default_factory=Source)
        rule: Literal["usual", Rule] = "usual"
        prompt: str = usual

        info: ClassVar[TaskInfo] = rows.info(
            mark or MARKS[readings[usual].rule or "sum"], suites=suites, extension=extension
        )
        prompt_variants: ClassVar[Mapping[str, str]] = {name: reading.wording for name, reading in readings.items()}

        def __post_init__(self) -> None:
            _check(rows.task, self.prompt, readings, self.rule)

        @property
        def split(self) -> str:
            """The split that is evaluated."""
            return rows.split(self.source)

        @property
        def notes(self) -> Sequence[str]:
            """The rule of the headline, and the reading unless it is the usual one."""
            return [*_notes(self._reading), *([] if self.prompt == usual else [f"prompt {self.prompt}"])]

        def samples(self) -> Sequence[Sample]:
            """What is evaluated."""
            return Samples(rows.evaluated(self.source), lambda row: sample(row, self._reading))

        def examples(self) -> Sequence[Sample]:
            """What demonstrations are drawn from."""
            return Samples(rows.shown(self.source), lambda row: sample(row, self._reading))

        def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[LogLikelihood]:
            """The choices; in partial evaluation, the same text after each."""
            return _requests(sample, shots, self._reading)

        def score(self, sample: Sample, outputs: Sequence[Likelihoods]) -> Score:
            """Whether the right choice is the likeliest, by the rule and by others; of m that tie, each earns 1/m."""
            return _score(sample, outputs, self._reading, mark)

        @property
        def _reading(self) -> Reading:
            """The reading, with the user's rule."""
            reading = readings[self.prompt]
            return reading if self.rule == "usual" else replace(reading, rule=self.rule)

    Ranking.__doc__ = f"""{says}

    Args:
        source: where the texts come from.
        rule: how likelihoods are compared for the headline, unless as usual in its reading.
        prompt: the reading, one of {", ".join(readings)}.
    """
    return Ranking


def _check(task: str, prompt: str, readings: Mapping[str, Reading], rule: str) -> None:
    if prompt not in readings:
        raise UnknownName(f"prompt of {task}", prompt, readings)
    if rule != "usual" and readings[prompt].rule is None:
        raise KosmosEvalError(f"{task} compares the same text after each choice, where no rule applies; leave it out")


def _notes(reading: Reading) -> Sequence[str]:
    rule = "by partial evaluation" if reading.rule is None else f"by {reading.rule} of log-probabilities"
    return [rule, *reading.notes]


def _requests(sample: Sample, shots: Sequence[Sample], reading: Reading) -> Sequence[LogLikelihood]:
    if reading.rule is None:
        return asked_in_context(sample, shots, separator=reading.separator)
    return asked(few_shot(sample, shots, separator=reading.separator), sample.choices, rule=reading.rule)


def _score(sample: Sample, outputs: Sequence[Likelihoods], reading: Reading, mark: str) -> Score:
    if reading.rule is None:
        return ranked_in_context(sample, outputs)
    return ranked(sample, outputs, rule=reading.rule, also=reading.also, mark=mark)


commonsense = partial(ranking, mark="accuracy", suites=(KOSMOS1, SYNTHETIC), extension=True)
"""A task with one of the paper's prompts about what things look like."""
