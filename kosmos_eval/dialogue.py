"""Multimodal dialogue: turns of text and images, asked one after the other (KOSMOS-1 figures 2 to 4).

The paper shows its dialogues as questions with answers, ``Question: ... Answer: ...``, each below the one before.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal

from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Generate, Sampling

Form = Literal["question", "plain"]
"""``question`` writes a turn as the paper does, images that begin it first; ``plain`` leaves it as it is said."""

PICTURE = re.compile(r'(?<!\S)@(?:"([^"]+)"|(\S+))')
"""The form in which a line names an image: ``@cat.jpg`` or ``@"my cat.jpg"``."""


@dataclass(frozen=True)
class Turn:
    """A line that was said, and the model's answer."""

    said: Prompt
    answer: str


def spoken(line: str, folder: Path = Path()) -> Prompt:
    """Return a line as a prompt, with the images that it names in their places.

    >>> spoken("What is 2 + 2?").text()
    'What is 2 + 2?'

    Args:
        line: text, in which ``@PATH`` or ``@"PATH"`` at the start of a word is an image.
        folder: what paths are relative to.

    Raises:
        KosmosEvalError: if there is no such file, or the line says nothing or is no Unicode.
    """
    if not _is_unicode(line):
        raise KosmosEvalError(f"{ascii(line)[:60]} is not UTF-8; give text in that encoding")
    parts: list[str | Image] = []
    end = 0
    for found in PICTURE.finditer(line):
        parts += [line[end : found.start()].strip(), _picture(folder, found[1] or found[2])]
        end = found.end()
    said = Prompt(*parts, line[end:].strip())
    if not said.parts:
        raise KosmosEvalError("nothing is said; expected text, or an image as @PATH")
    return said


def _picture(folder: Path, name: str) -> Image:
    try:
        path = folder / Path(name).expanduser()
        if path.is_file():
            return Image(path)
    except (OSError, RuntimeError, ValueError):  # too long a name, a user that is not there, a NUL
        pass
    raise KosmosEvalError(f"there is no image {name[:200]}; expected @PATH of a file, quoted if it has spaces")


def _is_unicode(line: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in line)


def written(said: Prompt, form: Form) -> Prompt:
    """A turn as the model reads it.

    >>> written(Prompt("What is it?"), "question").text()
    'Question: What is it? Answer:'
    """
    if form == "plain":
        return said
    shown = tuple(takewhile(lambda part: isinstance(part, Image), said.parts))
    rest = said.parts[len(shown) :]
    return Prompt(*shown, "Question: ", *rest, " Answer:") if rest else said


def asked(
    before: Sequence[Turn],
    said: Prompt,
    *,
    form: Form = "question",
    max_tokens: int = 64,
    sampling: Sampling | None = None,
) -> Generate:
    """The request that a turn makes after others: each turn with its answer on a line of its own."""
    lines = [Prompt(written(turn.said, form), f" {turn.answer}") for turn in before]
    prompt = Prompt.join([*lines, written(said, form)], separator="\n")
    return Generate(prompt, max_tokens=max_tokens, stop=("\n",), sampling=sampling)


def fitting(
    before: Sequence[Turn], request: Callable[[Sequence[Turn]], Generate], fits: Callable[[Generate], bool]
) -> tuple[Sequence[Turn], Generate]:
    """The latest turns that fit into the model's context together with the next, and the request after them.

    Raises:
        KosmosEvalError: if what is said does not fit even alone.
    """
    for first in range(len(before) + 1):
        made = request(before[first:])
        if fits(made):
            return before[first:], made
    raise KosmosEvalError("this turn alone is longer than the model's context; say less, or show fewer images")
