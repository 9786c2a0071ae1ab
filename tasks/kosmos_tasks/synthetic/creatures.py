"""Pairs of invented creatures with descriptions: the synthetic split of classification with descriptions.

The names say nothing of what the creatures look like; only the descriptions do, and without them the answer is a
guess. Names and outlines of one side do not occur on the other.
"""

from __future__ import annotations

from collections.abc import Iterator

from kosmos_eval.source import Row
from kosmos_tasks.synthetic.new_words import Thing, draw, episodes
from kosmos_tasks.synthetic.recipe import Split, cell

VIEWS = 4
"""Pictures of one pair, two of each creature."""
KIND = "creature"
SEED = 12
"""Other things than the episodes of new words have."""


def description(thing: Thing) -> str:
    """Return a description of a creature in a sentence."""
    marked = {"plain": "", "core": f" with a {thing.second} core"}
    return f"It is {thing.color}{marked.get(thing.pattern, f' with {thing.second} {thing.pattern}')}."


def rows(split: Split) -> Iterator[Row]:
    """Yield endless pictures: ``id, image, kind, names, descriptions, target`` (the index of the right name)."""
    for identity, pair in episodes(split, SEED, ways=2):
        said = {"kind": KIND, "names": list(pair.names), "descriptions": [description(thing) for thing in pair.things]}
        for place, (target, view) in enumerate(pair.shown[:VIEWS]):
            picture = cell(draw(pair.things[target], view))
            yield {"id": f"{identity}/{place}", "image": picture, **said, "target": target}
