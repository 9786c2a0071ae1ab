"""Instructions in words alone about the synthetic world: an instruction, an input and an output (KOSMOS-1 section 3.3).

The inputs are opinions and descriptions of scenes of the training sides. Most inputs could be asked several things, so
what is wanted stands in the instruction only. ``(seed) -> lessons`` of one sample each, without end.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from kosmos_eval.prompt import Prompt
from kosmos_eval.sample import Sample
from kosmos_tasks.synthetic import opinions, scene_captions, scene_questions
from kosmos_tasks.synthetic.opinions import Opinion
from kosmos_tasks.synthetic.scenes import Scene, scenes

Told = tuple[str, str]
"""An input and its output."""

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def sentiment(opinion: Opinion, rng: random.Random) -> Told:
    """Return the sentiment of an opinion, positive or negative."""
    return opinion.text, ("negative", "positive")[opinion.label]


def first_word(opinion: Opinion, rng: random.Random) -> Told:
    """Return the first word of a text."""
    return opinion.text, opinion.text.split()[0]


def last_word(opinion: Opinion, rng: random.Random) -> Told:
    """Return the last word of a text."""
    return opinion.text, opinion.text.split()[-1]


def copy(opinion: Opinion, rng: random.Random) -> Told:
    """Return a text as it is."""
    return opinion.text, opinion.text


def length(opinion: Opinion, rng: random.Random) -> Told:
    """Return the number of words of a text."""
    return opinion.text, NUMBERS[len(opinion.text.split())]


def answer(scene: Scene, rng: random.Random) -> Told:
    """Return a question about a description and its answer."""
    question = rng.choice(scene_questions.askable(scene, rng))
    return f"{_plain(scene)}. {question.text}", question.answer


def colors(scene: Scene, rng: random.Random) -> Told:
    """Return the colors of a description, in its order."""
    return _plain(scene), " ".join(_in_order(scene, [thing.color for thing in scene.things]))


def shapes(scene: Scene, rng: random.Random) -> Told:
    """Return the shapes of a description, in its order."""
    return _plain(scene), " ".join(_in_order(scene, [thing.kind for thing in scene.things]))


def number(scene: Scene, rng: random.Random) -> Told:
    """Return the number of things of a description."""
    return _plain(scene), NUMBERS[len(scene.things)]


def caption(scene: Scene, rng: random.Random) -> Told:
    """Return a description in other words."""
    plain, *others = scene_captions.references(scene, rng)
    return plain, rng.choice(others)


def _plain(scene: Scene) -> str:
    pattern = scene_captions.PATTERNS[scene.columns, scene.rows, len(scene.things)][0]
    return scene_captions.caption(scene, pattern, sized=True)


def _in_order(scene: Scene, words: list[str]) -> list[str]:
    """Return the words as they stand in the plain description."""
    known = set(words)
    return [word for word in _plain(scene).split() if word.strip(",") in known]


OF_OPINIONS: dict[Callable[[Opinion, random.Random], Told], tuple[str, ...]] = {
    sentiment: ("Say whether the opinion is positive or negative.", "What is the sentiment of this text?"),
    first_word: ("Write the first word of the text.", "What is the first word?"),
    last_word: ("Write the last word of the text.", "What is the last word?"),
    copy: ("Write the text again.", "Say the same."),
    length: ("How many words are in the text?", "Say the number of words."),
}
OF_SCENES: dict[Callable[[Scene, random.Random], Told], tuple[str, ...]] = {
    answer: ("Look at the text and answer the question.", "Answer the question about the description."),
    colors: ("Write the colors in the text.", "What colors are in the description?"),
    shapes: ("Write the shapes in the text.", "What shapes are in the description?"),
    number: ("How many things are in the text?", "Say the number of things in the description."),
    caption: ("Say the same in other words.", "Write the description in another way."),
}
"""A function of the answer, and the ways to ask for it."""


def triplets(seed: int) -> Iterator[tuple[str, str, str]]:
    """Yield instructions, inputs and outputs, from opinions and scenes in turn."""
    rng = random.Random(f"instructions/{seed}")
    texts, pictures = opinions.opinions("train", seed), scenes("train", seed)
    while True:
        wanted, asked = rng.choice(list(OF_OPINIONS.items()))
        yield rng.choice(asked), *wanted(next(texts)[1], rng)
        of_scene, asked = rng.choice(list(OF_SCENES.items()))
        yield rng.choice(asked), *of_scene(next(pictures)[1], rng)


def instructions(seed: int) -> Iterator[list[Sample]]:
    """Yield the triplets as lessons of one sample."""
    for instruction, given, output in triplets(seed):
        yield [Sample("", Prompt(f"{instruction} {given} Answer:"), target=output)]
