"""The rules of cleaning (KOSMOS-1 section 3.1): each takes a document and gives what it leaves of it, or nothing.

Near-duplicates, which no document shows by itself, are found by `kosmos_model.cleaning.pipeline`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Image, Prompt
from kosmos_model.cleaning import evaluated
from kosmos_model.cleaning.image_stats import ImageStats, image_stats
from kosmos_model.cleaning.plan import Plan


@dataclass(frozen=True)
class Page:
    """A document on its way through the rules.

    Args:
        id: the shard and the place in it.
        prompt: its texts and images.
    """

    id: str
    prompt: Prompt

    def without(self, dropped: Callable[[Image], bool]) -> Prompt:
        """Return its prompt without some images."""
        return Prompt(*(part for part in self.prompt.parts if isinstance(part, str) or not dropped(part)))


@dataclass(frozen=True)
class Measures:
    """The measures of the rules.

    Args:
        plan: its numbers.
        evaluated: the folder of what evaluation asks; None where nothing is kept out.
    """

    plan: Plan
    evaluated: Path | None = None


Rule = Callable[[Page, Measures], Prompt | None]


def tagged(page: Page, measures: Measures) -> Prompt | None:
    """Captions in which a name was replaced by a tag such as ``<PERSON>`` are dropped, as in Conceptual 12M."""
    return None if re.search(r"<[A-Z][A-Z_]+>", page.prompt.text("")) else page.prompt


def foreign(page: Page, measures: Measures) -> Prompt | None:
    """Documents in another language are dropped."""
    plan = measures.plan
    if plan.language_model is None:
        return page.prompt
    labels, scores = _language_model(plan.language_model).predict(" ".join(page.prompt.text(" ").split()))
    return page.prompt if labels[0] == f"__label__{plan.language}" and scores[0] >= plan.language_score else None


def spam(page: Page, measures: Measures) -> Prompt | None:
    """Documents with many emoji, hashtags and URLs for their words are dropped."""
    text = page.prompt.text(" ")
    marks = len(EMOJI.findall(text)) + len(HASHTAG.findall(text)) + len(URL.findall(text))
    return page.prompt if marks <= measures.plan.spam * len(text.split()) else None


EMOJI = re.compile("[\u2600-\u27bf\u2b50\u2b55\U0001f000-\U0001faff]")
HASHTAG = re.compile(r"(?<![\w&/])#\w*[^\W\d]\w*")
URL = re.compile(r"https?://|\bwww\.")


def unreadable(page: Page, measures: Measures) -> Prompt | None:
    """Images that are not there, or cannot be decoded, are left out."""
    return page.without(lambda image: not isinstance(image_stats(image), ImageStats))


def small(page: Page, measures: Measures) -> Prompt | None:
    """Images with a side under 64 pixels are left out."""
    return page.without(lambda image: _stats(image).side < measures.plan.smallest_image)


def plain(page: Page, measures: Measures) -> Prompt | None:
    """Images of a single color are left out."""
    return page.without(lambda image: _stats(image).plain)


def many(page: Page, measures: Measures) -> Prompt | None:
    """A document keeps its first five images."""
    number = count()
    return page.without(lambda image: next(number) >= measures.plan.most_images)


def apart(page: Page, measures: Measures) -> Prompt | None:
    """Documents without an image that has text before and after it are dropped."""
    written = [isinstance(part, str) for part in page.prompt.parts]
    if True not in written:
        return None
    first, last = written.index(True), len(written) - 1 - written[::-1].index(True)
    return page.prompt if False in written[first:last] else None


def single(page: Page, measures: Measures) -> Prompt | None:
    """Half of the documents with one image are dropped, which half by seed and text alone."""
    if len(page.prompt.images) != 1:
        return page.prompt
    drawn = random.Random(f"{measures.plan.seed}/{page.prompt.text()}").random()
    return page.prompt if drawn < measures.plan.keep_single else None


def evaluated_picture(page: Page, measures: Measures) -> Prompt | None:
    """Documents that show a picture of an evaluated sample are dropped."""
    if measures.evaluated is None:
        return page.prompt
    known = evaluated.pictures(measures.evaluated)
    return None if any(known.has(_stats(image)) for image in page.prompt.images) else page.prompt


def evaluated_text(page: Page, measures: Measures) -> Prompt | None:
    """Documents with a run of words of an evaluated sample are dropped."""
    if measures.evaluated is None:
        return page.prompt
    from datatrove.data import Document

    block = evaluated.texts(measures.evaluated, measures.plan.ngram)
    return page.prompt if block.filter(Document(page.prompt.text(" "), page.id)) is True else None


def _stats(image: Image) -> ImageStats:
    found = image_stats(image)
    assert isinstance(found, ImageStats), f"{image.name} was found unreadable, but is still in its document"
    return found


@lru_cache(maxsize=1)
def _language_model(path: Path) -> Any:
    from fasttext.FastText import _FastText

    try:
        return _FastText(str(path))
    except ValueError as error:
        raise BadData(f"{path} is no fastText model: {error}") from error


RULES: Mapping[str, Mapping[str, Rule]] = {
    "text": {"other language": foreign, "spam": spam, "evaluated text": evaluated_text},
    "pairs": {
        "tag in caption": tagged,
        "unreadable image": unreadable,
        "small image": small,
        "single color": plain,
        "evaluated picture": evaluated_picture,
        "evaluated text": evaluated_text,
    },
    "interleaved": {
        "other language": foreign,
        "spam": spam,
        "unreadable image": unreadable,
        "small image": small,
        "single color": plain,
        "evaluated picture": evaluated_picture,
        "evaluated text": evaluated_text,
        "over five images": many,
        "no image between text": apart,
        "single image, half": single,
    },
}
"""Kind of corpus to its rules in order, those that cost little first."""
