"""The search for a text that every local model uses: greedy, at random, by beams, free or among given strings.

`Generate` says what is searched for. A step takes 2 K candidates (more where several tokens end a text): those that end
a text and are among the first K are finished, and the first K of the others run on. At the longest length running texts
count as they stand. K = 1 is greedy decoding, or takes what was drawn.

Shapes: B searches, K beams of each, V vocabulary, C candidates, N some searches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kosmos_eval.request import Completion, Generate, Sampling, cut

if TYPE_CHECKING:
    from torch import Tensor

Ints = NDArray[np.int64]
Candidate = tuple[float, int, int]
"""Summed log-probability, the beam that is continued, and the token that continues it."""


@dataclass(frozen=True)
class Trie:
    """Strings as a trie of tokens, each ended by the end of text, so that "pig" and "piggy bank" can both be reached.

    Args:
        children: of each node, the next by token; the root is node 0.
        allowed: of each node, the tokens that may follow, the end of text included where a string is complete.
        texts: the string that is complete at a node.
        depth: tokens of the longest string, its end included.
    """

    children: tuple[dict[int, int], ...]
    allowed: tuple[Ints, ...]
    texts: dict[int, str]
    depth: int

    @classmethod
    def of(cls, strings: Iterable[tuple[str, Sequence[int]]], *, end: int) -> Trie:
        """Build the trie of strings with their tokens; of several with the same tokens the first is found."""
        children: list[dict[int, int]] = [{}]
        texts: dict[int, str] = {}
        depth = 0
        for text, tokens in strings:
            node = 0
            for token in tokens:
                if token not in children[node]:
                    children[node][token] = len(children)
                    children.append({})
                node = children[node][token]
            texts.setdefault(node, text)
            depth = max(depth, len(tokens) + 1)
        allowed = (np.array([*below, *[end] * (node in texts)]) for node, below in enumerate(children))
        return cls(tuple(children), tuple(allowed), texts, depth)


@dataclass(frozen=True)
class Beam:
    """A running text: its tokens, their summed log-probability and its node in the trie of choices."""

    tokens: tuple[int, ...] = ()
    logprob: float = 0.0
    node: int = 0


class Search:
    """The search for the text of one request; it knows no model.

    Args:
        request: what is asked; ``max_tokens`` does not cut a choice short.
        decode: the text of tokens.
        ends: the tokens that end a text where there are no choices.
        choices: the trie of ``request.choices``, where it has any.
    """

    def __init__(
        self,
        request: Generate,
        *,
        decode: Callable[[Sequence[int]], str],
        ends: Collection[int],
        choices: Trie | None = None,
    ) -> None:
        self.request, self.choices = request, choices
        self.beams = [Beam()]
        self.limit = choices.depth if choices else request.max_tokens
        self.random = stream(request) if request.sampling else None
        self._decode, self._ends = decode, ends
        self._finished: list[tuple[float, Completion]] = []
        last = frozenset(stop[-1] for stop in request.stop if stop and not choices)
        self._last = last | {"\ufffd"} if last else last  # half a letter may become the end of one
        self._may_stop: dict[int, bool] = {}

    @property
    def candidates(self) -> int:
        """The number of candidates that a step needs; a greedy step needs the best alone."""
        return max(2, 1 + len(self._ends)) * self.request.beams if self.request.beams > 1 else 1

    def allowed(self) -> list[Ints] | None:
        """Return the tokens that may follow each beam, or None where all may."""
        return [self.choices.allowed[beam.node] for beam in self.beams] if self.choices else None

    def advance(self, candidates: Sequence[Candidate]) -> list[int]:
        """Take a step.

        Args:
            candidates: the best first; minus infinity is forbidden.

        Returns:
            For each new beam the one it continues; empty when the search is over.
        """
        width = self.request.beams
        running: list[Beam] = []
        parents: list[int] = []
        for rank, (logprob, parent, token) in enumerate(candidates):
            if logprob == -math.inf or len(running) == width:
                break
            beam = self.beams[parent]
            follows = self.choices.children[beam.node] if self.choices else {}
            ended = token not in follows if self.choices else token in self._ends
            longer = Beam((*beam.tokens, token), logprob, follows.get(token, 0))
            text = self._text(beam) if ended else self._stopped(longer)
            if text is None:
                running.append(longer)
                parents.append(parent)
            elif rank < width:
                self._finish(longer, text, finished=True)
        if not running or len(running[0].tokens) >= self.limit:
            for beam in running:
                self._finish(beam, self._text(beam), finished=False)
            return []
        if self._decided(running[0]):
            return []
        self.beams = running
        return parents

    def completion(self) -> Completion:
        """Return the best text, once the search is over."""
        return max(self._finished, key=lambda scored: scored[0])[1]

    def _decided(self, best: Beam) -> bool:
        """True if the running texts, of which one is the best, need not be followed."""
        width, length = self.request.beams, len(best.tokens)
        if self.choices and width > 1:
            # log-probabilities only fall, so the best score is reached at the next length or at the longest
            attainable = max(self._score(best, length + 1), self._score(best, self.limit))
            return bool(self._finished) and max(score for score, _ in self._finished) >= attainable
        if len(self._finished) < width:
            return False
        if width == 1 or self.request.early_stopping:
            return True
        return sorted(score for score, _ in self._finished)[-width] >= self._score(best, length)

    def _score(self, beam: Beam, length: int) -> float:
        return beam.logprob / math.pow(length, self.request.length_penalty)

    def _text(self, beam: Beam) -> str:
        if self.choices:
            return self.choices.texts.get(beam.node, "")
        return cut(self._decode(beam.tokens), self.request.stop)[0]

    def _stopped(self, beam: Beam) -> str | None:
        """Return the text before the first stop string, if there is one.

        Only a token with the last letter of a stop string can complete it, so only then is the text decoded.
        """
        token = beam.tokens[-1]
        if not self._last:
            return None
        if token not in self._may_stop:
            self._may_stop[token] = not self._last.isdisjoint(self._decode([token, token]))
        if not self._may_stop[token]:
            return None
        text, stopped = cut(self._decode(beam.tokens), self.request.stop)
        return text if stopped else None

    def _finish(self, beam: Beam, text: str, *, finished: bool) -> None:
        completion = Completion(text, len(beam.tokens), finished, beam.logprob)
        self._finished.append((self._score(beam, len(beam.tokens)), completion))


def candidates(
    logits: Tensor, searches: Sequence[Search | None], *, forbidden: Tensor | None = None
) -> list[list[Candidate]]:
    """Return the C best candidates of each search, or the one that it draws.

    Args:
        logits: (B, K, V) after the beams of each search, which are used up; what follows the last beam is ignored.
        searches: B of them, of the same width; what is returned for None is of no use.
        forbidden: ids that no text has; they count in what is normalised.
    """
    import torch

    rows, width, size = logits.shape
    sums = np.full((rows, width), -np.inf, dtype=np.float32)
    for row, search in enumerate(searches):
        if search:
            sums[row, : len(search.beams)] = [beam.logprob for beam in search.beams]
    before = torch.from_numpy(sums).to(logits.device) - logits.logsumexp(-1)  # (B, K)
    if forbidden is not None:
        logits.index_fill_(-1, forbidden, -torch.inf)
    _restrict(logits, searches)
    count = min(max(search.candidates for search in searches if search), size)
    value, token = logits.topk(count, dim=-1) if count > 1 else logits.max(-1, keepdim=True)  # (B, K, C)
    sampled = [(row, search) for row, search in enumerate(searches) if search and search.random]
    if sampled:
        place = torch.tensor([row for row, _ in sampled], device=logits.device)
        rules = [search.request.sampling for _, search in sampled if search.request.sampling]
        numbers = [search.random.random() for _, search in sampled if search.random]
        token[place, 0, 0] = drawn(logits[place, 0], rules, numbers)
        value = logits.gather(-1, token)
    value = value + before[..., None]
    if count > 1:
        value, place = value.flatten(1).topk(count, dim=-1)  # (B, C)
        token, beam = token.flatten(1).gather(1, place), place // count
        columns = zip(value.tolist(), beam.tolist(), token.tolist(), strict=True)
        return [list(zip(*each, strict=True)) for each in columns]
    return [[(a, 0, b)] for a, b in zip(value[:, 0, 0].tolist(), token[:, 0, 0].tolist(), strict=True)]


def _restrict(logits: Tensor, searches: Sequence[Search | None]) -> None:
    """Forbid in (B, K, V) what leads to none of a search's choices."""
    import torch

    width, size = logits.shape[1:]
    places: list[Ints] = []
    bound: list[int] = []
    for row, search in enumerate(searches):
        if search and search.choices:
            bound.append(row)
            places += [tokens + (row * width + beam) * size for beam, tokens in enumerate(search.allowed() or ())]
    if bound:
        place = torch.from_numpy(np.concatenate(places)).to(logits.device)
        kept = logits.flatten()[place]
        logits[torch.tensor(bound, device=logits.device)] = -torch.inf
        logits.view(-1)[place] = kept


