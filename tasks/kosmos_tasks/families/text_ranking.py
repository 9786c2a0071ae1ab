"""A benchmark of texts as a task: its choices compete by likelihood, in one or several readings.

The paper gives neither prompts nor rules of its language tasks. Each has two readings, named by its option ``prompt``.
The usual one, ``lm-eval``, is the task of lm-evaluation-harness 0.4.13. ``gpt3`` is that of GPT-3 (its section 2.4 and
the figures of its appendix G), plausibly also that of METALM and of this paper: choices compete by the mean over their
tokens; none of the eight is among the tasks where GPT-3 divides by the probability without the prompt. GPT-3 has one or
two line breaks between demonstrations, depending on the task; here they are two.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, Literal

from kosmos_eval.errors import KosmosEvalError, UnknownName
from kosmos_eval.fewshot.selection import few_shot
from kosmos_eval.metrics.choice import Rule
from kosmos_eval.registry import register
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.sample import Sample
from kosmos_eval.source import Row, Source
from kosmos_eval.task import Score, Suite, Task
from kosmos_tasks.families.multiple_choice import (
    METRICS,
    PARAGRAPH,
    RULES,
    asked,
    asked_in_context,
    ranked,
    ranked_in_context,
)
from kosmos_tasks.families.splits import Splits, SplitTask
from kosmos_tasks.families.suites import KOSMOS1, LANGUAGE, SYNTHETIC


@dataclass(frozen=True)
class Reading:
    """A way to ask for choices and to score them.

    Args:
        wording: the question, with what is filled in between braces.
        answers: the choices, where they are the same for every sample.
        gap: what stands between question and choice beside one space.
        rule: how likelihoods are compared for the headline, unless the user says otherwise; None where the same text is
            compared after each choice (partial scoring), to which no rule of length applies.
        also: rules of further scores.
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
    rows: Splits,
    says: str,
    *,
    sample: Callable[[Row, Reading], Sample],
    readings: Mapping[str, Reading],
    metric: str = "",
    suites: tuple[str | Suite, ...] = (KOSMOS1, LANGUAGE, SYNTHETIC),
    extension: bool = False,
) -> Callable[..., Task]:
    """Return the type of a task that asks for the likeliest choice, registered by the name of its rows.

    Args:
        rows: where its samples come from.
        says: its description, a sentence.
        sample: a row as a sample, in a reading.
        readings: how it is asked and scored, by name, the usual reading first.
        metric: the name of the headline metric; empty for that of its rule (`multiple_choice.METRICS`).
        suites: the suites that it is part of.
        extension: the paper is zero-shot here.
    """
    usual = next(iter(readings))

    @register(rows.task)
    @dataclass(frozen=True)
    class Ranking(SplitTask):
        source: Source = field(default_factory=Source)
        rule: Literal["usual", Rule] = "usual"
        prompt: str = usual

        splits: ClassVar[Splits] = rows
        info = rows.info(metric or METRICS[readings[usual].rule or "sum"], suites=suites, extension=extension)
        prompt_variants: ClassVar[Mapping[str, str]] = {name: reading.wording for name, reading in readings.items()}

        def __post_init__(self) -> None:
            _check(rows.task, self.prompt, readings, self.rule)

        @property
        def notes(self) -> Sequence[str]:
            return [*_notes(self._reading), *([] if self.prompt == usual else [f"prompt {self.prompt}"])]

        def sample(self, row: Row) -> Sample:
            return sample(row, self._reading)

        def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[LogLikelihood]:
            return _requests(sample, shots, self._reading)

        def score(self, sample: Sample, outputs: Sequence[Likelihoods]) -> Score:
            return _score(sample, outputs, self._reading, metric)

        @property
        def _reading(self) -> Reading:
            """The reading, with the user's rule."""
            reading = readings[self.prompt]
            return reading if self.rule == "usual" else replace(reading, rule=self.rule)

    Ranking.__doc__ = f"""{says}

    Args:
        source: where the texts come from.
        rule: how likelihoods are compared for the headline; None for the default of its reading.
        prompt: the reading, one of {", ".join(readings)}.
    """
    return Ranking


def _check(task: str, prompt: str, readings: Mapping[str, Reading], rule: str) -> None:
    if prompt not in readings:
        raise UnknownName(f"prompt of {task}", prompt, readings)
    if rule != "usual" and readings[prompt].rule is None:
        raise KosmosEvalError(f"{task} compares the same text after each choice, where no rule applies; leave it out")


def _notes(reading: Reading) -> Sequence[str]:
    return [RULES[reading.rule] if reading.rule else "partial scoring (Trinh & Le)", *reading.notes]


def _requests(sample: Sample, shots: Sequence[Sample], reading: Reading) -> Sequence[LogLikelihood]:
    if reading.rule is None:
        return asked_in_context(sample, shots, separator=reading.separator)
    return asked(few_shot(sample, shots, separator=reading.separator), sample.choices, rule=reading.rule)


def _score(sample: Sample, outputs: Sequence[Likelihoods], reading: Reading, metric: str) -> Score:
    if reading.rule is None:
        return ranked_in_context(sample, outputs)
    return ranked(sample, outputs, rule=reading.rule, also=reading.also, metric=metric)


commonsense = partial(ranking, metric="accuracy", suites=(KOSMOS1, SYNTHETIC), extension=True)
"""A task with one of the paper's prompts about what things look like."""
