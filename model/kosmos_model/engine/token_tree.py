"""Token sequences as one tree, in which everything shared stands once.

Nodes are numbered depth-first, so that every subtree is a range: ``a`` is above ``b`` where ``a <= b < end[a]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Tree:
    """The prefix tree of sequences; a node is a token after all tokens above it.

    Args:
        tokens: (N,) the token of each node.
        depths: (N,) its position.
        ends: (N,) one past its last descendant.
        parents: (N,) the node before it, -1 for none.
        leaves: the last node of each sequence, in the order they were given.
    """

    tokens: Ints
    depths: Ints
    ends: Ints
    parents: Ints
    leaves: Ints

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def build(cls, sequences: Sequence[Sequence[int]]) -> Tree:
        """Return the tree of sequences, none of them empty."""
        arrays = [np.asarray(sequence, dtype=np.int64) for sequence in sequences]
        tokens: list[Ints] = []
        parents: list[Ints] = []
        depths: list[Ints] = []
        closed: list[Ints] = []  # nodes that get no more descendants, and the size of the tree when they did not
        sizes: list[int] = []
        leaves = np.empty(len(arrays), dtype=np.int64)
        path, last, size = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), 0
        for index in sorted(range(len(arrays)), key=lambda index: arrays[index].astype(">i8").tobytes()):
            sequence = arrays[index]
            shared = _common(last, sequence)
            new = np.arange(size, size + len(sequence) - shared)
            closed.append(path[shared:])
            sizes.append(size)
            path = np.concatenate([path[:shared], new])
            tokens.append(sequence[shared:])
            depths.append(np.arange(shared, len(sequence)))
            parents.append(np.concatenate([path[shared - 1 : shared] if shared else [-1], new[:-1]])[: len(new)])
            leaves[index], last, size = path[-1], sequence, size + len(new)
        closed.append(path)
        sizes.append(size)
        ends = np.empty(size, dtype=np.int64)
        ends[np.concatenate(closed)] = np.repeat(sizes, [len(nodes) for nodes in closed])
        return cls(
            np.concatenate(tokens), np.concatenate(depths), ends, np.concatenate(parents).astype(np.int64), leaves
        )


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two sequences begin with alike."""
    return _common(np.asarray(one, dtype=np.int64), np.asarray(other, dtype=np.int64))


def _common(one: Ints, other: Ints) -> int:
    length = min(len(one), len(other))
    differ = one[:length] != other[:length]
    return int(differ.argmax()) if differ.any() else length


def attach(tree: Tree, nodes: Sequence[int], branches: Sequence[Tree]) -> tuple[Tree, Ints, Ints]:
    """Attach trees to nodes of another.

    Args:
        tree: what they are put on.
        nodes: for each branch the node it is put on.
        branches: whose depths and nodes count from 0; their leaves are not looked at.

    Returns:
        The whole tree with the leaves of ``tree``, the new numbers of ``nodes``, and the first node of each branch.
    """
    sizes = np.array([len(branch) for branch in branches], dtype=np.int64)
    places = np.array(nodes, dtype=np.int64)
    order = np.argsort(places, kind="stable")
    put = places[order]  # ascending
    before = np.concatenate([[0], np.cumsum(sizes[order])])  # how many branch nodes come before the first, second ...
    old = np.arange(len(tree))
    number = old + before[np.searchsorted(put, old)]  # of each old node: a branch stands right behind its place
    total = len(tree) + int(before[-1])
    starts = np.empty(len(places), dtype=np.int64)
    starts[order] = put + 1 + before[:-1]
    tokens, depths, ends, parents = (np.empty(total, dtype=np.int64) for _ in range(4))
    tokens[number], depths[number] = tree.tokens, tree.depths
    ends[number] = tree.ends + before[np.searchsorted(put, tree.ends)]
    parents[number] = np.where(tree.parents < 0, -1, number[tree.parents])
    for node, start, branch in zip(places.tolist(), starts.tolist(), branches, strict=True):
        span = slice(start, start + len(branch))
        tokens[span] = branch.tokens
        depths[span] = branch.depths + tree.depths[node] + 1
        ends[span] = branch.ends + start
        parents[span] = np.where(branch.parents < 0, number[node], branch.parents + start)
    return Tree(tokens, depths, ends, parents, number[tree.leaves]), number[places], starts
