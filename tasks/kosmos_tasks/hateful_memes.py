"""Hateful Memes: is a picture with its text hate speech (KOSMOS-1 section 4.3).

Prompt: the image, then ``Question: does this picture contain real hate speech? Answer:``; ``yes`` and ``no`` are
compared by likelihood. No text of the picture is given.

Source: https://hatefulmemeschallenge.com (a form has to be accepted): ``img/`` and ``train.jsonl``, ``dev_seen.jsonl``,
``test_seen.jsonl`` and their like, or ``dev.jsonl`` of the first release, also 500 memes, and its ``test.jsonl``. The
paper's split is the validation set; a test file without labels cannot be scored. The hub's copies, such as
neuralcatcher/hateful_memes, load without their images: use --data.

Our defaults where the paper is silent: memes are ranked by log P("yes") - log P("no") for the area under the ROC curve.
Each answer is one word, so their sums compare. ``accuracy``, of the likelier answer, is reported beside it. Extension:
the paper is zero-shot here; demonstrations add the right answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from kosmos_eval.fewshot.selection import few_shot
from kosmos_eval.metrics import roc
from kosmos_eval.metrics.statistics import Metric
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.registry import register
from kosmos_eval.request import Likelihoods, Request
from kosmos_eval.sample import Sample
from kosmos_eval.source import Row, Source
from kosmos_eval.task import Score, means
from kosmos_tasks.families.multiple_choice import asked, chosen
from kosmos_tasks.families.splits import Splits, SplitTask
from kosmos_tasks.families.suites import KOSMOS1, SYNTHETIC
from kosmos_tasks.formats.hateful_memes import FILES
from kosmos_tasks.synthetic import memes

ANSWERS = ("no", "yes")
"""In the order of the labels."""

SPLITS = Splits(
    "hateful_memes",
    get="https://hatefulmemeschallenge.com: img/, dev_seen.jsonl and train.jsonl, under hateful_memes/",
    synthetic=memes.rows,
    sizes={"test": 60, "train": 60},
    files=FILES,
)


@register("hateful_memes")
@dataclass(frozen=True)
class HatefulMemes(SplitTask):
    """Is a picture with its text hate speech.

    Args:
        source: where the memes come from.
    """

    source: Source = field(default_factory=Source)

    splits: ClassVar[Splits] = SPLITS
    info = SPLITS.info("roc_auc", suites=(KOSMOS1, SYNTHETIC), extension=True)

    @property
    def notes(self) -> Sequence[str]:
        return ['ranked by log P("yes") - log P("no")']

    def sample(self, row: Row) -> Sample:
        prompt = Prompt(Image.of(row["image"]), "Question: does this picture contain real hate speech? Answer:")
        return Sample(row["id"], prompt, target=ANSWERS[row["label"]], choices=ANSWERS, group=row["id"])

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        return asked(few_shot(sample, shots), ANSWERS)

    def score(self, sample: Sample, outputs: Sequence[Likelihoods]) -> Score:
        answer, value = chosen(ANSWERS, outputs, target=ANSWERS.index(sample.target))
        no, yes = outputs[0].logprobs
        return Score({"accuracy": value}, answer, {"yes": yes - no})

    def aggregate(self, samples: Sequence[Sample], scores: Sequence[Score], *, seed: int) -> Mapping[str, Metric]:
        if not samples:
            return {}
        ranks: dict[str, list[float]] = {answer: [] for answer in ANSWERS}
        for sample, score in zip(samples, scores, strict=True):
            ranks[sample.target].append(score.record["yes"])
        return {"roc_auc": roc.auc(ranks["yes"], ranks["no"], seed=seed), **means(samples, scores, seed=seed)}
