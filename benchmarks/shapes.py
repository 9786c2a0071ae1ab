"""Questions about the colour of a shape in a picture of a photograph's size, with the same demonstrations for all."""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Any

COLOURS = ("red", "green", "blue", "yellow", "white", "black", "purple", "orange")
SHAPES = ("circle", "square", "triangle")


@dataclass(frozen=True)
class Shown:
    """A question with its answer; the picture is a JPEG of 640 x 480."""

    question: str
    answer: str
    picture: bytes


def sentences() -> list[str]:
    """Every question with every answer, what a tokenizer has to know."""
    return [f"Question: what color is the {shape}? Answer: {colour}\n" for shape, colour in product(SHAPES, COLOURS)]


def drawn(random: Random) -> Shown:
    """A shape somewhere on a grey ground."""
    import PIL.Image
    import PIL.ImageDraw

    colour, shape = random.choice(COLOURS), random.choice(SHAPES)
    image = PIL.Image.new("RGB", (640, 480), (random.randint(60, 200),) * 3)
    left, top, side = random.randint(40, 380), random.randint(40, 240), random.randint(80, 200)
    pen, box = PIL.ImageDraw.Draw(image), (left, top, left + side, top + side)
    if shape == "circle":
        pen.ellipse(box, fill=colour)
    elif shape == "square":
        pen.rectangle(box, fill=colour)
    else:
        pen.polygon([(left, top + side), (left + side, top + side), (left + side // 2, top)], fill=colour)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    return Shown(f"what color is the {shape}?", colour, buffer.getvalue())


def rows(count: int, shots: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Questions as a table: the prompt with ``<image>`` where a picture is, the pictures in order, the answer."""
    random = Random(seed)
    demonstrations = [drawn(random) for _ in range(shots)]
    found: list[dict[str, Any]] = []
    for number, asked in enumerate(drawn(random) for _ in range(count)):
        shown = [f"<image>Question: {one.question} Answer: {one.answer}\n" for one in demonstrations]
        found.append(
            {
                "id": str(number),
                "prompt": "".join([*shown, f"<image>Question: {asked.question} Answer:"]),
                "pictures": [*(one.picture for one in demonstrations), asked.picture],
                "answer": asked.answer,
            }
        )
    return found


def prompt(row: dict[str, Any]) -> Any:
    """A row's prompt as the harness has it."""
    from kosmos_eval.prompt import Image, Prompt

    texts = row["prompt"].split("<image>")
    parts = [part for text, picture in zip(texts[1:], row["pictures"], strict=True) for part in (Image(picture), text)]
    return Prompt(texts[0], *parts)
