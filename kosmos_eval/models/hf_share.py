"""What prompts begin with in common, found in their text, so that demonstrations are read once for all samples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from kosmos_eval.errors import ModelError
from kosmos_eval.models.hf_engine import Engine, State
from kosmos_eval.models.hf_prompt import Decode, Head, Reader
from kosmos_eval.prompt import Image, Prompt

SHARERS = 3
"""A beginning is worth to be read by itself where at least so many prompts have it."""
LETTERS = 200
"""Or at least so many letters, where it has no image."""
IMAGE = 1000
"""The letters that take about as long as an image."""


def heads(reader: Reader, prompts: Sequence[Prompt]) -> list[Head | None]:
    """For each prompt the beginning that it had best share with others; None where there is none.

    A prompt is cut before an image or after a line break, and only where its tokens are those of both parts.
    """
    cuts = [_cuts(reader, prompt) for prompt in prompts]
    sharers = Counter(head for own in cuts for head in own)
    tried: dict[tuple[Head, str], bool] = {}

    def saved(head: Head) -> float:
        return (len(head.text) + IMAGE * len(head.images)) * (1 - 1 / sharers[head])

    found: list[Head | None] = []
    for prompt, own in zip(prompts, cuts, strict=True):
        worth = sorted((head for head in own if sharers[head] >= SHARERS), key=saved, reverse=True)
        found.append(next((head for head in worth if _exact(reader, prompt, head, tried)), None))
    return found


def agree(engine: Engine, reader: Reader, prompt: Prompt, head: Head, opened: State | None, decode: Decode) -> bool:
    """Whether a model says the same after a prompt read in two parts as after the whole; some drop later images."""
    import torch

    whole = engine.read([reader.encoded(prompt, decode)])
    try:
        parts = engine.read([reader.encoded(prompt, decode, head)], after=opened)
    except (RuntimeError, TypeError, ValueError):
        return False  # its network does not continue a cache by a prompt
    apart = (whole.logits.float().log_softmax(-1) - parts.logits.float().log_softmax(-1)).abs().max()
    return bool(apart < (1e-3 if whole.logits.dtype == torch.float32 else 0.5))


def _cuts(reader: Reader, prompt: Prompt) -> list[Head]:
    placeholder = reader.wording.placeholder
    try:
        text = reader.wording.text(prompt)
    except ModelError:
        return []  # asked, it fails by name
    places = {found.end() for found in re.finditer("\n", text)}
    if placeholder:
        places |= {found.start() for found in re.finditer(re.escape(placeholder), text)}
        places |= {len(text[:place].rstrip()) for place in places}  # an image may swallow the space before it
    found: list[Head] = []
    for place in sorted(places - {0, len(text)}):
        images: tuple[Image, ...] = prompt.images[: text.count(placeholder, 0, place)] if placeholder else ()
        if images or place >= LETTERS:
            found.append(Head(text[:place], images))
    return found


def _exact(reader: Reader, prompt: Prompt, head: Head, tried: dict[tuple[Head, str], bool]) -> bool:
    """Whether head and rest have the tokens that the whole has."""
    rest = reader.wording.text(prompt)[len(head.text) :]
    if (head, rest) not in tried:
        parts = reader.wording.tokens(head.text).ids, reader.wording.tokens(rest, first=False).ids
        tried[head, rest] = (*parts[0], *parts[1]) == reader.wording.tokens(head.text + rest).ids
    return tried[head, rest]
