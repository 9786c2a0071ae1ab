"""Questions about scenes with ten answers each: the synthetic split of the visual question answering task (VQAv2)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from kosmos_eval.source import Row
from kosmos_tasks.synthetic.recipe import Split, cell
from kosmos_tasks.synthetic.scenes import COLORS, KINDS, Scene, Thing, draw, scenes

PER_SCENE = 3
LEAD = 2
"""An answer may be given so many times more often than the rarest answer of its question type."""

YES_NO = ("yes", "no")
ANSWERS: dict[str, Sequence[str]] = {
    "color": tuple(COLORS),
    "shape": KINDS,
    "size": ("small", "large"),
    "number": ("1", "2", "3", "4"),
    "number of a color": ("1", "2", "3"),
    "presence": YES_NO,
    "left or right": YES_NO,
    "above or below": YES_NO,
    "direction": ("left", "right", "above", "below"),
    "neighbor shape": KINDS,
    "neighbor color": tuple(COLORS),
    "same color": YES_NO,
    "same size": YES_NO,
}
"""The answers of each question type; the streams keep them level."""

VARIANTS = {
    "yes": ("yeah",), "small": ("little", "tiny"), "large": ("big", "big", "big"), "purple": ("violet", "violet"),
    "pink": ("rose",), "square": ("box",), "ring": ("donut",), "cross": ("plus", "plus"), "diamond": ("rhombus",),
    "1": ("one", "one"), "2": ("two", "two"), "3": ("three",), "4": ("four", "four"),
    "above": ("over",), "below": ("under",),
}  # fmt: skip
"""Answers that a few of the ten people give instead."""

BESIDE = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}
PHRASES = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}


@dataclass(frozen=True)
class Question:
    """A question of a type about a scene, with its main answer."""

    type: str
    text: str
    answer: str


def answers(main: str) -> list[str]:
    """Return ten human-like answers, at least seven of them the main one, so that it scores 1.0 by min(n / 3, 1)."""
    others = VARIANTS.get(main, ())
    return [main] * (10 - len(others)) + list(others)


def answer_type(main: str) -> str:
    """Return the official class of an answer: yes/no, number or other."""
    return "yes/no" if main in YES_NO else "number" if main.isdigit() else "other"


def name(thing: Thing) -> str:
    """Return the words that tell a thing from all others of its scene."""
    return f"the {thing.color} {thing.kind}"


def where(thing: Thing, other: Thing) -> str | None:
    """Return the side of another on which a thing stands, if they share a row or a column."""
    if thing.row == other.row:
        return "left" if thing.column < other.column else "right"
    if thing.column == other.column:
        return "above" if thing.row < other.row else "below"
    return None


def alone(scene: Scene, thing: Thing) -> bool:
    """Return whether no other thing of the scene is of the same kind."""
    return [other.kind for other in scene.things].count(thing.kind) == 1


def of_one(scene: Scene, thing: Thing) -> Iterator[Question]:
    """Yield questions about one thing and what stands beside it, never with a word of the question as their answer."""
    if alone(scene, thing):
        yield Question("color", f"What color is the {thing.kind}?", thing.color)
    if [other.color for other in scene.things].count(thing.color) == 1:
        yield Question("shape", f"What shape is the {thing.color} thing?", thing.kind)
    yield Question("size", f"Is {name(thing)} large or small?", thing.size)
    for direction, (dx, dy) in BESIDE.items():
        neighbor = scene.at(thing.column + dx, thing.row + dy)
        if neighbor and not scene.at(thing.column + 2 * dx, thing.row + 2 * dy):
            place = f"{PHRASES[direction]} {name(thing)}"
            if neighbor.kind != thing.kind:
                yield Question("neighbor shape", f"What shape is {place}?", neighbor.kind)
            if neighbor.color != thing.color:
                yield Question("neighbor color", f"What color is the thing {place}?", neighbor.color)


def of_two(scene: Scene, thing: Thing, other: Thing) -> Iterator[Question]:
    """Yield questions that compare two things."""
    direction = where(thing, other)
    if direction:
        yield Question("direction", f"Where is {name(thing)} relative to {name(other)}?", direction)
        horizontal = direction in ("left", "right")
        for asked in ("left", "right") if horizontal else ("above", "below"):
            text = f"Is {name(thing)} {PHRASES[asked]} {name(other)}?"
            kind = "left or right" if horizontal else "above or below"
            yield Question(kind, text, "yes" if asked == direction else "no")
    same = "yes" if thing.size == other.size else "no"
    yield Question("same size", f"Are {name(thing)} and {name(other)} the same size?", same)
    same = "yes" if thing.color == other.color else "no"
    if alone(scene, thing) and alone(scene, other):
        yield Question("same color", f"Are the {thing.kind} and the {other.kind} the same color?", same)


def of_all(scene: Scene, rng: random.Random) -> Iterator[Question]:
    """Yield questions about the whole scene; where it can, what is missing has its color and its kind in the scene."""
    looks = [(thing.color, thing.kind) for thing in scene.things]
    yield Question("number", "How many things are there?", str(len(looks)))
    for color, number in Counter(color for color, _ in looks).items():
        if str(number) in ANSWERS["number of a color"]:
            yield Question("number of a color", f"How many things are {color}?", str(number))
    mixed = [(color, kind) for color, _ in looks for _, kind in looks if (color, kind) not in looks]
    strange = [(color, kind) for color in COLORS for kind in KINDS if (color, kind) not in looks]
    for answer, (color, kind) in (("yes", rng.choice(looks)), ("no", rng.choice(mixed or strange))):
        article = "an" if color[0] in "aeiou" else "a"
        yield Question("presence", f"Is there {article} {color} {kind}?", answer)


def askable(scene: Scene, rng: random.Random) -> list[Question]:
    """Return all questions that a scene answers without doubt."""
    found = list(of_all(scene, rng))
    for thing in scene.things:
        found += of_one(scene, thing)
        found += (question for other in scene.things if other is not thing for question in of_two(scene, thing, other))
    return found


def fairest(found: list[Question], tally: Counter[tuple[str, str]], rng: random.Random) -> Question | None:
    """Return the question whose type was asked least, then whose answer was given least; None if all lead too far."""

    def rank(question: Question) -> tuple[int, int, float]:
        asked = sum(tally[question.type, answer] for answer in ANSWERS[question.type])
        return asked, tally[question.type, question.answer], rng.random()

    def level(question: Question) -> bool:
        rarest = min(tally[question.type, answer] for answer in ANSWERS[question.type])
        return tally[question.type, question.answer] < rarest + LEAD

    return min(filter(level, found), key=rank, default=None)


def questions(split: Split, count: int | None = None, seed: int = 0) -> Iterator[Row]:
    """Yield questions, up to three about a scene; endless without ``count``.

    Yields:
        ``id``, ``image``, ``image_id``, ``question``, ``answers`` (ten), ``answer_type``, ``question_type``.
    """
    return islice(_questions(split, seed), count)


def _questions(split: Split, seed: int) -> Iterator[Row]:
    tally: Counter[tuple[str, str]] = Counter()
    for identity, scene in scenes(split, seed):
        rng = random.Random(f"questions/{identity}")
        found, image = askable(scene, rng), None
        for index in range(PER_SCENE):
            question = fairest(found, tally, rng)
            if question is None:
                break
            found = [other for other in found if other.type != question.type]
            tally[question.type, question.answer] += 1
            image = image or cell(draw(scene))
            yield {
                "id": f"{identity}-{index}",
                "image": image,
                "image_id": identity,
                "question": question.text,
                "answers": answers(question.answer),
                "answer_type": answer_type(question.answer),
                "question_type": question.type,
            }
