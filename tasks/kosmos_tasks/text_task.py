"""A benchmark of texts as a task: its choices compete by likelihood."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from kosmos_eval.metrics.choice import Rule
from kosmos_eval.registry import register
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.sample import Sample
from kosmos_eval.shots import few_shot
from kosmos_eval.source import Source
from kosmos_eval.task import About, Score, Suite, Task
from kosmos_tasks.choices import MARKS, PARAGRAPH, asked, ranked
from kosmos_tasks.suites import KOSMOS1, LANGUAGE, MINI
from kosmos_tasks.text_rows import TextRows


@dataclass(frozen=True)
class Reading:
    """How choices are asked and marked; by default as lm-evaluation-harness does.

    Args:
        rule: how likelihoods are compared for the headline, unless the user says otherwise.
        also: rules that further marks are by.
        mark: what the mark of the rule is called; empty for its own name (`choices.MARKS`).
        separator: what stands between demonstrations.
        notes: what a report says beside the rule.
        suites: the suites that the task is part of.
        extension: the paper is zero-shot here.
    """

    rule: Rule = "sum"
    also: tuple[Rule, ...] = ()
    mark: str = ""
    separator: str = PARAGRAPH
    notes: tuple[str, ...] = ()
    suites: tuple[str | Suite, ...] = (KOSMOS1, LANGUAGE, MINI)
    extension: bool = False


COMMONSENSE = Reading(mark="accuracy", separator="\n", suites=(KOSMOS1, MINI), extension=True)
"""The paper's prompts about what things look like."""
BY_CHARACTER = Reading("mean per character", also=("mean per character", "sum"))
"""Where lm-evaluation-harness has ``acc_norm`` beside ``acc``, and it is the headline."""


def ranking(rows: TextRows, says: str, *, reading: Reading = Reading()) -> Callable[..., Task[Likelihoods]]:
    """The type of a task whose samples ask for the likeliest of their choices, registered by the name of its rows.

    Args:
        rows: where its samples come from.
        says: what it is, in a sentence.
        reading: how its choices are asked and marked.
    """

    @register(rows.task)
    @dataclass(frozen=True)
    class Ranking:
        source: Source = field(default_factory=Source)
        rule: Rule = reading.rule

        about: ClassVar[About] = rows.about(
            reading.mark or MARKS[reading.rule], suites=reading.suites, extension=reading.extension
        )

        @property
        def split(self) -> str:
            """The split that is evaluated."""
            return rows.split(self.source)

        @property
        def notes(self) -> Sequence[str]:
            """The rule of the headline."""
            return [f"by {self.rule} of log-probabilities", *reading.notes]

        def samples(self) -> Sequence[Sample]:
            """What is evaluated."""
            return rows.samples(self.source)

        def examples(self) -> Sequence[Sample]:
            """What demonstrations are drawn from."""
            return rows.examples(self.source)

        def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[LogLikelihood]:
            """The choices."""
            return asked(few_shot(sample, shots, separator=reading.separator), sample.choices, rule=self.rule)

        def score(self, sample: Sample, outputs: Sequence[Likelihoods]) -> Score:
            """Whether the right choice is the likeliest, by the rule and by others; of m that tie, each earns 1/m."""
            return ranked(sample, outputs, rule=self.rule, also=reading.also, mark=reading.mark)

    Ranking.__doc__ = f"""{says}

    Args:
        source: where the texts come from.
        rule: how likelihoods are compared for the headline.
    """
    return Ranking