def stream(request: Generate) -> Random:
    """Return the random numbers of a request's text: they follow from seed and prompt alone."""
    seed = request.sampling.seed if request.sampling else 0
    return Random(f"{seed}/{request.prompt.digest}")


def drawn(logits: Tensor, sampling: Sequence[Sampling], uniform: Sequence[float]) -> Tensor:
    """Draw a token for each search, from a stream of its own, so that it is the same whatever else is in the batch.

    Args:
        logits: (N, V), minus infinity for what may not be drawn.
        sampling: how each is drawn.
        uniform: (N,) a random number from 0 up to 1 for each; the more probable a token, the smaller the numbers
            that draw it.

    Returns:
        (N,)
    """
    import torch

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=logits.device)[:, None]

    scaled = logits.double() / column([one.temperature for one in sampling])
    share, token = scaled.softmax(-1).sort(descending=True, stable=True)  # (N, V)
    before = share.cumsum(-1) - share
    share = share.masked_fill(before >= column([one.top_p for one in sampling]), 0.0)
    reached = share.cumsum(-1)
    place = (reached <= reached[:, -1:] * column(uniform)).sum(-1)  # what is left out adds nothing, so is never reached
    place = place.minimum((share > 0).sum(-1) - 1)
    return token.gather(1, place[:, None])[:, 0]
