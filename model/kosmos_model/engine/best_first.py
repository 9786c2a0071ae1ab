"""Which of many strings are the best, certified, without scoring them all; it knows no model.

A string's log-probability only falls as it grows, so that of a node bounds every string below it, and divided by the
most tokens that any of them has, every mean. A node whose bound is under the marks of enough complete strings need
never be computed.

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
from kosmos_model.engine.encoding import Endings
from kosmos_model.engine.token_tree import Ints

Floats = NDArray[np.float64]

TIE = 1e-5  # marks so close are taken to be equal, in nats
TOO_MANY = 0.7  # of all nodes: from this share on everything is scored, where a node is that much cheaper
FEWEST, MOST = 16, 128  # nodes of a step, which has half as many as all before it


@dataclass(frozen=True, eq=False)
class Course:
    """What a contest among strings needs to know of them.

    Args:
        endings: the strings.
        divisors: (C,) what the log-probability of each is divided by.
        longest: (N + 1,) the greatest divisor of any string below a node.
        below: (N + 1,) how many nodes there are below a node, itself included.
        order: (E,) edges, by the node they leave.
        bounds: (N + 2,) where in that order those of each node begin; the root comes first.
        leads: (E,) the node that an edge leads to, or -1.
        ends: (C,) the last edge of each string, or -1 where it has none.
        paths: (N + 1, L) the nodes above each one and itself, -1 behind them.

    Where a token runs across the boundary to the prompt, some nodes are not led to, and there can be no contest.
    """

    endings: Endings
    divisors: Floats
    longest: Floats
    below: Ints
    order: Ints
    bounds: Ints
    leads: Ints
    ends: Ints
    paths: Ints

    @cached_property
    def possible(self) -> bool:
        """Whether every node can be reached by what is scored."""
        return len(np.unique(self.leads[self.leads >= 0])) == len(self.endings.tree)


def course(request: LogLikelihood, endings: Endings) -> Course | None:
    """The course of a request's contest; None where it wants all, or there cannot be one."""
    if not request.best or request.best >= len(request.continuations):
        return None
    by_rule: Mapping[str, Sequence[float]] = {
        "sum": (1,) * len(endings.lengths),
        "mean per token": endings.lengths,
        "mean per character": [len(text.strip()) for text in request.continuations],
    }
    found = _course(endings, tuple(max(1, divisor) for divisor in by_rule[request.by]))
    return found if found.possible else None


@lru_cache(maxsize=64)
def _course(endings: Endings, divisors: tuple[float, ...]) -> Course:
    tree, count = endings.tree, len(endings.tree)
    stops = np.cumsum(endings.lengths)
    ends = np.where(np.array(endings.lengths) > 0, endings.edges[np.maximum(stops, 1) - 1], -1)
    longest = np.zeros(count + 1)
    real = np.flatnonzero(ends >= 0)
    np.maximum.at(longest, endings.nodes[ends[real]], np.array(divisors)[real])
    for node in range(count - 1, -1, -1):  # children have higher numbers
        above = tree.parents[node]
        longest[above] = max(longest[above], longest[node])
    order = np.argsort(endings.nodes, kind="stable")
    bounds = np.searchsorted(endings.nodes[order], np.arange(-1, count + 1))
    entering = {(int(p), int(t)): node for node, (p, t) in enumerate(zip(tree.parents, tree.tokens, strict=True))}
    pairs = zip(endings.nodes.tolist(), endings.tokens.tolist(), strict=True)
    leads = np.array([entering.get(pair, -1) for pair in pairs], dtype=np.int64)
    paths = np.full((count + 1, int(tree.depths.max(initial=0)) + 1), -1, dtype=np.int64)
    for node in range(count):
        paths[node] = paths[tree.parents[node]]
        paths[node, tree.depths[node]] = node
    below = np.append(tree.ends - np.arange(count), count)
    return Course(endings, np.array(divisors), longest, below, order, bounds, leads, ends, paths)


