"""Best-first search over a trie of strings: finds the k likeliest continuations exactly, with an admissible bound.

It knows no model. A string's log-probability only falls as it grows, so that of a node bounds every string below it,
and divided by the most tokens that any of them has, every mean. A node whose bound is under the scores of enough
complete strings need never be computed.

Shapes: R requests with the same strings, N nodes (the last index, -1, is the root), E edges, C strings, W nodes of each
request in a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_model.engine.encoding import ContinuationTree
from kosmos_model.engine.token_tree import Ints

Floats = NDArray[np.float64]

TIE = 1e-5  # scores so close are taken to be equal, in nats
TOO_MANY = 0.7  # of all nodes: from this share on everything is scored, where a node is that much cheaper
FEWEST, MOST = 16, 128  # nodes of a step, which has half as many as all before it


@dataclass(frozen=True, eq=False)
class TrieIndex:
    """The trie of some strings as a search needs it.

    Args:
        continuations: the strings.
        divisors: (C,) by which the log-probability of each is divided.
        longest: (N + 1,) the greatest divisor of any string below a node.
        order: (E,) edges, by the node they leave.
        bounds: (N + 2,) where in that order those of each node begin; the root comes first.
        leads: (E,) the node that an edge leads to, or -1.
        ends: (C,) the last edge of each string, or -1 where it has none.
        paths: (N + 1, L) the nodes above each one and itself, -1 behind them.

    Where a token runs across the boundary to the prompt, some nodes are not led to, and there can be no search.
    """

    continuations: ContinuationTree
    divisors: Floats
    longest: Floats
    order: Ints
    bounds: Ints
    leads: Ints
    ends: Ints
    paths: Ints

    @cached_property
    def searchable(self) -> bool:
        """True if every node can be reached by what is scored."""
        return len(np.unique(self.leads[self.leads >= 0])) == len(self.continuations.tree)


def trie_index(request: LogLikelihood, continuations: ContinuationTree) -> TrieIndex | None:
    """Return the index of a request's strings; None where it wants all of them, or they cannot be searched."""
    if not request.best or request.best >= len(request.continuations):
        return None
    by_rule: Mapping[str, Sequence[float]] = {
        "sum": (1,) * len(continuations.lengths),
        "mean per token": continuations.lengths,
        "mean per character": [len(text.strip()) for text in request.continuations],
    }
    index = _trie_index(continuations, tuple(max(1, divisor) for divisor in by_rule[request.by]))
    return index if index.searchable else None


@lru_cache(maxsize=64)
def _trie_index(continuations: ContinuationTree, divisors: tuple[float, ...]) -> TrieIndex:
    tree, count = continuations.tree, len(continuations.tree)
    stops = np.cumsum(continuations.lengths)
    ends = np.where(np.array(continuations.lengths) > 0, continuations.edges[np.maximum(stops, 1) - 1], -1)
    longest = np.zeros(count + 1)
    real = np.flatnonzero(ends >= 0)
    np.maximum.at(longest, continuations.nodes[ends[real]], np.array(divisors)[real])
    for node in range(count - 1, -1, -1):  # children have higher numbers
        above = tree.parents[node]
        longest[above] = max(longest[above], longest[node])
    order = np.argsort(continuations.nodes, kind="stable")
    bounds = np.searchsorted(continuations.nodes[order], np.arange(-1, count + 1))
    entering = {(int(p), int(t)): node for node, (p, t) in enumerate(zip(tree.parents, tree.tokens, strict=True))}
    pairs = zip(continuations.nodes.tolist(), continuations.tokens.tolist(), strict=True)
    leads = np.array([entering.get(pair, -1) for pair in pairs], dtype=np.int64)
    paths = np.full((count + 1, int(tree.depths.max(initial=0)) + 1), -1, dtype=np.int64)
    for node in range(count):
        paths[node] = paths[tree.parents[node]]
        paths[node, tree.depths[node]] = node
    return TrieIndex(continuations, np.array(divisors), longest, order, bounds, leads, ends, paths)


