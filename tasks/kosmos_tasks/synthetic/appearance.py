"""Looks of things, in words: the synthetic splits of relative size, memory color and color terms.

What is asked on one side is not asked on the other: a pair of things, or a colored thing.
"""

from collections.abc import Iterator
from itertools import combinations

from kosmos_eval.source import Row
from kosmos_tasks.synthetic.opinions import words
from kosmos_tasks.synthetic.recipe import side

GROWING = words("grain ant bean spoon brick chicken goat piano tractor castle mountain")
"""From small to large."""
COLORED = {
    "black": "tar, a spider, a tire, a top hat, soot",
    "blue": "a blue whale, denim, a cornflower, a sapphire, a forget-me-not",
    "brown": "a chestnut, toast, a walnut, a log, a monk's robe, caramel",
    "green": "a cactus, a pickle, a fern, a grasshopper, an emerald, a kiwi's flesh",
    "grey": "a mouse, a hippo, lead, a rhino, a donkey's coat",
    "orange": "a tangerine, an apricot, a goldfish, a clownfish, a traffic cone",
    "pink": "a piglet, a peony, a shrimp, a tongue, a piggy bank",
    "purple": "an eggplant, a violet, an amethyst, a plum, an iris",
    "red": "ketchup, a stop sign, a chili, a raspberry, a fire truck, lipstick",
    "white": "a dove, sea foam, a wedding dress, a snowflake, cream, a sheet of paper",
    "yellow": "a canary, an egg yolk, a rubber duck, a taxi, a buttercup",
}


def sizes(split: str) -> Iterator[Row]:
    """Yield each pair of things that differ clearly in size, the larger one first."""
    for (small, first), (large, second) in combinations(enumerate(GROWING), 2):
        if large - small > 1 and side(("sizes", first, second)) == split:
            yield {"larger": second, "smaller": first}


def colors(split: str) -> Iterator[Row]:
    """Yield every second thing of each color."""
    for color, things in COLORED.items():
        for thing in things.split(", ")[split == "train" :: 2]:
            yield {"object": thing, "color": color}
