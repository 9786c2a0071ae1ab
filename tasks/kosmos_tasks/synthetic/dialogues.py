"""Dialogues about scenes: the synthetic split of the dialogue task."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

from kosmos_eval.source import Row
from kosmos_tasks.synthetic.recipe import Split, cell
from kosmos_tasks.synthetic.scene_questions import Question, askable, fairest
from kosmos_tasks.synthetic.scenes import draw, scenes


def dialogues(split: Split, seed: int = 0, *, turns: int) -> Iterator[Row]:
    """Yield scenes with ``turns`` questions of different types: ``id``, ``image``, ``questions``, ``answers``."""
    tally: Counter[tuple[str, str]] = Counter()
    for identity, scene in scenes(split, seed):
        rng = random.Random(f"dialogues/{identity}")
        found = askable(scene, rng)
        chosen: list[Question] = []
        while len(chosen) < turns and (question := fairest(found, tally, rng)) is not None:
            found = [other for other in found if other.type != question.type]
            tally[question.type, question.answer] += 1
            chosen.append(question)
        if len(chosen) == turns:
            yield {
                "id": identity,
                "image": cell(draw(scene)),
                "questions": [question.text for question in chosen],
                "answers": [question.answer for question in chosen],
            }
