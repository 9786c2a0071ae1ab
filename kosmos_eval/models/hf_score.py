"""Log-probabilities of continuations: each prompt read once, then all its continuations in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kosmos_eval.models.hf_engine import Engine, State
from kosmos_eval.models.hf_prompt import Branch, Encoded
from kosmos_eval.request import Likelihoods

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class _Sum:
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


@dataclass(frozen=True)
class Scoring:
    """A prompt and the branches that are scored after it."""

    prompt: Encoded
    branches: tuple[Branch, ...]


def score(engine: Engine, scorings: Sequence[Scoring], *, rows: int, after: State | None) -> list[Likelihoods]:
    """Score the branches of a batch of prompts, which follow ``after``, at most ``rows`` branches at a time."""
    state = engine.read([scoring.prompt for scoring in scorings], after=after)
    sums = [[_Sum() for _ in scoring.branches] for scoring in scorings]
    longer: list[tuple[int, Branch, _Sum]] = []
    for row, scoring in enumerate(scorings):
        for branch, total in zip(scoring.branches, sums[row], strict=True):
            if branch.start == 0:
                total.add(state.logits[row], branch.ids[:1])
            if len(branch.ids) > 1:
                longer.append((row, branch, total))
    longer.sort(key=lambda item: len(item[1].ids))
    for begin in range(0, len(longer), rows):
        part = longer[begin : begin + rows]
        after = engine.follow(
            state, [row for row, _, _ in part], [b.ids[:-1] for _, b, _ in part], keep=begin + rows < len(longer)
        )
        for logits, (_, branch, total) in zip(after.logits, part, strict=True):
            first = max(1, branch.start)
            total.add(logits[first - 1 : len(branch.ids) - 1], branch.ids[first:])
    return [
        Likelihoods(
            tuple(total.logprob for total in of_prompt),
            tuple(total.tokens for total in of_prompt),
            tuple(total.greedy for total in of_prompt),
        )
        for of_prompt in sums
    ]
