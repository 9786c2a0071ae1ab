"""What the captioning tasks share: the paper's prompt and search, CIDEr and its companions."""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from logging import getLogger
from random import Random
from typing import Any, Literal

from kosmos_eval.fewshot.selection import few_shot
from kosmos_eval.metrics import caption
from kosmos_eval.metrics.statistics import Metric
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Generate
from kosmos_eval.sample import Sample
from kosmos_eval.task import Score

PROMPT = "An image of"
"""What the paper asks with."""

Shown = Literal["first", "random"]
"""Which human caption a demonstration shows: the first, or a random one, always the same."""
Captions = tuple[tuple[str, tuple[str, ...]], ...]
"""Images with their captions, hashable."""


def sample_of(row: Mapping[str, Any], shown: Shown, prompt: str = PROMPT) -> Sample:
    """An image with its human captions, from a row of ``id``, ``image``, ``captions``."""
    captions = row["captions"]
    target = Random(row["id"]).choice(captions) if shown == "random" else captions[0]
    asked = Prompt(Image.of(row["image"]), prompt)
    return Sample(row["id"], asked, target=target.strip(), references=tuple(captions), group=row["id"])


def asked(sample: Sample, shots: Sequence[Sample], *, max_tokens: int, length_penalty: float) -> list[Generate]:
    """One caption by beam search of width 5; a line break ends it."""
    prompt = few_shot(sample, shots)
    return [Generate(prompt, max_tokens=max_tokens, stop=("\n",), beams=5, length_penalty=length_penalty)]


def marked(answer: str) -> Score:
    """The caption itself; only the corpus has marks."""
    return Score(answer=answer, record={"caption": answer})


def scored(
    samples: Sequence[Sample], scores: Sequence[Score], *, counted: Mapping[str, Sequence[str]], spice: bool
) -> caption.CaptionScores:
    """The marks of a corpus; ``counted`` are the captions that CIDEr counts documents over, if not the samples' own."""
    return _scored(
        tuple(score.record["caption"] for score in scores),
        tuple((sample.id, sample.references) for sample in samples),
        tuple((image, tuple(captions)) for image, captions in counted.items()),
        spice,
    )


def metrics(found: caption.CaptionScores, *, seed: int) -> Mapping[str, Metric]:
    """CIDEr, then the other metrics of the COCO evaluation; intervals by resampling images."""
    every = caption.metrics(found, seed=seed)
    return {"CIDEr": every["CIDEr"], **every}


def by_image(found: caption.CaptionScores) -> Mapping[str, Mapping[str, float]]:
    """Every metric of each image by itself."""
    columns = zip(found.images, *found.per_image.values(), strict=True)
    return {image: dict(zip(found.per_image, row, strict=True)) for image, *row in columns}


@lru_cache(maxsize=4)
def _scored(captions: tuple[str, ...], references: Captions, counted: Captions, spice: bool) -> caption.CaptionScores:
    """Kept, because the corpus' figures and those of its samples are asked for one after the other."""
    candidates = {image: text for (image, _), text in zip(references, captions, strict=True)}
    found = caption.caption_scores(candidates, dict(references), frequencies_from=dict(counted), spice=spice)
    for reason in found.unavailable.values():
        _say_once(reason)
    return found


@cache
def _say_once(reason: str) -> None:
    getLogger(__name__).warning(reason)
