"""Best-first searches on a model: the nodes that several of them want next are computed together.

Shapes: R requests, W nodes of each in a step, D width.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from kosmos_eval.request import Likelihoods
from kosmos_model.engine.best_first import BestFirstSearch, TrieIndex
from kosmos_model.engine.layers import Layers
from kosmos_model.engine.path_attention import path_caches
from kosmos_model.engine.prefill import Batch, Prefixes, out_of_memory
from kosmos_model.engine.scoring import scored
from kosmos_model.engine.token_tree import Ints

COMPACT_BELOW = 0.75  # when fewer requests than this share are undecided, the others leave
GROUP = 64  # nodes that share a copy of the keys on their paths
TOGETHER = 64  # searches that run together, at most


class BestFirstRunner:
    """The searches of a window, run as the prompts that they follow have been computed.

    Args:
        layers: what computes.
    """

    def __init__(self, layers: Layers) -> None:
        self.layers, self.together = layers, TOGETHER
        self._waiting: dict[int, list[tuple[TrieIndex, int, int]]] = defaultdict(list)
        self._fallback: list[tuple[int, int]] = []  # request, and how many strings it has

    @property
    def leaves(self) -> list[int]:
        """The nodes that searches follow."""
        return list(self._waiting)

    def add(self, leaf: int, trie_index: TrieIndex, *, wanted: int, index: int) -> None:
        """Search for the best so many strings behind a node."""
        self._waiting[leaf].append((trie_index, wanted, index))

    def run(self, batch: Batch) -> Iterator[tuple[int, Likelihoods]]:
        """Run the searches that follow nodes of a batch to their ends."""
        groups: dict[TrieIndex, list[tuple[int, int, int]]] = defaultdict(list)
        for leaf in [leaf for leaf in self._waiting if batch.start <= leaf < batch.stop]:
            for trie_index, wanted, index in self._waiting.pop(leaf):
                groups[trie_index].append((leaf, wanted, index))
        for trie_index, group in groups.items():
            while group:
                part, decided = group[: self.together], set()
                try:
                    search = BestFirstSearch(trie_index, [wanted for _, wanted, _ in part])
                    prefixes = batch.prefixes(np.array([leaf for leaf, _, _ in part]), spare=0)
                    for row, found in run_best_first(self.layers, prefixes, search):
                        index = part[row][2]
                        decided.add(index)
                        if found is None:
                            self._fallback.append((index, len(trie_index.ends)))
                        else:
                            yield index, found
                except RuntimeError as error:
                    if len(part) == 1 or not out_of_memory(error):
                        raise
                    self.together = max(1, len(part) // 2)
                group = [one for one in group if one[2] not in decided]

    def fallback(self, *, most: int) -> Iterator[set[int]]:
        """Yield requests for which scoring every string is better, at most ``most`` strings at a time."""
        part: set[int] = set()
        strings = 0
        for index, count in self._fallback:
            if part and strings + count > most:
                yield part
                part, strings = set(), 0
            part.add(index)
            strings += count
        if part:
            yield part


def run_best_first(
    layers: Layers, prefixes: Prefixes, search: BestFirstSearch
) -> Iterator[tuple[int, Likelihoods | None]]:
    """Yield the outcome of each search with its row, as soon as it is decided; None if scoring everything is better.

    Args:
        layers: what computes.
        prefixes: R prompts.
        search: among the strings that continue each of them.
    """
    computer = _Computer(layers, prefixes, search)
    rows = np.arange(search.rows)
    computer.score(rows, np.full(len(rows), -1), prefixes.states)
    undecided = np.ones(len(rows), dtype=bool)
    while len(rows):
        unpruned = search.not_worth_pruning(rows)
        search.stop(unpruned)
        nodes = search.next_nodes(rows)
        decided = rows[undecided[rows] & (nodes < 0).all(1)]
        for row in decided.tolist():
            yield row, None if row in unpruned else search.likelihoods(row)
        undecided[decided] = False
        going = undecided[rows]
        if going.sum() < COMPACT_BELOW * len(rows):
            computer.keep(np.flatnonzero(going))
            rows, nodes = rows[going], nodes[going]
        if len(rows):
            computer.compute(rows, nodes)


class _Computer:
    """The computed nodes of requests that are still together."""

    def __init__(self, layers: Layers, prefixes: Prefixes, search: BestFirstSearch) -> None:
        self.layers, self.search, self.lengths = layers, search, prefixes.lengths
        self.caches, self.view = path_caches(prefixes)
        self.slots = np.zeros((search.rows, len(search.index.paths)), dtype=np.int64)

    def compute(self, rows: Ints, nodes: Ints) -> None:
        """Compute nodes (rows, W), of which -1 is none, and update the searches."""
        index, device = self.search.index, self.lengths.device
        nodes = _grouped(nodes)
        width, (start, stop) = nodes.shape[1], (self.view.start, self.view.start + nodes.shape[1])
        self.slots[rows[:, None], nodes] = np.arange(start, stop)
        groups = nodes.reshape(len(rows), -1, min(GROUP, width))  # (rows, G, C)
        above = _above(index, groups)  # (rows, G, U)
        slots = np.where(above < 0, start, self.slots[rows[:, None, None], above])
        key, query = above[:, :, None], groups[..., None]
        ends = np.where(above < 0, -1, index.continuations.tree.ends[above])[:, :, None]
        sees = torch.from_numpy((key <= query) & (query < ends)).to(device)
        self.view.turn(torch.from_numpy(slots).to(device), sees, like=self.layers.decoder.embed_tokens.weight)
        depths = np.where(nodes < 0, 0, index.continuations.tree.depths[nodes])
        tokens = np.where(nodes < 0, 0, index.continuations.tree.tokens[nodes])
        row, column = np.nonzero(nodes >= 0)
        states = self.layers.hidden(
            self.layers.embed(torch.from_numpy(tokens).to(device)),
            positions=torch.from_numpy(depths).to(device) + self.lengths[:, None],
            longest=int(self.lengths.max()) + int(depths.max()) + 1,
            caches=self.caches,
            wanted=torch.from_numpy(row * width + column).to(device),
        )
        self.view.start = stop
        self.score(rows[row], nodes[row, column], states)

    def score(self, rows: Ints, nodes: Ints, states: Tensor) -> None:
        """Update the searches with what follows nodes (K,), whose states (K, D) are known."""
        which, edges = self.search.edges(nodes)
        logprobs, greedy = scored(self.layers, states, which, self.search.index.continuations.tokens[edges])
        self.search.update(rows, nodes, found=(which, edges, logprobs, greedy))

    def keep(self, places: Ints) -> None:
        """Go on with the requests at some places alone."""
        chosen = torch.from_numpy(places).to(self.lengths.device)
        self.lengths, self.view.prompts = self.lengths[chosen], self.view.prompts[chosen]
        for cache in self.caches:
            cache.keep(chosen)


def _grouped(nodes: Ints) -> Ints:
    """Nodes (rows, W) in ascending order, so that neighbours share their paths, -1 behind them to whole groups."""
    nodes = np.sort(np.where(nodes < 0, np.iinfo(np.int64).max, nodes), axis=1)
    nodes[nodes == np.iinfo(np.int64).max] = -1
    missing = -nodes.shape[1] % GROUP if nodes.shape[1] > GROUP else 0
    return np.pad(nodes, ((0, 0), (0, missing)), constant_values=-1)


def _above(index: TrieIndex, groups: Ints) -> Ints:
    """Return the nodes (rows, G, U) of groups (rows, G, C) and all above them, -1 behind them."""
    paths = index.paths[groups].reshape(-1, groups.shape[2] * index.paths.shape[1])
    unions = [np.unique(path[path >= 0]) for path in paths]
    table = np.full((len(unions), max(map(len, unions))), -1, dtype=np.int64)
    for row, union in zip(table, unions, strict=True):
        row[: len(union)] = union
    return table.reshape(*groups.shape[:2], -1)
