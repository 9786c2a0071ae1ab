"""Opinions of three to eight words, drawn black on white: the synthetic split of the rendered sentiment task.

A third is negated, whatever its label, and every pattern is used for both labels: neither a pattern nor a "not" tells
the label.
``render`` draws any text; the task uses it for the sentences of SST-2 too.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.source import Row
from kosmos_tasks.synthetic.recipe import Split, cell, stream

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFont import FreeTypeFont

FONT = Path(__file__).parent / "data" / "DejaVuSans.ttf"
SMALLEST = 4
"""The smallest font size that ``render`` tries, in pixels."""


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text."""
    return tuple(text.split())


ADJECTIVES = (
    words(
        "awful bad bland boring clumsy confusing cruel dreadful dreary dull empty feeble flat horrible lame lifeless "
        "messy painful poor shallow silly stale tedious terrible tiresome ugly weak"
    ),
    words(
        "amazing beautiful brilliant charming clever delightful engaging excellent exciting fine fresh funny gorgeous "
        "graceful great gripping inspired lovely lively moving perfect smart stunning superb tender warm wonderful"
    ),
)
"""Negative and positive ones; index 1 is positive throughout."""
VERBS = (
    words("hated disliked regretted despised loathed resented"),
    words("loved liked enjoyed adored admired treasured"),
)
NOUNS = words(
    "acting camera cast chase comedy costumes dialogue drama editing ending film hero humor movie music mystery "
    "opening performance pictures plot romance scenery score script songs story style villain"
)
PLURAL = words("costumes pictures songs")
ADVERBS = words("truly really very so quite simply utterly rather always surprisingly often deeply")

PLAIN = (
    "the {noun} {is} {adverb} {adjective}",
    "{adverb} {adjective} {noun}",
    "the {noun} {is} {adjective} and {second}",
    "we found the {noun} {adverb} {adjective}",
    "i {verb} the {noun}",
    "i {adverb} {verb} the {adjective} {noun}",
    "such {adjective} and {second} {noun}",
    "the {noun} {is} {adjective} from start to end",
    "everybody {verb} the {noun}",
    "{adjective} {noun}, {adverb} {second}",
)
NEGATED = (
    "the {noun} {is} not {adjective}",
    "never {adjective} {noun}",
    "the {noun} {is} not {adjective} but {second}",
    "we never found the {noun} {adjective}",
    "nobody {verb} the {noun}",
    "i never {verb} the {second} {noun}",
    "not {adjective}, {adverb} {second} {noun}",
    "i would not call the {noun} {adjective}",
    "the {noun} {is} far from {adjective}",
    "hardly {adjective} {noun}",
)
"""In a negated pattern ``adjective`` and ``verb`` have the other label; ``second`` stands outside the negation."""


@dataclass(frozen=True)
class Opinion:
    """A short text, its label (1 is positive) and the nouns, adjectives and verbs that carry it."""

    text: str
    label: int
    carried: tuple[str, ...]


def sample(rng: random.Random) -> Opinion:
    """Draw an opinion: first its label, then whether it is negated, then the words that make it so."""
    label = rng.randrange(2)
    negated = rng.random() < 1 / 3
    pattern = rng.choice(NEGATED if negated else PLAIN)
    said = 1 - label if negated else label
    noun = rng.choice(NOUNS)
    adjective = rng.choice(ADJECTIVES[said])
    second = rng.choice([word for word in ADJECTIVES[label] if word != adjective])
    roles = {"noun": noun, "adjective": adjective, "second": second, "verb": rng.choice(VERBS[said])}
    text = pattern.format(**roles, adverb=rng.choice(ADVERBS), **{"is": "are" if noun in PLURAL else "is"})
    carried = sorted(word for role, word in roles.items() if f"{{{role}}}" in pattern)
    return Opinion(text, label, tuple(carried))


def opinions(split: Split, seed: int = 0) -> Iterator[tuple[str, Opinion]]:
    """Yield all different opinions of one side, as (id, opinion)."""
    return stream("opinions", split, seed, draw=sample, content=lambda opinion: opinion.carried)


@cache
def font(size: int) -> FreeTypeFont:
    """Return the shipped font; the basic layout engine draws the same pixels with and without Raqm."""
    from PIL import ImageFont

    return ImageFont.truetype(FONT, size, layout_engine=ImageFont.Layout.BASIC)


def wrap(text: str, face: FreeTypeFont, width: int) -> list[str] | None:
    """Return lines of whole words, each at most ``width`` pixels wide; None if a word is wider."""
    lines: list[str] = []
    for word in text.split():
        if face.getlength(word) > width:
            return None
        if lines and face.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def render(text: str, size: int = 96) -> Image.Image:
    """Draw a text black on white, wrapped and centred, in the largest font that fits (a sixth of the height at most).

    Args:
        text: any text of the Latin alphabet; a sentence of 55 words fits 224 pixels.
        size: width and height of the image, in pixels.

    Raises:
        ValueError: if it does not fit in the smallest font.
    """
    from PIL import Image, ImageDraw

    margin = max(2, size // 32)
    room = size - 2 * margin
    for points in range(size // 6, SMALLEST - 1, -1):
        face = font(points)
        lines, height = wrap(text, face, room), points * 6 // 5
        if lines is not None and len(lines) * height <= room:
            break
    else:
        raise ValueError(f"a text of {len(text)} characters does not fit an image of {size} pixels: {text[:40]!r}...")
    image = Image.new("L", (size, size), 255)
    pen = ImageDraw.Draw(image)
    top = (size - len(lines) * height) // 2
    for index, line in enumerate(lines):
        left = (size - round(face.getlength(line))) // 2
        pen.text((left, top + index * height), line, fill=0, font=face)
    return image.convert("RGB")


def rows(split: Split, count: int | None = None, seed: int = 0) -> Iterator[Row]:
    """Yield rendered opinions: ``id``, ``image``, ``label`` (1 is positive), ``text``; endless without ``count``.

    No combination of noun, adjectives and verb of one side occurs on the other.
    """
    for identity, opinion in islice(opinions(split, seed), count):
        yield {"id": identity, "image": cell(render(opinion.text)), "label": opinion.label, "text": opinion.text}
