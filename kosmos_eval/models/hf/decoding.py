"""Texts that are searched for, and strings that are scored, after a batch of prompts.

Shapes: R rows of the batch, S tokens of a row, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kosmos_eval.models.decoding import Search, Trie, candidates
from kosmos_eval.models.hf.forward import Engine, State
from kosmos_eval.models.hf.prompts import Continuation, Encoded, PromptRenderer
from kosmos_eval.request import Completion, Generate, Likelihoods

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Generation:
    """A prompt and the text that is searched for after it.

    Args:
        request: what is asked.
        prompt: its prompt as inputs.
        choices: the trie of its choices, if it has any.
    """

    request: Generate
    prompt: Encoded
    choices: Trie | None = None

    @property
    def limit(self) -> int:
        """The most tokens that the text has."""
        return self.choices.depth if self.choices else self.request.max_tokens


@dataclass(frozen=True)
class Scoring:
    """A prompt and the continuations that are scored after it."""

    prompt: Encoded
    continuations: tuple[Continuation, ...]


def generate(
    engine: Engine, jobs: Sequence[Generation], *, renderer: PromptRenderer, ends: Collection[int], after: State | None
) -> list[Completion]:
    """Search for the texts of a batch of prompts; a search that is over leaves the batch.

    Args:
        engine: reads prompts and tokens.
        jobs: the batch.
        renderer: decodes tokens.
        ends: the tokens that end a text.
        after: a state that all the prompts follow.
    """
    state = engine.read([job.prompt for job in jobs], after=after)
    searches = [Search(job.request, decode=renderer.decode, ends=ends, choices=job.choices) for job in jobs]
    rows = {search: [row] for row, search in enumerate(searches)}
    while continued := _advance(state.logits[:, -1].float().contiguous(), rows):
        tokens = [beam.tokens[-1:] for search in continued for beam in search.beams]
        state = engine.follow(state, [row for each in continued.values() for row in each], tokens)
        numbers = iter(range(len(tokens)))
        rows = {search: [next(numbers) for _ in search.beams] for search in continued}
    return [search.completion() for search in searches]


def _advance(logits: Tensor, rows: Mapping[Search, Sequence[int]]) -> dict[Search, list[int]]:
    """Take a step of each search.

    Args:
        logits: (R, V) after each row of the batch, which are used up.
        rows: of each search the row of each of its beams.

    Returns:
        For each search that goes on the row that each of its new beams continues.
    """
    import torch

    continued: dict[Search, list[int]] = {}
    for width in {search.request.beams for search in rows}:
        group = [search for search in rows if search.request.beams == width]
        place = [row for search in group for row in (*rows[search], *[0] * (width - len(rows[search])))]
        with torch.inference_mode():
            table = logits if place == list(range(len(logits))) else logits[torch.tensor(place, device=logits.device)]
            found = candidates(table.view(len(group), width, -1), group)
        for search, best in zip(group, found, strict=True):
            continued[search] = [rows[search][parent] for parent in search.advance(best)]
    return {search: continued[search] for search in rows if continued[search]}


def score(engine: Engine, jobs: Sequence[Scoring], *, rows: int, after: State | None) -> list[Likelihoods]:
    """Score the continuations of a batch of prompts, which follow ``after``, at most ``rows`` of them at a time."""
    state = engine.read([job.prompt for job in jobs], after=after)
    sums = [[_Sum() for _ in job.continuations] for job in jobs]
    longer: list[tuple[int, Continuation, _Sum]] = []
    for row, job in enumerate(jobs):
        for continuation, total in zip(job.continuations, sums[row], strict=True):
            if continuation.start == 0:
                total.add(state.logits[row], continuation.ids[:1])
            if len(continuation.ids) > 1:
                longer.append((row, continuation, total))
    longer.sort(key=lambda item: len(item[1].ids))
    for begin in range(0, len(longer), rows):
        part = longer[begin : begin + rows]
        texts = [continuation.ids[:-1] for _, continuation, _ in part]
        reached = engine.follow(state, [row for row, _, _ in part], texts, keep=begin + rows < len(longer))
        for logits, (_, continuation, total) in zip(reached.logits, part, strict=True):
            first = max(1, continuation.start)
            total.add(logits[first - 1 : len(continuation.ids) - 1], continuation.ids[first:])
    return [
        Likelihoods(
            tuple(total.logprob for total in of_prompt),
            tuple(total.tokens for total in of_prompt),
            tuple(total.greedy for total in of_prompt),
        )
        for of_prompt in sums
    ]


@dataclass
class _Sum:
    """The score of a continuation as far as its tokens have been added."""

    logprob: float = 0.0
    tokens: int = 0
    greedy: bool = True

    def add(self, logits: Tensor, tokens: Sequence[int]) -> None:
        """Add tokens, given the logits (S, V) that predict them."""
        import torch

        scores = logits.float().log_softmax(-1)
        said = scores.gather(1, torch.tensor(tokens, device=scores.device)[:, None])[:, 0]
        self.logprob += float(said.sum())
        self.tokens += len(tokens)
        self.greedy = self.greedy and bool((said >= scores.amax(-1)).all())
