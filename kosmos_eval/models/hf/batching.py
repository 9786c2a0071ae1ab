"""How much a transformers model computes at once: a number of sequences, or of tokens."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kosmos_eval.errors import ModelError
from kosmos_eval.models.hf.decoding import Generation, Scoring
from kosmos_eval.models.hf.forward import Engine, State
from kosmos_eval.models.hf.prompts import Decode, Head, Reader
from kosmos_eval.prompt import Image, Prompt

Job = Generation | Scoring

ROWS = 128
"""The most sequences where tokens are counted."""
KEPT = 16
"""So many times as many tokens may lie in the cache as are read at once."""


@dataclass(frozen=True)
class Budget:
    """What is computed at once.

    Args:
        rows: the most sequences.
        tokens: the most that are read at once, padding included; None for any number.
    """

    rows: int
    tokens: int | None = None

    def holds(self, rows: int, *, new: int, kept: int) -> bool:
        """Whether it allows so many sequences, tokens that are read now, and tokens in the cache at the end."""
        return rows <= self.rows and (self.tokens is None or (new <= self.tokens and kept <= KEPT * self.tokens))

    def width(self, new: int, *, kept: int) -> int:
        """The most sequences of so many tokens each, one at least."""
        if self.tokens is None:
            return self.rows
        return max(1, min(self.rows, self.tokens // max(1, new), KEPT * self.tokens // max(1, kept)))

    def halved(self) -> Budget:
        """Half of it, one at least."""
        return Budget(max(1, self.rows // 2), self.tokens and max(1, self.tokens // 2))


def budget(network: Any, *, batch_size: int | None, batch_tokens: int | str | None) -> Budget:
    """The budget that options name; without any, eight sequences.

    Raises:
        ModelError: if an option cannot be.
    """
    if batch_size is not None and batch_size < 1:
        raise ModelError(f"batch_size is {batch_size}; expected at least 1")
    if batch_tokens is None:
        return Budget(batch_size or 8)
    if batch_tokens != "auto" and (type(batch_tokens) is not int or batch_tokens < 1):
        raise ModelError(f"batch_tokens is {batch_tokens!r}; expected auto or a positive whole number")
    return Budget(batch_size or ROWS, _afforded(network) if batch_tokens == "auto" else int(batch_tokens))


def _afforded(network: Any) -> int:
    """What a processor's cache holds, or what a quarter of a GPU's free memory keeps."""
    import torch

    weight = next(network.parameters())
    if weight.device.type != "cuda":
        return 2048
    config = network.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    size = weight.element_size() if weight.is_floating_point() else 2  # quantised weights keep 16 bits in the cache
    free, _ = torch.cuda.mem_get_info(weight.device)
    return max(2048, min(1 << 16, int(free // 4 // (KEPT * 2 * config.num_hidden_layers * heads * width * size))))


def inputs(job: Job) -> tuple[str, ...]:
    """The kinds of inputs that a job's prompt has."""
    return (*job.prompt.tokenwise, *job.prompt.pixels)


def fitting(jobs: Sequence[Job], allowed: Budget, *, before: int, even: bool) -> int:
    """How many of the first jobs make one batch: the same kinds of inputs, within the budget.

    Args:
        jobs: in order, the shortest first.
        allowed: the budget.
        before: tokens in the cache that all of them follow.
        even: whether all must be as long, since padding would stand between what was read before and them.
    """
    rows = more = 0
    for count, job in enumerate(jobs):
        length = len(job.prompt.ids)
        rows += job.request.beams if isinstance(job, Generation) else 1
        more = max(more, job.limit if isinstance(job, Generation) else 0)
        uneven = even and length != len(jobs[0].prompt.ids)
        held = allowed.holds(rows, new=(count + 1) * length, kept=rows * (before + length + more))
        if count and (not held or uneven or inputs(job) != inputs(jobs[0])):
            return count
    return len(jobs)


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
