"""Shared parts of the recipes: the two sides, endless streams without repetition, images as table cells."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Literal, TypeVar

from kosmos_eval.source import Row

if TYPE_CHECKING:
    from PIL import Image

Split = Literal["train", "test"]
Item = TypeVar("Item")

TEST_SHARE = 5
"""One in so many contents is held out for the test side."""

PATIENCE = 100_000
"""A stream ends after so many draws in a row that gave nothing new."""


def digest(content: object) -> str:
    """Return sixteen hex digits that name a content, the same on every machine (``repr`` must tell all of it)."""
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def side(content: object, share: int = TEST_SHARE) -> Split:
    """Return the only split in which this content may appear; one in ``share`` is for the test.

    >>> side(("red", "star")) == side(("red", "star"))
    True
    """
    return "test" if int(digest(("side", content)), 16) % share == 0 else "train"


def stream(
    name: str, split: Split, seed: int, *, draw: Callable[[random.Random], Item], content: Callable[[Item], object]
) -> Iterator[tuple[str, Item]]:
    """Draw the items of one side without end, none of them twice.

    Args:
        name: the recipe; streams of different names are independent.
        split: the side wanted.
        seed: another seed, another order and choice, but the same side.
        draw: makes an item, whose ``repr`` tells all that is shown, from a random generator.
        content: what of an item must not be on both sides.

    Yields:
        (id, item); the id is the digest of the item.
    """
    seen: set[str] = set()
    last = 0
    for attempt in itertools.count():
        item = draw(random.Random(f"{name}/{split}/{seed}/{attempt}"))
        if side(content(item)) == split and (identity := digest(item)) not in seen:
            seen.add(identity)
            last = attempt
            yield identity, item
        elif attempt - last > PATIENCE:
            return


def cell(image: Image.Image) -> Row:
    """Return an image as the value that ``datasets.Image(decode=False)`` holds: PNG bytes and no path."""
    out = BytesIO()
    image.save(out, format="PNG", compress_level=1)
    return {"bytes": out.getvalue(), "path": None}
