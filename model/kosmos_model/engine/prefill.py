"""Prefill of a tree of sequences: every node is computed once, and what is above those to come stays cached.

Shapes: S new nodes of a batch, P slots of the path above them, D width, H heads, d width of a head, N some nodes,
K slots that stay behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kosmos_model.engine.layers import Layers
from kosmos_model.engine.token_tree import Ints, Tree
from kosmos_model.engine.tree_attention import TreeAttention, tree_mask
from kosmos_model.modeling.attention import Cache, LayerCache
from kosmos_model.modeling.decoder import KosmosDecoder


class EmbeddingTable:
    """The embeddings of a tree's tokens: ids below the vocabulary's size are words, those behind it image slots."""

    def __init__(self, decoder: KosmosDecoder, images: Tensor) -> None:
        """Take the embedding matrix (V, D) of a decoder and the images' vectors (I * Q, D)."""
        self.words, self.images = decoder.embed_tokens, images
        self.size = decoder.embed_tokens.num_embeddings

    def __call__(self, tokens: Tensor) -> Tensor:
        """(B, S) -> (B, S, D)"""
        is_slot = tokens >= self.size
        embedded: Tensor = self.words(tokens.masked_fill(is_slot, 0))
        if len(self.images):
            embedded[is_slot] = self.images[tokens[is_slot] - self.size].to(embedded.dtype)
        return embedded


@dataclass(frozen=True)
class Prefixes:
    """The ends of some sequences, ready to be continued.

    Args:
        cache: N rows; of row n the first ``lengths[n]`` slots count.
        lengths: (N,) tokens in each sequence.
        states: (N, D) the last state of each.
    """

    cache: Cache
    lengths: Tensor
    states: Tensor

    def sees(self) -> Tensor:
        """(N, P) true for the slots that count."""
        return torch.arange(self.cache.used, device=self.lengths.device) < self.lengths[:, None]


@dataclass(frozen=True)
class Batch:
    """Computed nodes of a tree.

    Args:
        tree: where they are from.
        start: the first of them.
        stop: one past the last.
        wanted: (N,) the nodes whose states are known, ascending.
        states: (N, D) after the final layer norm.
        kept: (K,) nodes, ascending, whose keys and values stayed behind: those that something continues from, and
            all above them.
        slots: of each layer their keys and values, (K, H, d) each.
    """

    tree: Tree
    start: int
    stop: int
    wanted: Ints
    states: Tensor
    kept: Ints
    slots: list[tuple[Tensor, Tensor]]

    def within(self, ordered: Ints) -> slice:
        """Return the entries of an ascending array of nodes that are in the batch."""
        low, high = np.searchsorted(ordered, (self.start, self.stop))
        return slice(int(low), int(high))

    def of(self, nodes: Ints) -> Tensor:
        """Return the states of nodes that are wanted and in the batch, a row each."""
        place = np.searchsorted(self.wanted, nodes)
        if not np.array_equal(self.wanted.take(place, mode="clip"), nodes):
            raise ValueError("the states of these nodes were not wanted")
        return self.states[torch.from_numpy(place).to(self.states.device)]

    def prefixes(self, nodes: Ints, *, spare: int) -> Prefixes:
        """Return the sequences that end in nodes which were to be continued, with ``spare`` empty slots behind each."""
        lengths = self.tree.depths[nodes] + 1
        seen = (self.kept <= nodes[:, None]) & (nodes[:, None] < self.tree.ends[self.kept])  # (N, K)
        if not np.array_equal(seen.sum(1), lengths):
            raise ValueError("the slots of these nodes were not kept")
        table = np.zeros((len(nodes), int(lengths.max())), dtype=np.int64)
        table[np.arange(table.shape[1]) < lengths[:, None]] = np.nonzero(seen)[1]
        place = torch.from_numpy(table).to(self.states.device)

        def row(slots: Tensor) -> Tensor:
            new = slots.new_zeros(len(nodes), slots.shape[1], table.shape[1] + spare, slots.shape[2])
            new[:, :, : table.shape[1]] = slots[place].transpose(1, 2)
            return new

        layers = [LayerCache(row(keys), row(values), used=table.shape[1]) for keys, values in self.slots]
        return Prefixes(Cache(layers), torch.from_numpy(lengths).to(place.device), self.of(nodes))


