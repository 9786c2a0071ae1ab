"""Log-probabilities of tokens that follow nodes of a tree, each computed once however many strings share it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kosmos_eval.request import Likelihoods
from kosmos_model.engine.encoding import ContinuationTree
from kosmos_model.engine.layers import Layers
from kosmos_model.engine.prefill import Batch
from kosmos_model.engine.token_tree import Ints

Floats = NDArray[np.float64]

ROWS = 128  # scored at once, at least
LOGITS = {"cpu": 1 << 18}  # scores held at once: what stays in a processor's cache
MANY = 1 << 24


class Scores:
    """The scores of some requests, filled in as batches are computed.

    Args:
        trees: of each request.
        roots: the node that each begins to continue.
        starts: the first node of the tree of each.
    """

    def __init__(self, trees: Sequence[ContinuationTree], *, roots: Ints, starts: Ints) -> None:
        self.trees = trees
        self._bounds = np.cumsum([0, *(len(one.tokens) for one in trees)])
        nodes = [np.where(o.nodes < 0, r, o.nodes + s) for o, r, s in zip(trees, roots, starts, strict=True)]
        last = np.array([each.max(initial=-1) for each in nodes], dtype=np.int64)  # the node that completes each
        self._requests = np.argsort(last, kind="stable")
        self._last = last[self._requests]
        flat = np.concatenate([*nodes, np.empty(0, dtype=np.int64)])
        self._edges = np.argsort(flat, kind="stable")
        self.nodes = flat[self._edges]  # ascending
        self._tokens = np.concatenate([*(one.tokens for one in trees), np.empty(0, dtype=np.int64)])[self._edges]
        self._logprobs = np.zeros(len(flat))
        self._greedy = np.zeros(len(flat), dtype=bool)

    def without_tokens(self) -> Iterator[tuple[int, Likelihoods]]:
        """Requests with nothing to compute: every continuation of theirs is empty."""
        yield from self._complete(-1, 0)

    def fill(self, layers: Layers, batch: Batch) -> Iterator[tuple[int, Likelihoods]]:
        """Score what follows the nodes of a batch, and give the requests that this completes."""
        here = batch.within(self.nodes)
        edges, tokens = self._edges[here], self._tokens[here]
        nodes, after = np.unique(self.nodes[here], return_inverse=True)
        self._logprobs[edges], self._greedy[edges] = scored(layers, batch.of(nodes), after, tokens)
        yield from self._complete(batch.start, batch.stop)

    def _complete(self, start: int, stop: int) -> Iterator[tuple[int, Likelihoods]]:
        """Requests whose last edge leaves a node from ``start`` to ``stop``."""
        for index in self._requests[slice(*np.searchsorted(self._last, (start, stop)))].tolist():
            yield index, self._likelihoods(index)

    def _likelihoods(self, index: int) -> Likelihoods:
        one = self.trees[index]
        edges = one.edges + self._bounds[index]
        string, many = np.repeat(np.arange(len(one.lengths)), one.lengths), len(one.lengths)
        sums = np.bincount(string, weights=self._logprobs[edges], minlength=many)
        missed = np.bincount(string, weights=~self._greedy[edges], minlength=many)
        return Likelihoods(tuple(sums.tolist()), one.lengths, tuple((missed == 0).tolist()))


def scored(layers: Layers, states: Tensor, after: Ints, tokens: Ints) -> tuple[Floats, NDArray[np.bool_]]:
    """Score the tokens that follow some states, in parts that a cache can hold.

    Args:
        layers: what makes scores of states.
        states: (N, D)
        after: (K,) which state each token follows, ascending.
        tokens: (K,)

    Returns:
        (K,) the log-probability of each, and whether nothing is more probable.
    """
    logprobs, greedy = np.zeros(len(after)), np.zeros(len(after), dtype=bool)
    rows = max(ROWS, LOGITS.get(states.device.type, MANY) // layers.decoder.embed_tokens.num_embeddings)
    for start in range(0, len(states), rows):
        part = slice(*np.searchsorted(after, (start, start + rows)))
        logits = layers.logits(states[start : start + rows])  # (rows, V)
        row, token = (torch.from_numpy(each[part]).to(logits.device) for each in (after - start, tokens))
        highest = logits.amax(-1, keepdim=True)
        chosen = logits[row, token] - highest[row, 0]
        total = logits.sub_(highest).exp_().sum(-1).log_()
        found = torch.stack([chosen - total[row], (chosen == 0).float()]).cpu().numpy()
        logprobs[part], greedy[part] = found[0], found[1].astype(bool)
    return logprobs, greedy
