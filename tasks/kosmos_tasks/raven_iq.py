"""Raven IQ: which image completes a matrix of images? (KOSMOS-1 section 4.2)

Prompt: ``Here are three images:`` (or four, eight), the images row by row, ``The following image is:``, one candidate,
``Is it correct?``. Every candidate is asked about by itself; the one with the highest P("Yes") is the answer. Other
wordings (``prompt_variants``) are ours.

Source: the paper's 50 puzzles, said to be at https://aka.ms/kosmos-iq50 (licence not stated), and RAVEN,
https://github.com/WellyZhang/RAVEN (none stated). Hub: HuggingFaceM4/RAVEN (its card: a configuration for each of
RAVEN's seven, splits train, validation and test; panels, choices, target and id among the columns).

Our defaults where the paper is silent: no space stands between an image and the text after it, as in the other tasks,
because the image's own tokens part them; " Yes" has the leading space that every answer here has. The paper compares
"Yes" alone; ``rule="yes_minus_no"`` also takes away how ready a model is to say either word. With 50 puzzles chance is
beaten only from 14 right on (one-sided 5 %), so the exact binomial p-value stands beside the accuracy.

Extension: the paper has no few-shot form. Ours shows a whole puzzle with one candidate and the true Yes or No; which it
is depends on the puzzle's id alone, and both are equally likely.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import ClassVar, Literal

from kosmos_eval.fewshot.selection import few_shot
from kosmos_eval.metrics.choice import best, credit
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.registry import register
from kosmos_eval.request import Likelihoods, LogLikelihood, Request
from kosmos_eval.sample import Sample
from kosmos_eval.source import Row, Source
from kosmos_eval.task import Score
from kosmos_tasks.families.splits import Hub, Splits, SplitTask
from kosmos_tasks.families.suites import KOSMOS1, SYNTHETIC, TRANSFER
from kosmos_tasks.formats import raven
from kosmos_tasks.formats.answers import label_lines
from kosmos_tasks.synthetic import matrices

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
PROMPT = "Here are {count} images:{context}The following image is:{candidate}Is it correct?"
"""The paper's prompt."""

SPLITS = Splits(
    "raven_iq",
    get="https://github.com/WellyZhang/RAVEN: CONFIGURATION/RAVEN_N_SPLIT.npz; https://aka.ms/kosmos-iq50: exp-N/ "
    "with query-K.png, answer-a.png .. answer-f.png and the right letter in answer.txt; all under raven/",
    synthetic=lambda split, configuration: matrices.rows(split),
    files=raven.FILES,
    hub=Hub(raven.HUB, ("test", "validation", "train"), read=raven.hub_rows),
    images=raven.IMAGES,
    options=("configuration",),
)


@register("raven_iq")
@dataclass(frozen=True)
class RavenIQ(SplitTask):
    """Raven matrices, candidate by candidate.

    Args:
        source: where the puzzles come from.
        rule: ``yes`` compares log P("Yes") (the paper), ``yes_minus_no`` log P("Yes") - log P("No").
        configuration: one of RAVEN's configurations; empty for all that are there.
        prompt: which of ``prompt_variants`` asks about a candidate.
    """

    source: Source = field(default_factory=Source)
    rule: Literal["yes", "yes_minus_no"] = "yes"
    configuration: str = ""
    prompt: Literal["paper", "short", "instruction"] = "paper"

    prompt_variants: ClassVar[Mapping[str, str]] = {
        "paper": PROMPT,
        "short": "{context}Next:{candidate}Correct?",
        "instruction": "These {count} images follow a rule:{context}Question: does this image follow it too?{candidate}"
        "Answer:",
    }
    splits: ClassVar[Splits] = SPLITS
    info = SPLITS.info("accuracy", suites=("default", KOSMOS1, SYNTHETIC, TRANSFER), extension=True)

    @property
    def notes(self) -> Sequence[str]:
        return ['scored by P("Yes")' if self.rule == "yes" else 'scored by P("Yes") / P("No")']

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        words = (" Yes",) if self.rule == "yes" else (" Yes", " No")
        wording, context = self.prompt_variants[self.prompt], sample.extra["context"]
        prompts = [question(context, candidate, wording) for candidate in sample.extra["candidates"]]
        return [LogLikelihood(few_shot(replace(sample, prompt=prompt), shots), words) for prompt in prompts]

    def score(self, sample: Sample, outputs: Sequence[Likelihoods]) -> Score:
        """Score the likeliest candidate; of m that tie, each earns 1/m."""
        logprobs = [output.logprobs for output in outputs]
        found = [yes - sum(no) for yes, *no in logprobs]
        chosen = "=".join(sample.choices[index] for index in best(found))
        return Score({"accuracy": credit(found, [sample.extra["target"]])}, chosen)

    def read_answers(self, file: Path) -> Mapping[str, str]:
        """Read the number of a candidate a line, 1 for the first."""
        return label_lines(file, self.samples())

    def score_answer(self, sample: Sample, answer: str) -> Score:
        return Score({"accuracy": float(answer == sample.target)}, answer)

    def sample(self, row: Row) -> Sample:
        context, candidates = _images(row)
        return Sample(
            id=row["id"],
            prompt=_opening(context, self.prompt_variants[self.prompt]),
            target=str(row["target"] + 1),
            choices=tuple(str(number) for number in range(1, len(candidates) + 1)),
            group=row["id"],
            kind=row["configuration"],
            extra={"context": context, "candidates": candidates, "target": row["target"]},
        )

    def demonstration(self, row: Row) -> Sample:
        """Return a whole puzzle with one candidate, right or wrong."""
        context, candidates = _images(row)
        random = Random(f"raven_iq/{row['id']}")
        wrong = random.choice([index for index in range(len(candidates)) if index != row["target"]])
        right = random.random() < 0.5
        prompt = question(context, candidates[row["target"] if right else wrong], self.prompt_variants[self.prompt])
        return Sample(row["id"], prompt, target="Yes" if right else "No", group=row["id"], kind=row["configuration"])


def question(context: Sequence[Image], candidate: Image, wording: str = PROMPT) -> Prompt:
    """Return the prompt for one candidate; by default the paper's."""
    between, _, after = wording.partition("{context}")[2].partition("{candidate}")
    return Prompt(_opening(context, wording), between, candidate, after)


def _opening(context: Sequence[Image], wording: str) -> Prompt:
    return Prompt(wording.partition("{context}")[0].format(count=NUMBERS[len(context)]), *context)


def _images(row: Row) -> tuple[list[Image], list[Image]]:
    return [Image.of(cell) for cell in row["context"]], [Image.of(cell) for cell in row["candidates"]]