@dataclass
class Budget:
    """The limits of what is computed at once; they halve when memory runs out.

    Args:
        tokens: new tokens of a batch.
        slots: cache slots of sequences that are continued from a batch.
    """

    tokens: int
    slots: int

    def halve(self) -> None:
        """Make do with less."""
        self.tokens, self.slots = max(1, self.tokens // 2), max(1, self.slots // 2)


def prefill(
    layers: Layers, tree: Tree, embeddings: EmbeddingTable, *, budget: Budget, scored: Ints, continued: Ints
) -> Iterator[Batch]:
    """Compute every node of a tree, batch by batch in the order of their numbers.

    Args:
        layers: what computes.
        tree: of token sequences.
        embeddings: its embeddings.
        budget: of one batch; looked at before each.
        scored: nodes whose states the caller wants.
        continued: nodes that the caller will continue from, ascending; it wants their states too.
    """
    decoder, heads = layers.decoder, layers.heads
    none, nothing = scored[:0], decoder.embed_tokens.weight.new_empty(0, heads, decoder.embed_dim // heads)
    batch = Batch(tree, 0, 0, none, nothing, none, [(nothing, nothing)] * decoder.num_layers)
    wanted = np.union1d(scored, continued)
    while batch.stop < len(tree):
        stop = _stop(tree, batch.stop, budget=budget, continued=continued)
        try:
            batch = _computed(layers, embeddings, after=batch, stop=stop, wanted=wanted, continued=continued)
        except RuntimeError as error:
            if stop - batch.stop == 1 or not out_of_memory(error):
                raise
            budget.halve()
            continue
        yield batch


def out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory ran out, on an accelerator or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _stop(tree: Tree, start: int, *, budget: Budget, continued: Ints) -> int:
    """Return where a batch that begins at a node has to end: at least one node later."""
    stop = min(len(tree), start + budget.tokens)
    low, high = np.searchsorted(continued, (start, stop))
    slots = np.cumsum(tree.depths[continued[low:high]] + 1)
    within = max(1, int(np.searchsorted(slots, budget.slots, side="right")))
    return stop if within >= high - low else int(continued[low + within])


def _computed(
    layers: Layers, embeddings: EmbeddingTable, *, after: Batch, stop: int, wanted: Ints, continued: Ints
) -> Batch:
    """Return the batch that follows another, under the part of what that one kept which is still above it."""
    tree, start = after.tree, after.stop
    weight = layers.decoder.embed_tokens.weight
    standing = tree.ends[after.kept] > start
    above = after.kept[standing]
    mask = tree_mask(tree, above, start, stop, like=weight)
    nodes = np.concatenate([above, np.arange(start, stop)])
    wanted, ends = (each[slice(*np.searchsorted(each, (start, stop)))] for each in (wanted, continued))
    # the first end that is not before a node tells whether the node is above any
    first = np.searchsorted(ends, nodes)
    over = first < len(ends)
    over[over] = ends[first[over]] < tree.ends[nodes[over]]
    kept = np.flatnonzero(over | (tree.ends[nodes] > stop))
    carried, staying = (torch.from_numpy(each).to(weight.device) for each in (np.flatnonzero(standing), kept))
    caches = [TreeAttention(mask, keys[carried], values[carried], kept=staying) for keys, values in after.slots]
    states = layers.hidden(
        embeddings(torch.from_numpy(tree.tokens[None, start:stop]).to(weight.device)),
        positions=torch.from_numpy(tree.depths[None, start:stop]).to(weight.device),
        longest=int(tree.depths[start:stop].max()) + 1,
        caches=caches,
        wanted=torch.from_numpy(wanted - start).to(weight.device),
    )
    return Batch(tree, start, stop, wanted, states, nodes[kept], [(cache.keys, cache.values) for cache in caches])
