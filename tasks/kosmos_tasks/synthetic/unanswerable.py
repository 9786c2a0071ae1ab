"""Questions about scenes, of which one in five cannot be answered as the picture shows nothing (VizWiz)."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from kosmos_eval.source import Row
from kosmos_tasks.synthetic.recipe import Split, cell
from kosmos_tasks.synthetic.scene_questions import questions
from kosmos_tasks.synthetic.scenes import SIDE

SEED = 31
"""Other scenes than those of the visual questions."""


def rows(split: Split) -> Iterator[Row]:
    """Yield endless rows as of ``scene_questions``; every fifth picture is of one dark color, and nobody can tell."""
    from PIL import Image

    for place, row in enumerate(questions(split, seed=SEED)):
        if place % 5 < 4:
            yield row
            continue
        shade = tuple(Random(row["id"]).choices(range(64), k=3))
        nothing = {"image": cell(Image.new("RGB", (SIDE, SIDE), shade)), "image_id": f"nothing/{row['id']}"}
        yield row | nothing | {"answers": ["unanswerable"] * 10, "answer_type": "unanswerable"}
