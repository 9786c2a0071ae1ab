"""Lessons whose answers stand in the lesson itself: what an invented name means, what a page says.

Streams as in `kosmos_tasks.lessons.scenes`. What a name means can be told in words or shown; in words it is learned
sooner, and what looks it up then looks up pictures too: first the very same picture, then the same thing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from kosmos_eval.prompt import Image, Prompt
from kosmos_tasks import websrc
from kosmos_tasks.lessons.scenes import Lesson, asked, picture, vocabulary
from kosmos_tasks.synthetic import creatures as inventions
from kosmos_tasks.synthetic import new_words as naming
from kosmos_tasks.synthetic import pages as shop
from kosmos_tasks.synthetic.recipe import side
from kosmos_tasks.synthetic.scenes import COLORS

LONGEST = 16
"""The most times that a lesson asks for what was shown."""


def pairs(seed: int) -> Iterator[Lesson]:
    """Yield lessons of colors that stand for words: what follows each was seen before."""
    rng = random.Random(f"lessons/pairs/{seed}")
    while True:
        ways = rng.randint(2, 6)
        keys, values = rng.sample(sorted(COLORS), ways), rng.sample(vocabulary(), ways)
        order = [*range(ways), *rng.choices(range(ways), k=10)]
        yield _after(ways, [asked(keys[one], answer=values[one]) for one in order])


def colors(seed: int) -> Iterator[Lesson]:
    """Yield new things, each with its color right after it: the color can be seen where the picture ends."""
    for episode, order, _ in _episodes("colors", seed):
        met = zip(order, (view for _, view in episode.shown), strict=False)
        yield [asked(_sight(episode, one, view), answer=episode.things[one].color) for one, view in met]


def same(seed: int) -> Iterator[Lesson]:
    """Yield the same few pictures again and again, each with the word or name that stood by it."""
    for episode, order, rng in _episodes("same", seed):
        sights = [_sight(episode, thing, view) for thing, (_, view) in enumerate(episode.shown[: len(episode.things)])]
        values = _values(len(sights), rng)
        yield _after(len(sights), [asked(sights[one], answer=values[one]) for one in order])


def told(seed: int) -> Iterator[Lesson]:
    """Yield new things, shown or told by their color, each with the word or name that stood by it."""
    for episode, order, rng in _episodes("told", seed):
        values = _values(len(episode.things), rng)
        met = zip(order, (view for _, view in episode.shown), strict=False)
        seen = [(one, rng.choice((_sight(episode, one, view), episode.things[one].color))) for one, view in met]
        yield _after(len(values), [asked(key, answer=values[one]) for one, key in seen])


def new_words(seed: int) -> Iterator[Lesson]:
    """Yield new things with invented names, as the task has them; each name asked for was seen before."""
    for episode, order, _ in _episodes("new_words", seed):
        met = zip(order, (view for _, view in episode.shown), strict=False)
        seen = [asked(_sight(episode, one, view), answer=episode.names[one]) for one, view in met]
        yield _after(len(episode.things), seen)


def _episodes(name: str, seed: int) -> Iterator[tuple[naming.Episode, list[int], random.Random]]:
    """Yield episodes of two, or of a few, with the order in which their things are met."""
    rng = random.Random(f"lessons/{name}/{seed}")
    drawn = {ways: naming.episodes("train", seed, ways=ways) for ways in (2, 3, 4)}
    while True:
        ways = rng.choice((2, 2, 3, 4))
        yield next(drawn[ways])[1], _order(ways, rng), rng


def _order(ways: int, rng: random.Random) -> list[int]:
    """Return an order of each once, then any: no answer follows from the last ones."""
    return [*rng.sample(range(ways), ways), *rng.choices(range(ways), k=rng.randint(2, LONGEST - ways))]


def _values(number: int, rng: random.Random) -> list[str]:
    """Return different words that are known, or different names that are not."""
    if rng.random() < 0.5:
        return rng.sample(vocabulary(), number)
    names = (name for name in iter(lambda: naming.invent(rng), "") if side(name) == "train")
    values: dict[str, None] = {}
    while len(values) < number:
        values[next(names)] = None
    return list(values)


def _after(number: int, seen: Lesson) -> Lesson:
    """Return a lesson of which the first samples are only shown, in the prompt of the next one."""
    first = Prompt.join([*(sample.shown for sample in seen[:number]), seen[number].prompt], separator="\n")
    return [replace(seen[number], prompt=first), *seen[number + 1 :]]


def _sight(episode: naming.Episode, index: int, view: naming.View) -> Image:
    return picture(naming.draw(episode.things[index], view))


def creatures(seed: int) -> Iterator[Lesson]:
    """Yield two creatures described, then up to four pictures of them, each to be named."""
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
    """Yield questions about web pages, mostly with their text: one in four must be read."""
    rng = random.Random(f"lessons/pages/{seed}")
    for _, shown in shop.pages("train", seed):
        context = f" Context: {shown.text}" if rng.random() < 0.75 else ""
        opening = (picture(shop.render(shown)), f"{websrc.EXAMPLE}{context} ")
        yield [
            asked(*(() if place else opening), f"Q: {question} A:", answer=answer)
            for place, (question, answer) in enumerate(shop.questions(shown, rng))
        ]
