"""Lessons whose answers stand in the lesson itself: what an invented name means, what a page says.

Streams as in `kosmos_tasks.mini.lessons`. What a name means can be told in words or shown; in words it is learned
sooner, and what looks it up then looks up pictures too.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice

from kosmos_eval.prompt import Image, Prompt
from kosmos_tasks import websrc
from kosmos_tasks.mini import creatures as inventions
from kosmos_tasks.mini import new_words as naming
from kosmos_tasks.mini import pages as shop
from kosmos_tasks.mini.lessons import Lesson, asked, picture, vocabulary
from kosmos_tasks.mini.recipe import side
from kosmos_tasks.mini.scenes import COLORS, KINDS

ROUNDS = (2, 2, 3, 4, 6, 8)
"""How often an episode may show each of its things."""


def repeats(seed: int) -> Iterator[Lesson]:
    """Invented names in a row, and the same row again, from which copying is learned first."""
    rng = random.Random(f"lessons/repeats/{seed}")
    while True:
        row = " ".join(islice(_invented(rng), rng.randint(2, 10)))
        yield [asked(row, answer=row)]


def _invented(rng: random.Random) -> Iterator[str]:
    return (name for name in iter(lambda: naming.invent(rng), "") if side(name) == "train")


def pairs(seed: int) -> Iterator[Lesson]:
    """Words that stand for words: after the first round, what follows each is known."""
    rng = random.Random(f"lessons/pairs/{seed}")
    known = vocabulary()
    while True:
        keys = rng.sample(known, rng.randint(2, 8))
        values = {key: rng.choice(known) for key in keys}
        order = [key for _ in range(rng.choice((2, 3, 4))) for key in rng.sample(keys, len(keys))]
        seen = [asked(key, answer=values[key]) for key in order]
        yield _after(len(keys), seen)


def names(seed: int) -> Iterator[Lesson]:
    """Episodes of things that are told in words, of which only the name is new."""
    rng = random.Random(f"lessons/names/{seed}")
    kinds = [f"{color} {kind} " for color in COLORS for kind in KINDS]
    for _, episode in naming.episodes("train", seed, ways=2):
        told = rng.sample(kinds, len(episode.things))
        yield _naming(episode, rng, {(index, view): told[index] for index, view in episode.shown})


def new_words(seed: int) -> Iterator[Lesson]:
    """Episodes of new things with invented names; each answer asked for was shown before."""
    rng = random.Random(f"lessons/new_words/{seed}")
    for _, episode in naming.episodes("train", seed, ways=2):
        yield _naming(episode, rng, {})


def _naming(episode: naming.Episode, rng: random.Random, told: Mapping[tuple[int, naming.View], str]) -> Lesson:
    """The queries of an episode, the first one after a round of demonstrations; what is not told is drawn."""
    ways, rounds = len(episode.things), rng.choice(ROUNDS)
    order = [*episode.shown[: ways * rounds], episode.shown[-1]]
    seen = [asked(told.get(one) or _sight(episode, *one), "This is a", answer=episode.names[one[0]]) for one in order]
    return _after(ways, seen)


def _after(number: int, seen: Lesson) -> Lesson:
    """A lesson of which the first samples are only shown, in the prompt of the next one."""
    first = Prompt.join([*(sample.shown for sample in seen[:number]), seen[number].prompt], separator="\n")
    return [replace(seen[number], prompt=first), *seen[number + 1 :]]


def _sight(episode: naming.Episode, index: int, view: naming.View) -> Image:
    return picture(naming.draw(episode.things[index], view))


def creatures(seed: int) -> Iterator[Lesson]:
    """Two creatures described, then up to four pictures of them, each to be named."""
    rng = random.Random(f"lessons/creatures/{seed}")
    kind = inventions.KIND
    for _, pair in naming.episodes("train", seed, ways=2):
        named = list(zip(pair.names, pair.things, strict=True))
        said = " ".join(f"Description of {name} {kind}: {inventions.description(thing)}" for name, thing in named)
        question = f"Question:what is the name of the {kind} in the picture? Answer:"
        seen = rng.sample(pair.shown, rng.randint(1, 4))
        yield [
            asked(*[said] * (not place), _sight(pair, index, view), question, answer=f"{pair.names[index]} {kind}")
            for place, (index, view) in enumerate(seen)
        ]


def pages(seed: int) -> Iterator[Lesson]:
    """What web pages say, mostly with their text: one in four must be read."""
    rng = random.Random(f"lessons/pages/{seed}")
    for _, shown in shop.pages("train", seed):
        context = f" Context: {shown.text}" if rng.random() < 0.75 else ""
        opening = (picture(shop.render(shown)), f"{websrc.EXAMPLE}{context} ")
        yield [
            asked(*(() if place else opening), f"Q: {question} A:", answer=answer)
            for place, (question, answer) in enumerate(shop.questions(shown, rng))
        ]
