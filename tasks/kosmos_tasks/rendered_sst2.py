"""Rendered SST-2: the sentiment of a film review's sentence that is drawn as a picture (KOSMOS-1 section 4.3).

Prompt: the image, then ``Question: what is the sentiment of the opinion? Answer:``; the answers ``positive`` and
``negative`` are compared by likelihood. Other wordings (``prompt_variants``) are ours.

Source: https://github.com/openai/CLIP/blob/main/data/rendered-sst2.md (folders of images), or the sentence-level files
of SST-2 (sentence, tab, 0 or 1), whose sentences we draw black on white in 224 x 224 pixels; licence of neither stated.
Both have the same 1,821 test sentences. Hub: nateraw/rendered-sst2 (its card: train 6,920, validation 872, test 1,821;
image, and label with the classes negative and positive).

Our default where the paper is silent: the two answers compete as wholes, by the sum of their tokens' log-probabilities
(``rule="sum"``). Each is one word, so a longer one owes its length to the tokeniser alone. ``mean per token`` is what
the authors' code for another benchmark does, ``difference`` subtracts what the answers get after ``Answer:`` alone.

Extension: the paper is zero-shot here; demonstrations add the right answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

from kosmos_eval.errors import BadImage
from kosmos_eval.fewshot.selection import few_shot
from kosmos_eval.metrics.choice import Rule
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.registry import register
from kosmos_eval.request import Likelihoods, Request
from kosmos_eval.sample import Sample
from kosmos_eval.source import Row, Source
from kosmos_eval.task import Score
from kosmos_tasks.families.multiple_choice import RULES, asked, chosen
from kosmos_tasks.families.splits import Hub, Splits, SplitTask
from kosmos_tasks.families.suites import KOSMOS1, SYNTHETIC
from kosmos_tasks.formats.answers import label_lines
from kosmos_tasks.formats.rendered_sst2 import FILES, LABELS
from kosmos_tasks.synthetic import opinions

SIDE = 224

SPLITS = Splits(
    "rendered_sst2",
    get="https://openaipublic.azureedge.net/clip/data/rendered-sst2.tgz: {test,valid,train}/{negative,positive}/ "
    "under rendered-sst2/; or {test,dev,train}.tsv (a sentence, a tab, 0 or 1) under sst2/sentence_level/",
    synthetic=opinions.rows,
    files=FILES,
    hub=Hub("nateraw/rendered-sst2", ("test", "validation", "train")),
)


@register("rendered_sst2")
@dataclass(frozen=True)
class RenderedSST2(SplitTask):
    """Sentiment of rendered sentences.

    Args:
        source: where the images come from.
        rule: how the likelihoods of the two answers are compared.
        prompt: which of ``prompt_variants`` asks for the sentiment.
    """

    source: Source = field(default_factory=Source)
    rule: Rule = "sum"
    prompt: Literal["paper", "short", "instruction"] = "paper"

    prompt_variants: ClassVar[Mapping[str, str]] = {
        "paper": "Question: what is the sentiment of the opinion? Answer:",
        "short": "Sentiment:",
        "instruction": "Read the opinion. Is its sentiment positive or negative? Answer:",
    }
    splits: ClassVar[Splits] = SPLITS
    info = SPLITS.info("accuracy", suites=("default", KOSMOS1, SYNTHETIC), extension=True)

    @property
    def notes(self) -> Sequence[str]:
        return [RULES[self.rule]]

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        return asked(few_shot(sample, shots), LABELS, rule=self.rule)

    def score(self, sample: Sample, outputs: Sequence[Likelihoods]) -> Score:
        answer, value = chosen(LABELS, outputs, target=LABELS.index(sample.target), rule=self.rule)
        return Score({"accuracy": value}, answer)

    def read_answers(self, file: Path) -> Mapping[str, str]:
        """Read ``positive`` or ``negative`` a line, in the order of the split."""
        return label_lines(file, self.samples())

    def score_answer(self, sample: Sample, answer: str) -> Score:
        return Score({"accuracy": float(answer == sample.target)}, answer)

    def sample(self, row: Row) -> Sample:
        image = Image.of(row["image"]) if "image" in row else Image(drawn(row["text"]))
        prompt = Prompt(image, self.prompt_variants[self.prompt])
        return Sample(row["id"], prompt, target=LABELS[row["label"]], choices=LABELS, group=row["id"])


@lru_cache(maxsize=4096)
def drawn(text: str) -> bytes:
    """Return a sentence as a PNG; kept, because every number of shots looks at the whole split again."""
    try:
        return Image.drawn(opinions.render(text, size=SIDE)).encoded()
    except ValueError as error:
        raise BadImage(f"a sentence cannot be drawn: {error}") from error
