"""How much there is to save: the tokens that requests have alone, and those that are different."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kosmos_eval.request import LogLikelihood, Request
from kosmos_model.engine.encoding import continuation_tree, prompt_ids
from kosmos_model.engine.token_tree import Tree
from kosmos_model.modeling.tokenizer import PromptTokenizer


@dataclass(frozen=True)
class Ceiling:
    """The tokens of some requests.

    Args:
        asked: as many as go through the model when every sequence is computed from its beginning.
        distinct: as many as there are when each is computed once after the same ones before it.
    """

    asked: int
    distinct: int

    @property
    def ratio(self) -> float:
        """How many times faster a model can be that computes nothing twice, at the same price of a token."""
        return self.asked / self.distinct

    def __str__(self) -> str:
        return f"{self.asked:,} tokens asked, {self.distinct:,} distinct: ceiling {self.ratio:.1f} x"


def ceiling(tokenizer: PromptTokenizer, requests: Sequence[Request]) -> Ceiling:
    """The tokens of requests: every prompt, and of each continuation all but the last, which is only a target."""
    digests = {image.digest: None for request in requests for image in request.prompt.images}
    slots = {digest: len(tokenizer) + number * tokenizer.slots for number, digest in enumerate(digests)}
    sequences: list[list[int]] = []
    for request in requests:
        ids = prompt_ids(tokenizer, request.prompt, slots=slots)
        if isinstance(request, LogLikelihood):
            for text in request.continuations:
                root, after = continuation_tree(tokenizer, request.prompt, (text,), terminated=request.terminated)
                whole = prompt_ids(tokenizer, request.prompt + text, slots=slots)
                sequences.append(whole[: root + after.depth - 1])
        else:
            sequences.append(ids)
    return Ceiling(sum(map(len, sequences)), len(Tree.build(sequences)))
