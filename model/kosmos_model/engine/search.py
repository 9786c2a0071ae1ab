"""The search for one text: greedy, at random, by beams, or among given strings; it knows no model.

A beam search of width K keeps K running texts. Of the 2K best candidates of a step, those that end (by the end of text
or a stop string) and are among the first K finish; the first K others run on. It ends as soon as K texts have finished
(transformers' ``early_stopping=True``) or at the longest length, where running texts count as they stand; the best of
log-probability / tokens ** length_penalty wins, the end of text counted as a token. K = 1 is greedy decoding, or
takes what was drawn.
Among given strings it goes on as long as a running one can still win: K short names would else shut out a long one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kosmos_eval.models.decoding import stream
from kosmos_eval.request import Completion, Generate
from kosmos_model.engine.encoding import Choices
from kosmos_model.engine.token_tree import Ints
from kosmos_model.modeling.tokenizer import EOS


@dataclass(frozen=True)
class Beam:
    """A running text: its tokens, their summed log-probability and its node in the trie of choices."""

    tokens: tuple[int, ...] = ()
    logprob: float = 0.0
    node: int = 0


class Search:
    """A search in progress.

    Args:
        request: what is asked; ``max_tokens`` does not cut a choice short.
        decode: the text of tokens.
        choices: the trie of ``request.choices``, where it has any.
    """

    def __init__(
        self, request: Generate, *, decode: Callable[[Iterable[int]], str], choices: Choices | None = None
    ) -> None:
        self.request, self.choices = request, choices
        self.beams = [Beam()]
        self.limit = choices.depth if choices else request.max_tokens
        self.random = stream(request) if request.sampling else None
        self._decode = decode
        self._finished: list[tuple[float, Completion]] = []
        ends = frozenset(stop[-1] for stop in request.stop if stop and not choices)
        self._ends = ends | {"\ufffd"} if ends else ends  # half a letter may become the end of one
        self._may_stop: dict[int, bool] = {}

    @property
    def candidates(self) -> int:
        """How many candidates a step needs; a greedy step needs the best alone."""
        return 2 * self.request.beams if self.request.beams > 1 else 1

    def allowed(self) -> list[Ints] | None:
        """The tokens that may follow each beam, or None where all may."""
        return [self.choices.allowed[beam.node] for beam in self.beams] if self.choices else None

    def advance(self, candidates: Sequence[tuple[float, int, int]]) -> list[int]:
        """Take a step.

        Args:
            candidates: (summed log-probability, beam, token), the best first; minus infinity is forbidden.

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
            node = self.choices.children[beam.node].get(token, 0) if self.choices else 0
            grown = Beam((*beam.tokens, token), logprob, node)
            text = self._text(beam) if token == EOS else self._stopped(grown)
            if text is None:
                running.append(grown)
                parents.append(parent)
            elif rank < width:
                self._finish(grown, text, finished=True)
        if not running or len(running[0].tokens) >= self.limit:
            for beam in running:
                self._finish(beam, self._text(beam), finished=False)
            return []
        if self._decided(running):
            return []
        self.beams = running
        return parents

    def completion(self) -> Completion:
        """The best text, once the search is over."""
        return max(self._finished, key=lambda scored: scored[0])[1]

    def _decided(self, running: Sequence[Beam]) -> bool:
        """Whether the running texts need not be followed."""
        if not self.choices or self.request.beams == 1 or not running or not self._finished:
            return len(self._finished) >= self.request.beams
        lengths = (len(running[0].tokens) + 1, self.limit)  # log-probabilities only fall, so these two bound the score
        penalty = self.request.length_penalty
        attainable = max(running[0].logprob / length**penalty for length in lengths)
        return bool(max(score for score, _ in self._finished) >= attainable)

    def _text(self, beam: Beam) -> str:
        return self.choices.texts.get(beam.node, "") if self.choices else self._decode(beam.tokens)

    def _stopped(self, beam: Beam) -> str | None:
        """The text before the first stop string, if there is one; only a token with the end of one can bring it."""
        token = beam.tokens[-1]
        if not self._ends:
            return None
        if token not in self._may_stop:
            self._may_stop[token] = not self._ends.isdisjoint(self._decode([token, token]))
        if not self._may_stop[token]:
            return None
        text = self._decode(beam.tokens)
        places = [place for stop in self.request.stop if stop and (place := text.find(stop)) >= 0]
        return text[: min(places)] if places else None

    def _finish(self, beam: Beam, text: str, *, finished: bool) -> None:
        score = beam.logprob / len(beam.tokens) ** self.request.length_penalty
        self._finished.append((score, Completion(text, len(beam.tokens), finished, beam.logprob)))