class Contest:
    """Contests in progress, one for each request.

    Args:
        course: of the strings.
        wanted: (R,) how many of the best are wanted, and all that tie with the last of them.
    """

    def __init__(self, course: Course, wanted: Sequence[int]) -> None:
        self.course = course
        rows, nodes, strings = len(wanted), len(course.endings.tree), len(course.ends)
        self.means = bool(course.divisors.min(initial=1) != course.divisors.max(initial=1))
        self.judged = np.full(len(wanted), FEWEST)  # nodes after which it is judged whether to go on
        self.wanted = [min(count, strings) for count in wanted]
        self.sums = np.full((rows, len(course.order)), np.nan)  # of each edge, from the root; nan is unknown
        self.greedy = np.zeros((rows, len(course.order)), dtype=bool)
        self.totals = np.zeros((rows, nodes + 1))  # of each node that is open or computed
        self.likely = np.ones((rows, nodes + 1), dtype=bool)
        self.open = np.full((rows, nodes + 1), -np.inf)  # the bound of each node that can be computed next
        self.open[:, -1] = 0
        self.marks = np.where(course.ends < 0, 0.0, np.full((rows, strings), -np.inf))
        self.least = np.full(rows, -np.inf)  # what a bound has to reach
        self.computed = np.zeros(rows, dtype=np.int64)

    @property
    def rows(self) -> int:
        """R."""
        return len(self.wanted)

    def next(self, rows: Ints) -> Ints:
        """The nodes (rows, W) to compute next, the most promising first; -1 is none, and a row of them is decided.

        Until enough strings are complete a mean follows what is likely token by token, whose ends are then hard to
        beat; the bounds alone would have it compute whatever is short.
        """
        least, bounds = self.least[rows], self.open[rows, :-1]
        promising = (bounds >= least[:, None]) & (bounds > -np.inf)
        limits = np.clip(self.computed[rows] // 2, FEWEST, MOST)
        width = min(int(limits.max(initial=0)), int(promising.sum(1).max(initial=0)))
        if not width:
            return np.full((len(rows), 0), -1, dtype=np.int64)
        seeking = self.means & ~np.isfinite(least)[:, None] & promising
        pace = self.totals[rows, :-1] / (self.course.endings.tree.depths + 1)
        order = np.where(seeking, pace, bounds)
        best = np.argpartition(-order, width - 1, axis=1)[:, :width]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(order, best, 1), axis=1, kind="stable"), 1)
        kept = np.take_along_axis(promising, best, 1) & (np.arange(width) < limits[:, None])
        return np.where(kept, best, -1)

    def edges(self, nodes: Ints) -> tuple[Ints, Ints]:
        """The edges that leave nodes (K,), -1 the root: for each which of the nodes it leaves, and its number."""
        low, high = self.course.bounds[nodes + 1], self.course.bounds[nodes + 2]
        counts = high - low
        which = np.repeat(np.arange(len(nodes)), counts)
        within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        return which, self.course.order[low[which] + within]

    def learn(self, rows: Ints, nodes: Ints, *, found: tuple[Ints, Ints, Floats, NDArray[np.bool_]]) -> None:
        """Take in what follows nodes that were computed.

        Args:
            rows: (K,) whose they are.
            nodes: (K,)
            found: of the edges that leave them: which of the nodes, the edge, its log-probability, and whether nothing
                is more probable.
        """
        course, (which, edges, logprobs, greedy) = self.course, found
        row, node = rows[which], nodes[which]
        sums = self.totals[row, node] + logprobs
        likely = self.likely[row, node] & greedy
        self.sums[row, edges], self.greedy[row, edges] = sums, likely
        self.open[rows, nodes] = -np.inf
        np.add.at(self.computed, rows[nodes >= 0], 1)
        inner = course.leads[edges] >= 0
        led = course.leads[edges[inner]]
        self.totals[row[inner], led], self.likely[row[inner], led] = sums[inner], likely[inner]
        self.open[row[inner], led] = sums[inner] / course.longest[led]
        for each in np.unique(rows).tolist():
            known = self.sums[each, course.ends] / course.divisors
            self.marks[each] = np.where((course.ends >= 0) & ~np.isnan(known), known, self.marks[each])
            count = self.wanted[each]
            self.least[each] = np.partition(self.marks[each], -count)[-count] - TIE if count else np.inf

    def hopeless(self, rows: Ints) -> Ints:
        """Those requests for which it would be no dearer to score everything, as far as can be told.

        It is told after the first step, and again whenever a contest has become twice as long.
        """
        new = rows[self.computed[rows] >= self.judged[rows]]
        self.judged[new] = 2 * self.computed[new]
        hopeless = [row for row in new.tolist() if self._needed(row) > TOO_MANY * len(self.course.endings.tree)]
        return np.array(hopeless, dtype=np.int64)

    def _needed(self, row: int) -> int:
        """How many nodes have been computed when a contest is decided, if all strings go on as they began."""
        course, tree = self.course, self.course.endings.tree
        begun = np.flatnonzero(self.open[row, :-1] > -np.inf)
        if not len(begun):
            return 0
        nodes = np.arange(len(tree))
        above = np.searchsorted(begun, nodes, side="right") - 1
        below = (above >= 0) & (nodes < tree.ends[begun[above]])
        pace = (self.totals[row, begun] / (tree.depths[begun] + 1))[above]  # (N,) a token's log-probability up to now
        last, marks = course.endings.nodes[course.ends], self.marks[row].copy()
        going = (course.ends >= 0) & (last >= 0) & below[last]
        lengths = np.array(course.endings.lengths)[going]
        marks[going] = pace[last[going]] * lengths / course.divisors[going]
        least = np.partition(marks, -self.wanted[row])[-self.wanted[row]]
        needed = below & (pace * (tree.depths + 1) / course.longest[:-1] >= max(least, self.least[row]))
        return int(self.computed[row] + needed.sum())

    def give_up(self, rows: Ints) -> None:
        """Compute nothing more for some requests."""
        self.open[rows] = -np.inf

    def likelihoods(self, row: int) -> Likelihoods:
        """The answer for a request: exact for what is complete, for the others what they have at most."""
        course, sums = self.course, self.sums[row]
        lengths = course.endings.lengths
        starts = np.cumsum([0, *lengths[:-1]])
        string = np.repeat(np.arange(len(lengths)), lengths)
        upto = np.bincount(string[~np.isnan(sums[course.endings.edges])], minlength=len(lengths))
        reached = course.endings.edges[np.maximum(starts + upto - 1, 0)]  # the last edge that is known of each
        values = np.where(upto > 0, np.nan_to_num(sums[reached]), 0.0)
        exact = upto == np.array(lengths)
        greedy = exact & np.where(upto > 0, self.greedy[row, reached], True)
        at_most = () if exact.all() else tuple((~exact).tolist())
        return Likelihoods(tuple(values.tolist()), lengths, tuple(greedy.tolist()), at_most)
