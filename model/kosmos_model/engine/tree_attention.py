"""Attention among consecutive nodes of a tree: each sees what is above it, and no key is computed twice.

A range of nodes, numbered depth-first, is cut into chunks of queries. The keys of a chunk are the path to its first
node and the chunk itself; which of them a query sees follows from the numbers alone.

Shapes: N new nodes, P slots of the path above them, H heads, d width of a head; G chunks of a group, C queries of each,
T keys of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from kosmos_model.engine.token_tree import Ints, Tree
from kosmos_model.modeling.attention import additive

SHORT, LONG = 64, 128
"""Queries of a chunk: their keys are copied, so a long path wants more of them; among themselves few see each other."""
SLACK = 1.2
"""Chunks share a call where the longest path is at most so many times the shortest."""


@dataclass(frozen=True)
class Group:
    """Chunks that attend in one call.

    Args:
        chunks: (G,) which they are.
        slots: (G, T) the slot of each key; the path's come first.
        mask: (G, 1, C, T) added to the scores.
    """

    chunks: Tensor
    slots: Tensor
    mask: Tensor


@dataclass(frozen=True)
class TreeMask:
    """The mask of nodes ``start`` to ``stop`` of a tree.

    Args:
        size: C.
        groups: chunks that attend together.
    """

    size: int
    groups: tuple[Group, ...]


def tree_mask(tree: Tree, above: Ints, start: int, stop: int, *, like: Tensor) -> TreeMask:
    """Cut a range of nodes into chunks.

    Args:
        tree: with N nodes from ``start`` to ``stop``.
        above: (P,) the path to ``start``.
        start: the first node.
        stop: one past the last.
        like: a tensor of the type and device of the scores.
    """
    size = min(stop - start, SHORT if len(above) < 2 * LONG else LONG)
    starts = np.arange(start, stop, size)
    paths = [above]
    for first, last in pairwise(starts.tolist()):
        nodes = np.concatenate([paths[-1], np.arange(first, last)])
        paths.append(nodes[tree.ends[nodes] > last])
    groups = tuple(
        _group(
            tree, above, (start, stop), size=size, chunks=chunks, paths=[paths[chunk] for chunk in chunks], like=like
        )
        for chunks in _by_length(paths)
    )
    return TreeMask(size, groups)


def _by_length(paths: list[Ints]) -> Iterator[list[int]]:
    """Indices of paths of about one length."""
    group: list[int] = []
    for index in sorted(range(len(paths)), key=lambda index: (len(paths[index]), index)):
        if group and len(paths[index]) > SLACK * len(paths[group[0]]) + SHORT:
            yield group
            group = []
        group.append(index)
    yield group


def _group(
    tree: Tree, above: Ints, span: tuple[int, int], *, size: int, chunks: list[int], paths: list[Ints], like: Tensor
) -> Group:
    start, stop = span
    longest = max(map(len, paths))
    keys = np.full((len(chunks), longest + size), -1, dtype=np.int64)  # nodes; -1 is none
    for row, path in zip(keys, paths, strict=True):
        row[: len(path)] = path
    own = start + np.array(chunks)[:, None] * size + np.arange(size)
    keys[:, longest:] = np.where(own < stop, own, -1)
    ends = np.where(keys < 0, -1, tree.ends[keys])
    inside = keys - start + len(above)
    slots = np.where(keys >= start, inside, np.searchsorted(above, keys).clip(0, max(0, len(above) - 1)))
    key, end, query = (torch.from_numpy(values).to(like.device) for values in (keys, ends, np.minimum(own, stop - 1)))
    visible = (key[:, None] <= query[..., None]) & (query[..., None] < end[:, None])
    mask = additive(visible[:, None], like=like)
    return Group(*(torch.tensor(chunks, device=like.device), torch.from_numpy(slots).to(like.device)), mask=mask)


class TreeAttention:
    """One layer's attention of a range of nodes, to each other and to the path above them.

    Args:
        mask: what sees what.
        keys: (P, H, d) rotated keys of the path.
        values: (P, H, d)
        kept: (K,) slots of path and nodes whose keys and values stay behind.
    """

    def __init__(self, mask: TreeMask, keys: Tensor, values: Tensor, *, kept: Tensor) -> None:
        self.mask, self.keys, self.values, self.kept = mask, keys, values, kept

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Rotated queries and keys, and values, of the nodes, (1, N, H, d) each -> (1, N, H, d)."""
        nodes, size = queries.shape[1], self.mask.size
        keys, values = torch.cat([self.keys, keys[0]]), torch.cat([self.values, values[0]])  # (P + N, H, d)
        chunks = -(-nodes // size)
        padded = pad(queries[0], (0, 0, 0, 0, 0, chunks * size - nodes))
        asked = padded.view(chunks, size, *queries.shape[2:]).transpose(1, 2)  # (chunks, H, C, d)
        attended = torch.empty_like(asked)  # laid out as (chunks, C, H, d)
        for group in self.mask.groups:
            attended[group.chunks] = scaled_dot_product_attention(
                asked[group.chunks],
                taken(keys, group.slots).transpose(1, 2),
                taken(values, group.slots).transpose(1, 2),
                attn_mask=group.mask,
            )
        self.keys, self.values = keys.index_select(0, self.kept), values.index_select(0, self.kept)
        return attended.transpose(1, 2).flatten(0, 1)[None, :nodes]


def taken(rows: Tensor, places: Tensor) -> Tensor:
    """Rows (P, H, d) at places of any shape -> (..., H, d); whole ones are copied, which indexing does much slower."""
    return rows.index_select(0, places.flatten()).view(*places.shape, *rows.shape[1:])
