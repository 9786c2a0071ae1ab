"""The sizes of batches: a budget of sequences or of tokens, and the prefixes that are read once for several.

A prefix is cut before an image or after a line break, and only where the tokens of the prompt are those of both parts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kosmos_eval.errors import ModelError
from kosmos_eval.models.hf.decoding import Generation, Scoring
from kosmos_eval.models.hf.forward import Engine, State
from kosmos_eval.models.hf.prompts import Decode, PromptEncoder, SharedPrefix
from kosmos_eval.prompt import Image, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Job = Generation | Scoring

ROWS = 128
"""The most sequences where tokens are counted."""
KEPT = 16
"""So many times as many tokens may lie in the cache as are read at once."""
SHARERS = 3
"""A prefix is worth reading by itself where at least so many prompts have it."""
LETTERS = 200
"""Or at least so many letters, where it has no image."""
IMAGE = 1000
"""The letters that take about as long as an image."""


@dataclass(frozen=True)
class Budget:
    """The most that is computed at once.

    Args:
        rows: the most sequences.
        tokens: the most that are read at once, padding included; None for any number.
    """

    rows: int
    tokens: int | None = None

    def allows(self, rows: int, *, new: int, kept: int) -> bool:
        """True if it allows so many sequences, tokens that are read now, and tokens in the cache at the end."""
        return rows <= self.rows and (self.tokens is None or (new <= self.tokens and kept <= KEPT * self.tokens))

    def width(self, new: int, *, kept: int) -> int:
        """Return the most sequences of so many tokens each, one at least."""
        if self.tokens is None:
            return self.rows
        return max(1, min(self.rows, self.tokens // max(1, new), KEPT * self.tokens // max(1, kept)))

    def halved(self) -> Budget:
        """Return half of it, one at least."""
        return Budget(max(1, self.rows // 2), self.tokens and max(1, self.tokens // 2))


def budget(network: PreTrainedModel, *, batch_size: int | None, batch_tokens: int | str | None) -> Budget:
    """Return the budget that options name; without any, eight sequences.

    Raises:
        ModelError: if an option is invalid.
    """
    if batch_size is not None and batch_size < 1:
        raise ModelError(f"batch_size is {batch_size}; expected at least 1")
    if batch_tokens is None:
        return Budget(batch_size or 8)
    if batch_tokens != "auto" and (type(batch_tokens) is not int or batch_tokens < 1):
        raise ModelError(f"batch_tokens is {batch_tokens!r}; expected auto or a positive whole number")
    return Budget(batch_size or ROWS, _affordable(network) if batch_tokens == "auto" else int(batch_tokens))


def _affordable(network: PreTrainedModel) -> int:
    """Return the tokens that a processor's cache holds, or that a quarter of a GPU's free memory keeps."""
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


def kind(job: Job) -> tuple[str, ...]:
    """Return what the jobs of a batch must have in common: generation or scoring, and the same kinds of inputs."""
    return (type(job).__name__, *job.prompt.tokenwise, *job.prompt.pixels)


def fitting(jobs: Sequence[Job], allowed: Budget, *, before: int, even: bool) -> int:
    """Return how many of the first jobs make one batch: of one kind, within the budget.

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
        allows = allowed.allows(rows, new=(count + 1) * length, kept=rows * (before + length + more))
        if count and (not allows or uneven or kind(job) != kind(jobs[0])):
            return count
    return len(jobs)


def shared_prefixes(encoder: PromptEncoder, prompts: Sequence[Prompt]) -> list[SharedPrefix | None]:
    """Return for each prompt the prefix that it had best share with others; None where there is none."""
    own = [_possible_prefixes(encoder, prompt) for prompt in prompts]
    sharers = Counter(prefix for prefixes in own for prefix in prefixes)
    tried: dict[tuple[SharedPrefix, str], bool] = {}

    def saved(prefix: SharedPrefix) -> float:
        return (len(prefix.text) + IMAGE * len(prefix.images)) * (1 - 1 / sharers[prefix])

    found: list[SharedPrefix | None] = []
    for prompt, prefixes in zip(prompts, own, strict=True):
        worth = sorted((prefix for prefix in prefixes if sharers[prefix] >= SHARERS), key=saved, reverse=True)
        found.append(next((prefix for prefix in worth if _splits_tokens(encoder, prompt, prefix, tried)), None))
    return found


def _possible_prefixes(encoder: PromptEncoder, prompt: Prompt) -> list[SharedPrefix]:
    placeholder = encoder.renderer.placeholder
    try:
        text = encoder.renderer.text(prompt)
    except ModelError:
        return []  # its request fails with the reason
    places = {found.end() for found in re.finditer("\n", text)}
    if placeholder:
        places |= {found.start() for found in re.finditer(re.escape(placeholder), text)}
        places |= {len(text[:place].rstrip()) for place in places}  # an image may swallow the space before it
    found: list[SharedPrefix] = []
    for place in sorted(places - {0, len(text)}):
        images: tuple[Image, ...] = prompt.images[: text.count(placeholder, 0, place)] if placeholder else ()
        if images or place >= LETTERS:
            found.append(SharedPrefix(text[:place], images))
    return found


def _splits_tokens(
    encoder: PromptEncoder, prompt: Prompt, prefix: SharedPrefix, tried: dict[tuple[SharedPrefix, str], bool]
) -> bool:
    """True if prefix and rest have the tokens that the whole has."""
    renderer = encoder.renderer
    rest = renderer.text(prompt)[len(prefix.text) :]
    if (prefix, rest) not in tried:
        parts = renderer.tokenize(prefix.text).ids, renderer.tokenize(rest, first=False).ids
        tried[prefix, rest] = (*parts[0], *parts[1]) == renderer.tokenize(prefix.text + rest).ids
    return tried[prefix, rest]


def prefix_cache_is_exact(
    engine: Engine, encoder: PromptEncoder, prompt: Prompt, prefix: SharedPrefix, read: State, decode: Decode
) -> bool:
    """True if a model predicts the same after a prompt in two parts as after the whole; some drop later images.

    Args:
        engine: the model.
        encoder: of its prompts.
        prompt: one that begins with the prefix.
        prefix: the first part.
        read: the state after the prefix.
        decode: decodes an image.
    """
    import torch

    whole = engine.read([encoder.encode(prompt, decode)])
    try:
        parts = engine.read([encoder.encode(prompt, decode, prefix)], after=read)
    except (RuntimeError, TypeError, ValueError):
        return False  # its network does not continue a cache by a prompt
    apart = (whole.logits.float().log_softmax(-1) - parts.logits.float().log_softmax(-1)).abs().max()
    return bool(apart < (1e-3 if whole.logits.dtype == torch.float32 else 0.5))
