"""WebSRC: questions about web pages, answered by a span of the page or by yes or no (KOSMOS-1 section 4.4).

Prompt: the screenshot, then ``Given the context below from web page, extract the answer from the given text like this:
Qusestion: Who is the publisher of this book? Answer: Penguin Books Ltd. Context: {WebText} Q: {question} A:``; greedy.
The typing error is the paper's. Each question is also asked without the extracted text. Scores are the exact match and
the F1 of the authors' program, which are SQuAD's.

Source: https://x-lance.github.io/WebSRC, MIT. The answers of its test sites are not public: the paper does not name its
split, ours is dev, and for test ``prediction.json`` is written. Hub: rootsautomation/websrc (its card: train of 307,315
and dev of 52,826 with domain, page_id, question, answer, and image in base 64), which has no texts, so that questions
are asked without them only.

Our defaults where the paper is silent: the text is what stands between the tags of the official HTML, up to
``max_characters``; without it the prompt is the same but for ``Context: {WebText}``. Extension: the paper is zero-shot
here; demonstrations are questions about other pages.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

from kosmos_eval.errors import BadData
from kosmos_eval.fewshot.selection import few_shot
from kosmos_eval.metrics import span
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.registry import register
from kosmos_eval.request import Completion, Generate, Request
from kosmos_eval.sample import Sample
from kosmos_eval.source import Row, Source, read_json
from kosmos_eval.task import Score
from kosmos_tasks.families.splits import Hub, Splits, SplitTask
from kosmos_tasks.families.suites import KOSMOS1, SYNTHETIC
from kosmos_tasks.formats import websrc
from kosmos_tasks.synthetic import pages

EXAMPLE = (
    "Given the context below from web page, extract the answer from the given text like this: "
    "Qusestion: Who is the publisher of this book? Answer: Penguin Books Ltd."
)
WITHOUT = "_without_text"
"""The ending of metrics of answers without the text."""

SPLITS = Splits(
    "websrc",
    get="https://x-lance.github.io/WebSRC (archives: X-LANCE/WebSRC_v1.0 on the hub): DOMAIN/NN/dataset.csv and "
    "DOMAIN/NN/processed_data/, under websrc/",
    synthetic=pages.rows,
    sizes={"test": 120, "train": 120},
    files=websrc.FILES,
    hub=Hub(websrc.HUB, ("dev", "train"), read=websrc.hub_rows),
)


@register("websrc")
@dataclass(frozen=True)
class WebSRC(SplitTask):
    """Questions about web pages, with and without their text.

    Args:
        source: where the pages come from.
        text: whether questions are asked ``with`` the extracted text, ``without`` it, or ``both``.
        max_characters: the text of a page is cut there, so that it fits into the model's context.
        max_tokens: the most tokens of an answer.
    """

    source: Source = field(default_factory=Source)
    text: Literal["both", "with", "without"] = "both"
    max_characters: int = 6000
    max_tokens: int = 32

    splits: ClassVar[Splits] = SPLITS
    info = SPLITS.info("EM", suites=(KOSMOS1, SYNTHETIC), extension=True)

    @property
    def notes(self) -> Sequence[str]:
        return ["the hub's copy has no texts"] if self.source.kind == "hub" else []

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        return [
            Generate(few_shot(form(sample), [form(shot) for shot in shots]), self.max_tokens, stop=("\n",))
            for form in self._forms.values()
        ]

    def score(self, sample: Sample, outputs: Sequence[Completion]) -> Score:
        """Return exact match and F1 of each answer; no value where the right ones are not public."""
        answers = [output.text.strip() for output in outputs]
        values = {
            f"{metric}{ending}": of(answer, sample.target)
            for ending, answer in zip(self._forms, answers, strict=True)
            for metric, of in (("EM", span.exact), ("F1", span.f1))
        }
        record = {"without_text": answers[1]} if len(answers) > 1 else {}
        return Score(values if sample.references else {}, answers[0], record)

    def read_answers(self, file: Path) -> Mapping[str, str]:
        """Read the ``prediction.json`` of the official program."""
        found = read_json(file)
        if not isinstance(found, Mapping):
            raise BadData(f'{file} is not {{"id": "answer", ...}}; expected a prediction.json')
        return {str(id): str(answer) for id, answer in found.items()}

    def score_answer(self, sample: Sample, answer: str) -> Score:
        return replace(self, text="with").score(sample, [Completion(answer)])

    def submission(self, samples: Sequence[Sample], scores: Sequence[Score]) -> tuple[str, str] | None:
        if not samples or samples[0].references:
            return None
        return "prediction.json", json.dumps({s.id: score.answer for s, score in zip(samples, scores, strict=True)})

    @property
    def _forms(self) -> dict[str, Callable[[Sample], Sample]]:
        """The ending of a metric's name to the form of its question."""
        forms: dict[str, Callable[[Sample], Sample]] = {"": _with_text, WITHOUT: lambda sample: sample}
        asked = "without" if self.source.kind == "hub" else self.text
        return {ending: form for ending, form in forms.items() if asked in ("both", "without" if ending else "with")}

    def sample(self, row: Row) -> Sample:
        answer = row.get("answer") or ""
        prompt = Prompt(Image.of(row["image"]), f"{EXAMPLE} Q: {row['question']} A:")
        context = (row.get("text") or "")[: self.max_characters]
        references = (answer,) if answer else ()
        extra = {"context": context}
        return Sample(row["id"], prompt, target=answer, references=references, group=row["page"], extra=extra)


def _with_text(sample: Sample) -> Sample:
    """Return the sample with the page's text before its question."""
    image, words = sample.prompt.parts
    assert isinstance(words, str)
    context = f"{EXAMPLE} Context: {sample.extra['context']}"
    return replace(sample, prompt=Prompt(image, context, words.removeprefix(EXAMPLE)))
