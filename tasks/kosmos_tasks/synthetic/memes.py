"""Memes about robots: a line of text on a colored ground, either hateful or not. The synthetic split of hateful memes.

Nobody real is spoken of. Both kinds use the same opening and the same targets, so that neither tells the label.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from kosmos_eval.source import Row
from kosmos_tasks.synthetic.opinions import render, words
from kosmos_tasks.synthetic.recipe import Split, cell, stream

OPENINGS = ("all", "these", "those", "my", "your", "the", "most", "our")
TARGETS = words("robots martians cyborgs androids goblins trolls elves gnomes giants dragons")
SAID = (
    (
        "are welcome here",
        "make good friends",
        "are fun at parties",
        "deserve a hug",
        "help everybody",
        "dance so well",
        "cook great soup",
        "tell good jokes",
    ),
    (
        "are not welcome here",
        "must never be trusted",
        "should all go away",
        "deserve no rights",
        "ruin everything",
        "are less than us",
        "make me sick",
        "are all the same scum",
    ),
)
"""Harmless and hateful."""


def draw(rng: Random) -> tuple[str, int]:
    """Return a line of text and its label, 1 for hateful."""
    label = rng.randrange(2)
    return f"{rng.choice(OPENINGS)} {rng.choice(TARGETS)} {rng.choice(SAID[label])}", label


def memes(split: Split, seed: int = 0) -> Iterator[tuple[str, tuple[str, int]]]:
    """Yield all different memes of one side, as (id, (text, label))."""
    return stream("memes", split, seed, draw=draw, content=lambda item: item[0])


def rows(split: Split) -> Iterator[Row]:
    """Yield endless memes: ``id``, ``image``, ``label``, ``text``."""
    for identity, (text, label) in memes(split):
        yield {"id": identity, "image": cell(render(text)), "label": label, "text": text}
