"""The base class of captioning tasks: the paper's prompt and search, CIDEr and its companions."""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from logging import getLogger
from random import Random
from typing import Literal

from kosmos_eval.fewshot.selection import few_shot
from kosmos_eval.metrics import caption
from kosmos_eval.metrics.statistics import Metric
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Completion, Generate, Request
from kosmos_eval.sample import Sample
from kosmos_eval.source import Row
from kosmos_eval.task import Score
from kosmos_tasks.families.splits import SplitTask

PROMPT = "An image of"
"""The paper's prompt."""

Shown = Literal["first", "random"]
"""The human caption that a demonstration shows: the first, or a random one, always the same."""
Captions = tuple[tuple[str, tuple[str, ...]], ...]
"""Images with their captions, hashable."""


class CaptionTask(SplitTask):
    """A task of captions, from rows of ``id``, ``image``, ``captions``; only the corpus has scores."""

    max_tokens: int
    length_penalty: float
    shown: Shown
    spice: bool

    @property
    def wording(self) -> str:
        """The prompt after the image."""
        return PROMPT

    def sample(self, row: Row) -> Sample:
        captions = row["captions"]
        target = Random(row["id"]).choice(captions) if self.shown == "random" else captions[0]
        prompt = Prompt(Image.of(row["image"]), self.wording)
        return Sample(row["id"], prompt, target=target.strip(), references=tuple(captions), group=row["id"])

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        """Return the request of one caption by beam search of width 5, up to a line break."""
        prompt, penalty = few_shot(sample, shots), self.length_penalty
        return [Generate(prompt, max_tokens=self.max_tokens, stop=("\n",), beams=5, length_penalty=penalty)]

    def score(self, sample: Sample, outputs: Sequence[Completion]) -> Score:
        caption = outputs[0].text.strip()
        return Score(answer=caption, record={"caption": caption})

    def aggregate(self, samples: Sequence[Sample], scores: Sequence[Score], *, seed: int) -> Mapping[str, Metric]:
        """Return CIDEr, then the other metrics of the COCO evaluation; intervals by resampling images."""
        if not samples:
            return {}
        every = caption.metrics(self._corpus(samples, scores), seed=seed)
        return {"CIDEr": every["CIDEr"], **every}

    def sample_metrics(self, samples: Sequence[Sample], scores: Sequence[Score]) -> Mapping[str, Mapping[str, float]]:
        """Return every metric of each image by itself."""
        if not samples:
            return {}
        found = self._corpus(samples, scores)
        columns = zip(found.images, *found.per_image.values(), strict=True)
        return {image: dict(zip(found.per_image, row, strict=True)) for image, *row in columns}

    def counted(self) -> Mapping[str, Sequence[str]]:
        """Return image to captions that CIDEr counts documents over: those of the whole split."""
        split = self.splits.rows(self.source, self.split)
        return dict(zip(split["id"], split["captions"], strict=True))

    def _corpus(self, samples: Sequence[Sample], scores: Sequence[Score]) -> caption.CaptionScores:
        return _scored(
            tuple(score.record["caption"] for score in scores),
            tuple((sample.id, sample.references) for sample in samples),
            tuple((image, tuple(captions)) for image, captions in self.counted().items()),
            self.spice,
        )


@lru_cache(maxsize=4)
def _scored(captions: tuple[str, ...], references: Captions, counted: Captions, spice: bool) -> caption.CaptionScores:
    """Return the scores of a corpus; cached, because those of its samples are needed next."""
    candidates = {image: text for (image, _), text in zip(references, captions, strict=True)}
    found = caption.caption_scores(candidates, dict(references), frequencies_from=dict(counted), spice=spice)
    for reason in found.unavailable.values():
        _say_once(reason)
    return found


@cache
def _say_once(reason: str) -> None:
    getLogger(__name__).warning(reason)
