"""Training data of kosmos-nano on matrices: panels in words, what is missing in words, and candidates that it judges.

A candidate tells nothing as long as nothing is known of what is missing, so that comes first; and half of the wrong
candidates differ in more than the puzzle's own do. Streams as in `kosmos_tasks.lessons.scenes`, of the recipe's
training side.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

from kosmos_eval.prompt import Prompt
from kosmos_eval.sample import Sample
from kosmos_tasks.lessons.scenes import Lesson, asked, picture
from kosmos_tasks.synthetic import matrices as raven

PLAIN = 0.8
"""The share of 2 x 2 matrices: they are shorter, and what is learned from them helps with the others."""
SHOWN = 3
"""Candidates of a lesson of candidates."""
REMEMBERED = 200
"""From how many right candidates before it a wrong one takes attributes: by itself it looks like a right one."""
CHANGES = (2, 3, 4, 4)
"""Attributes that it takes."""


def panels(seed: int) -> Iterator[Lesson]:
    """Yield panels described in words."""
    rng = random.Random(f"lessons/panels/{seed}")
    for _, puzzle in raven.puzzles("train", seed):
        for panel in rng.sample(puzzle.context, 2):
            yield [asked(picture(raven.draw(panel)), "An image of", answer=described(panel))]


def missing(seed: int) -> Iterator[Lesson]:
    """Yield puzzles: the missing panel in words."""
    for puzzle, opening in _puzzles(seed, random.Random(f"lessons/missing/{seed}")):
        yield [asked(opening, "The following image is", answer=described(_right(puzzle)))]


def candidates(seed: int) -> Iterator[Lesson]:
    """Yield puzzles: some of the candidates one after the other; the right one is among them three times in four."""
    rng = random.Random(f"lessons/matrices/{seed}")
    for puzzle, opening in _puzzles(seed, rng):
        right = _right(puzzle)
        shown = rng.sample([panel for panel in puzzle.candidates if panel != right], SHOWN)
        place = rng.randrange(SHOWN + 1)
        shown[place : place + 1] = [right] * (place < SHOWN)
        yield [_judged(*[opening] * (not turn), panel=panel, right=right) for turn, panel in enumerate(shown)]


def matrices(seed: int) -> Iterator[Lesson]:
    """Yield puzzles: the right candidate and a wrong one, a lesson each; every other wrong one is the puzzle's own."""
    rng = random.Random(f"lessons/matrices/{seed}")
    before: deque[raven.Panel] = deque(maxlen=REMEMBERED)
    for puzzle, opening in _puzzles(seed, rng):
        right = _right(puzzle)
        wrong = rng.choice([panel for panel in puzzle.candidates if panel != right])
        if before and rng.random() < 0.5 and (other := crossed(right, rng.choice(before), rng)) != right:
            wrong = other
        before.append(right)
        for panel in rng.sample((right, wrong), 2):
            yield [_judged(opening, panel=panel, right=right)]


def _puzzles(seed: int, rng: random.Random) -> Iterator[tuple[raven.Puzzle, Prompt]]:
    for _, puzzle in raven.puzzles("train", seed):
        if (puzzle.width == 2) == (rng.random() < PLAIN):
            yield puzzle, _opening(puzzle.context)


def _opening(context: Sequence[raven.Panel]) -> Prompt:
    shown = [picture(raven.draw(panel)) for panel in context]
    return Prompt(f"Here are {'three' if len(shown) == 3 else 'eight'} images:", *shown)


def _right(puzzle: raven.Puzzle) -> raven.Panel:
    return puzzle.candidates[puzzle.target]


def _judged(*opening: Prompt, panel: raven.Panel, right: raven.Panel) -> Sample:
    answer = "Yes" if panel == right else "No"
    return asked(*opening, "The following image is:", picture(raven.draw(panel)), "Is it correct?", answer=answer)


def crossed(panel: raven.Panel, other: raven.Panel, rng: random.Random) -> raven.Panel:
    """Return a panel of which some attributes are another's."""
    names = rng.sample([*asdict(panel)], rng.choice(CHANGES))
    return replace(panel, **{name: getattr(other, name) for name in names})


SIZES = ("", "tiny", "small", "large", "huge")
GREYS = ("white", "pale", "gray", "dark", "black")
CORNERS = ("top left", "top right", "bottom right", "bottom left")
NUMBERS = ("no", "one", "two", "three", "four")


def described(panel: raven.Panel) -> str:
    """Return a panel in words.

    >>> described(raven.Panel(shape=4, size=3, color=0, position=0b0101))
    'two large white star at top left and bottom right'
    """
    places = " and ".join(name for bit, name in enumerate(CORNERS) if panel.position >> bit & 1)
    return f"{NUMBERS[panel.number]} {SIZES[panel.size]} {GREYS[panel.color]} {raven.SHAPES[panel.shape]} at {places}"
