"""Statistics of an image: its size, whether it has one color, and a digest that copies of it share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from kosmos_eval.errors import BadImage
from kosmos_eval.prompt import Image

SIDE = 8
"""The perceptual digest compares the brightness of neighbours on a grid of so many rows."""
BANDS = 4
PLAIN = 4
"""Levels of 256 that the channels of an image of one color may vary by, for what compression leaves."""


@dataclass(frozen=True)
class ImageStats:
    """An image as the rules see it.

    Args:
        side: the shorter one, in pixels.
        plain: whether it has one color.
        digest: 64 bits, each whether a place is brighter than its right neighbour; scaled and recompressed copies
            differ in few. None where nearly all are equal, so that it tells nothing.
        content: sha256 of the file.
    """

    side: int
    plain: bool
    digest: int | None
    content: str


@lru_cache(maxsize=64)
def image_stats(image: Image) -> ImageStats | BadImage:
    """Return the statistics of an image, or why it has none."""
    try:
        pixels = image.pixels()
        ranges: tuple[tuple[int, int], ...] = pixels.getextrema()  # type: ignore[assignment]
        small = pixels.convert("L").resize((SIDE + 1, SIDE)).tobytes()
        rows = [small[row * (SIDE + 1) : (row + 1) * (SIDE + 1)] for row in range(SIDE)]
        bits = [left > right for row in rows for left, right in pairwise(row)]
        digest = sum(bit << place for place, bit in enumerate(bits))
        telling = BANDS < digest.bit_count() < SIDE * SIDE - BANDS
        plain = all(high - low <= PLAIN for low, high in ranges)
        return ImageStats(min(pixels.size), plain, digest if telling else None, image.digest)
    except BadImage as error:
        return error


class KnownImages:
    """Images by their digests, found again in copies.

    Args:
        contents: sha256 of files.
        digests: perceptual ones.
    """

    def __init__(self, contents: Iterable[str], digests: Iterable[int]) -> None:
        self.contents = frozenset(contents)
        self.bands: dict[tuple[int, int], list[int]] = {}
        for digest in set(digests):
            for band in _bands(digest):
                self.bands.setdefault(band, []).append(digest)

    def has(self, seen: ImageStats) -> bool:
        """Return whether an image is a copy of one of these: the same file, or a digest that differs in few bits."""
        if seen.content in self.contents:
            return True
        digest = seen.digest
        if digest is None:
            return False
        return any(
            (digest ^ other).bit_count() < BANDS for band in _bands(digest) for other in self.bands.get(band, ())
        )


def _bands(digest: int) -> list[tuple[int, int]]:
    """Two digests that differ in fewer bits than there are bands have one of these in common."""
    width = SIDE * SIDE // BANDS
    return [(band, digest >> band * width & (1 << width) - 1) for band in range(BANDS)]