class BestFirstSearch:
    """Searches in progress, one for each request.

    A search has a frontier (the nodes that can be computed next, with their bounds), the scores of complete strings,
    and a threshold: the k-th best of these scores, which a bound has to reach.

    Args:
        index: of the strings.
        wanted: (R,) how many of the best are wanted, and all that tie with the last of them.
    """

    def __init__(self, index: TrieIndex, wanted: Sequence[int]) -> None:
        self.index = index
        rows, nodes, strings = len(wanted), len(index.continuations.tree), len(index.ends)
        self.means = bool(index.divisors.min(initial=1) != index.divisors.max(initial=1))
        self.judged = np.full(len(wanted), FEWEST)  # nodes after which it is judged whether to go on
        self.wanted = [min(count, strings) for count in wanted]
        self.sums = np.full((rows, len(index.order)), np.nan)  # of each edge, from the root; nan is unknown
        self.greedy = np.zeros((rows, len(index.order)), dtype=bool)
        self.totals = np.zeros((rows, nodes + 1))  # of each node of the frontier or computed
        self.likely = np.ones((rows, nodes + 1), dtype=bool)
        self.frontier = np.full((rows, nodes + 1), -np.inf)  # the bound of each node that can be computed next
        self.frontier[:, -1] = 0
        self.scores = np.where(index.ends < 0, 0.0, np.full((rows, strings), -np.inf))  # of complete strings
        self.threshold = np.full(rows, -np.inf)
        self.computed = np.zeros(rows, dtype=np.int64)

    @property
    def rows(self) -> int:
        """R."""
        return len(self.wanted)

    def next_nodes(self, rows: Ints) -> Ints:
        """Return the nodes (rows, W) to compute next, the best first; -1 is none, and a row of them is decided.

        Until enough strings are complete a mean follows what is likely token by token, whose ends are then hard to
        beat; the bounds alone would have it compute whatever is short.
        """
        threshold, bounds = self.threshold[rows], self.frontier[rows, :-1]
        reaching = (bounds >= threshold[:, None]) & (bounds > -np.inf)
        limits = np.clip(self.computed[rows] // 2, FEWEST, MOST)
        width = min(int(limits.max(initial=0)), int(reaching.sum(1).max(initial=0)))
        if not width:
            return np.full((len(rows), 0), -1, dtype=np.int64)
        incomplete = self.means & ~np.isfinite(threshold)[:, None] & reaching
        per_token = self.totals[rows, :-1] / (self.index.continuations.tree.depths + 1)
        order = np.where(incomplete, per_token, bounds)
        best = np.argpartition(-order, width - 1, axis=1)[:, :width]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(order, best, 1), axis=1, kind="stable"), 1)
        kept = np.take_along_axis(reaching, best, 1) & (np.arange(width) < limits[:, None])
        return np.where(kept, best, -1)

    def edges(self, nodes: Ints) -> tuple[Ints, Ints]:
        """Return the edges that leave nodes (K,), -1 the root: which of the nodes each leaves, and its number."""
        low, high = self.index.bounds[nodes + 1], self.index.bounds[nodes + 2]
        counts = high - low
        which = np.repeat(np.arange(len(nodes)), counts)
        within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        return which, self.index.order[low[which] + within]

    def update(self, rows: Ints, nodes: Ints, *, found: tuple[Ints, Ints, Floats, NDArray[np.bool_]]) -> None:
        """Take in what follows nodes that were computed.

        Args:
            rows: (K,) whose they are.
            nodes: (K,)
            found: of the edges that leave them: which of the nodes, the edge, its log-probability, and whether nothing
                is more probable.
        """
        index, (which, edges, logprobs, greedy) = self.index, found
        row, node = rows[which], nodes[which]
        sums = self.totals[row, node] + logprobs
        likely = self.likely[row, node] & greedy
        self.sums[row, edges], self.greedy[row, edges] = sums, likely
        self.frontier[rows, nodes] = -np.inf
        np.add.at(self.computed, rows[nodes >= 0], 1)
        inner = index.leads[edges] >= 0
        led = index.leads[edges[inner]]
        self.totals[row[inner], led], self.likely[row[inner], led] = sums[inner], likely[inner]
        self.frontier[row[inner], led] = sums[inner] / index.longest[led]
        for each in np.unique(rows).tolist():
            known = self.sums[each, index.ends] / index.divisors
            self.scores[each] = np.where((index.ends >= 0) & ~np.isnan(known), known, self.scores[each])
            k = self.wanted[each]
            self.threshold[each] = np.partition(self.scores[each], -k)[-k] - TIE if k else np.inf

    def not_worth_pruning(self, rows: Ints) -> Ints:
        """Return the requests for which scoring everything would be no dearer, as far as can be told.

        It is told after the first step, and again whenever a search has become twice as long.
        """
        new = rows[self.computed[rows] >= self.judged[rows]]
        self.judged[new] = 2 * self.computed[new]
        size = len(self.index.continuations.tree)
        return np.array([row for row in new.tolist() if self._expected(row) > TOO_MANY * size], dtype=np.int64)

    def _expected(self, row: int) -> int:
        """Return how many nodes a search will have computed when it ends, if all strings go on as they began."""
        index, tree = self.index, self.index.continuations.tree
        begun = np.flatnonzero(self.frontier[row, :-1] > -np.inf)
        if not len(begun):
            return 0
        nodes = np.arange(len(tree))
        above = np.searchsorted(begun, nodes, side="right") - 1
        below = (above >= 0) & (nodes < tree.ends[begun[above]])
        per_token = (self.totals[row, begun] / (tree.depths[begun] + 1))[above]  # (N,) up to now
        last, scores = index.continuations.nodes[index.ends], self.scores[row].copy()
        going = (index.ends >= 0) & (last >= 0) & below[last]
        lengths = np.array(index.continuations.lengths)[going]
        scores[going] = per_token[last[going]] * lengths / index.divisors[going]
        threshold = max(np.partition(scores, -self.wanted[row])[-self.wanted[row]], self.threshold[row])
        needed = below & (per_token * (tree.depths + 1) / index.longest[:-1] >= threshold)
        return int(self.computed[row] + needed.sum())

    def stop(self, rows: Ints) -> None:
        """Compute nothing more for some requests."""
        self.frontier[rows] = -np.inf

    def likelihoods(self, row: int) -> Likelihoods:
        """Return the answer for a request: exact for what is complete, an upper bound for the others."""
        index, sums = self.index, self.sums[row]
        lengths = index.continuations.lengths
        starts = np.cumsum([0, *lengths[:-1]])
        string = np.repeat(np.arange(len(lengths)), lengths)
        upto = np.bincount(string[~np.isnan(sums[index.continuations.edges])], minlength=len(lengths))
        reached = index.continuations.edges[np.maximum(starts + upto - 1, 0)]  # the last edge that is known of each
        values = np.where(upto > 0, np.nan_to_num(sums[reached]), 0.0)
        exact = upto == np.array(lengths)
        greedy = exact & np.where(upto > 0, self.greedy[row, reached], True)
        at_most = () if exact.all() else tuple((~exact).tolist())
        return Likelihoods(tuple(values.tolist()), lengths, tuple(greedy.tolist()), at_most)
