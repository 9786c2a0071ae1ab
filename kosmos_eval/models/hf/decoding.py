"""Greedy and beam search and sampling, free or within a set of strings.

The beam search is transformers' (``early_stopping=False``): 2 K candidates a step, those that end are set aside with
log-probability / tokens ** length_penalty, and it stops when K are aside and the best running one is no better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kosmos_eval.models.decoding import drawn, stream
from kosmos_eval.models.hf.forward import Engine, State
from kosmos_eval.models.hf.prompts import Branch, Encoded, Wording
from kosmos_eval.request import Completion, Generate

if TYPE_CHECKING:
    from torch import Tensor


from typing import TYPE_CHECKING

from kosmos_eval.request import Likelihoods

if TYPE_CHECKING:
    from torch import Tensor

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Beam:
    """One sequence of a search: its tokens, their summed log-probability and the batch row it follows."""

    ids: Ids
    logprob: float
    row: int
    ended: bool = False


@dataclass
class Search:
    """The search for one request's text.

    Args:
        request: what is asked.
        prompt: its prompt as inputs.
        branches: the tokens of each choice, the end of text included; none if the text is free.
        wording: how tokens become text.
        ends: tokens that end a text.
    """

    request: Generate
    prompt: Encoded
    branches: tuple[Branch, ...]
    wording: Wording
    ends: frozenset[int]
    running: list[Beam] = field(default_factory=list)
    finished: list[tuple[float, Beam]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.limit = max((len(branch.ids) for branch in self.branches), default=self.request.max_tokens)
        self.allowed: dict[Ids, set[int]] = {}
        for branch in self.branches:
            for i, token in enumerate(branch.ids):
                self.allowed.setdefault(branch.ids[:i], set()).add(token)
        self._random = stream(self.request)

    def step(self, scores: Tensor) -> None:
        """Lengthen the running beams by a token, given the log-probabilities (R, V) of the batch's rows."""
        width = self.request.beams
        found = [candidate for beam in self.running for candidate in self._candidates(beam, scores[beam.row])]
        found.sort(key=lambda beam: -beam.logprob)
        self.running = []
        for rank, beam in enumerate(found[: self._kept]):
            full = len(beam.ids) >= self.limit
            if beam.ended or full:
                if rank < width:
                    self.finished.append((beam.logprob / len(beam.ids) ** self.request.length_penalty, beam))
            elif len(self.running) < width:
                self.running.append(beam)
        self.finished = sorted(self.finished, key=lambda item: -item[0])[:width]
        if len(self.finished) == width and (width == 1 or not self._can_improve()):
            self.running = []

    def completion(self) -> Completion:
        """The best text that was found."""
        _, best = self.finished[0]
        if self.request.choices is not None:
            chosen = next(i for i, branch in enumerate(self.branches) if branch.ids == best.ids)
            return Completion(self.request.choices[chosen], len(best.ids), True, best.logprob)
        text = self._text(best.ids)
        cut = min((at for stop in self.request.stop if (at := text.find(stop)) >= 0), default=len(text))
        return Completion(text[:cut], len(best.ids), best.ended, best.logprob)

    @property
    def _kept(self) -> int:
        return max(2, 1 + len(self.ends)) * self.request.beams

    def _candidates(self, beam: Beam, scores: Tensor) -> list[Beam]:
        import torch

        sampling = self.request.sampling
        if self.branches:
            among = torch.tensor(sorted(self.allowed[beam.ids]), device=scores.device)
            values, tokens = scores[among], among
        else:
            values, tokens = scores.topk(min(self._kept, len(scores)) if sampling is None else len(scores))
        if sampling is not None:
            place = drawn(values[None], [sampling], [self._random.random()])
            values, tokens = values[place], tokens[place]
        return [
            Beam(ids := (*beam.ids, token), beam.logprob + value, beam.row, self._ended(ids))
            for value, token in zip(values.tolist(), tokens.tolist(), strict=True)
        ]

    def _ended(self, ids: Ids) -> bool:
        if self.branches:
            return ids not in self.allowed
        return ids[-1] in self.ends or any(stop in self._text(ids) for stop in self.request.stop)

    def _text(self, ids: Ids) -> str:
        return self.wording.spoken(ids[:-1] if ids[-1] in self.ends else ids)

    def _can_improve(self) -> bool:
        best = max((beam.logprob / len(beam.ids) ** self.request.length_penalty for beam in self.running), default=None)
        return best is not None and best > self.finished[-1][0]


def generate(engine: Engine, searches: Sequence[Search], *, after: State | None) -> list[Completion]:
    """Run a batch of searches to their ends, ``after`` what all their prompts follow; finished ones leave it."""
    state = engine.read([search.prompt for search in searches], after=after)
    for row, search in enumerate(searches):
        search.running = [Beam((), 0.0, row)]
    while True:
        scores = state.logits[:, -1].float().log_softmax(-1)
        for search in searches:
            if search.running:
                search.step(scores)
        running = [beam for search in searches for beam in search.running]
        if not running:
            return [search.completion() for search in searches]
        state = engine.follow(state, [beam.row for beam in running], [beam.ids[-1:] for beam in running])
        rows = iter(range(len(running)))
        for search in searches:
            search.running = [Beam(beam.ids, beam.logprob, next(rows)) for beam in search.running]


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
