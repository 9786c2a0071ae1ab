"""Prompts and constraints in the format of an OpenAI-compatible server."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

from kosmos_eval.errors import ModelError
from kosmos_eval.files import Json
from kosmos_eval.prompt import Image, Prompt

Body = dict[str, Any]
"""The JSON object of a call."""

Url = Callable[[Image], str]
Constraint = Literal["text", "guided_choice", "structured_outputs", "regex", "grammar"]

CONSTRAINTS: dict[str, Callable[[Sequence[str]], Json]] = {
    "guided_choice": lambda choices: {"guided_choice": list(choices)},
    "structured_outputs": lambda choices: {"structured_outputs": {"choice": list(choices)}},
    "regex": lambda choices: {"regex": f"({'|'.join(map(re.escape, choices))})"},
    "grammar": lambda choices: {"grammar": f"root ::= {' | '.join(json.dumps(choice) for choice in choices)}"},
}
"""Fields that restrict an answer to given strings: vLLM before 0.12 and after, SGLang, llama.cpp."""


def listed(choices: Sequence[str]) -> str:
    r"""Return the instruction that lists the choices, for servers that cannot restrict an answer.

    >>> listed([" yes", " no"])
    '\nAnswer with one of these, word for word:\nyes\nno'
    """
    return "\n".join(["\nAnswer with one of these, word for word:", *(choice.strip() for choice in choices)])


def messages(prompt: Prompt, url: Url) -> list[Body]:
    """Return the prompt as one user message: plain text, or texts and images in reading order."""
    if not prompt.images:
        return [{"role": "user", "content": prompt.text()}]
    content: list[Body] = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": url(part)}}
        for part in prompt.parts
    ]
    return [{"role": "user", "content": content}]


def plain(prompt: Prompt) -> str:
    """Return the prompt as text.

    Raises:
        ModelError: if it has images.
    """
    if prompt.images:
        raise ModelError("/v1/completions takes text alone, but the prompt has images; use endpoint=chat")
    return prompt.text()


def data_url(image: Image) -> str:
    """Return an image as a data URL: its own bytes if every server decodes them alike, otherwise PNG.

    Transparency, palettes, other colour spaces and rotation by EXIF are what servers disagree about.

    Raises:
        BadImage: if it does not decode.
    """
    import PIL.Image

    pixels = image.pixels()
    encoded = image.encoded()
    with PIL.Image.open(io.BytesIO(encoded)) as opened:
        rotated = opened.getexif().get(0x0112, 1) != 1
        kept = opened.format in ("JPEG", "PNG") and opened.mode in ("RGB", "L") and "transparency" not in opened.info
        kind = str(opened.format).lower()
    if not kept or rotated:
        buffer = io.BytesIO()
        pixels.save(buffer, "PNG")
        encoded, kind = buffer.getvalue(), "png"
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}"
