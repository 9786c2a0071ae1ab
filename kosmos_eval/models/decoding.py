"""Tokens drawn at random, each search from a stream of its own, so that it draws the same whatever is drawn beside it.

Shapes: N searches, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from kosmos_eval.request import Generate, Sampling

if TYPE_CHECKING:
    from torch import Tensor


def stream(request: Generate) -> Random:
    """The random numbers of a request's text: they follow from seed and prompt alone."""
    seed = request.sampling.seed if request.sampling else 0
    return Random(f"{seed}/{request.prompt.digest}")


def drawn(logits: Tensor, sampling: Sequence[Sampling], uniform: Sequence[float]) -> Tensor:
    """A token for each search.

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
