"""Handwritten digits as a naming task: the synthetic split of the image classification task (ImageNet).

Source: the test set of *Optical Recognition of Handwritten Digits* (E. Alpaydin, C. Kaynak, UCI repository, 1998),
1,797 images of 8 x 8 pixels, licence CC BY 4.0; see ``data/NOTICE.md``.
"""

from __future__ import annotations

import csv
import gzip
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.source import Row
from kosmos_tasks.synthetic.recipe import Split, cell, digest, side

if TYPE_CHECKING:
    from PIL import Image

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

DATA = Path(__file__).parent / "data" / "digits.csv.gz"
WIDTH = 8
SIDE = 96
MARGIN = 8
"""Width of the source images, of the drawn ones, and of the paper around a digit, in pixels."""
TEST_SHARE = 3
"""One in so many images is held out."""


@dataclass(frozen=True)
class Digit:
    """An image of a digit: 64 pixels row by row, 0 (paper) to 16 (ink), and which digit it is."""

    pixels: tuple[int, ...]
    label: int


@cache
def digits() -> tuple[Digit, ...]:
    """Return all different images in the order of the file."""
    with gzip.open(DATA, "rt", encoding="ascii", newline="") as lines:
        values = [[int(float(value)) for value in line] for line in csv.reader(lines)]
    return tuple(dict.fromkeys(Digit(tuple(pixels), label) for *pixels, label in values))


def draw(digit: Digit) -> Image.Image:
    """Return the picture of a digit, 96 x 96 RGB, dark ink on white."""
    from PIL import Image

    small = Image.new("L", (WIDTH, WIDTH))
    small.putdata([255 - value * 255 // 16 for value in digit.pixels])
    inner = SIDE - 2 * MARGIN
    image = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    image.paste(small.resize((inner, inner), Image.Resampling.BICUBIC), (MARGIN, MARGIN))
    return image


def rows(split: Split, count: int | None = None, seed: int = 0) -> Iterator[Row]:
    """Yield drawn digits, a whole split without ``count``; ``seed`` orders them, each once in ten while they last.

    Yields:
        ``id``, ``image``, ``label`` (the digit).
    """
    chosen = [digit for digit in digits() if side(digit.pixels, TEST_SHARE) == split]
    random.Random(f"digits/{split}/{seed}").shuffle(chosen)
    met: Counter[int] = Counter()
    rounds = []
    for digit in chosen:
        rounds.append((met[digit.label], digit))
        met[digit.label] += 1
    chosen = [digit for _, digit in sorted(rounds, key=lambda entry: entry[0])]
    for digit in islice(chosen, count):
        yield {"id": digest(digit), "image": cell(draw(digit)), "label": digit.label}
