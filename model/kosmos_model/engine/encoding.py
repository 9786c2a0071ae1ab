"""Requests as token sequences, with exact boundaries between a prompt and what continues it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from kosmos_eval.models.decoding import Trie
from kosmos_eval.prompt import Prompt
from kosmos_model.engine.token_tree import Ints, Tree, common
from kosmos_model.modeling.tokenizer import EOS, PromptTokenizer


@dataclass(frozen=True, eq=False)
class ContinuationTree:
    """Strings that continue a prompt, as a tree: its nodes have to be computed, and what follows them is scored.

    Args:
        tree: of all tokens behind the root but the last of each string.
        nodes: (E,) of each edge the node it leaves, -1 for the root.
        tokens: (E,) the token it leads to.
        lengths: tokens that are scored, for each string.
        edges: (sum of lengths,) which those are, string by string.
        depth: tokens from the root to the end of the longest.
    """

    tree: Tree
    nodes: Ints
    tokens: Ints
    lengths: tuple[int, ...]
    edges: Ints
    depth: int


def prompt_ids(tokenizer: PromptTokenizer, prompt: Prompt, *, slots: Mapping[str, int]) -> list[int]:
    """Return the tokens of a prompt, in which every image has slots of its own.

    Args:
        tokenizer: it encodes each text of a prompt by itself.
        prompt: text and images.
        slots: the first slot of each image, by digest; the others follow it.
    """
    ids, images = tokenizer.prompt(prompt)
    if not images:
        return ids
    flat = np.array(ids)
    places = [np.arange(tokenizer.slots) + slots[image.digest] for image in images]
    flat[flat == tokenizer.slot] = np.concatenate(places)
    return [int(token) for token in flat]


def continuation_tree(
    tokenizer: PromptTokenizer, prompt: Prompt, texts: tuple[str, ...], *, terminated: bool
) -> tuple[int, ContinuationTree]:
    """Return what follows a prompt's tokens when it is continued by strings.

    Prompt and string are encoded together, as they would be in a document, and part where the tokens begin to
    differ from the prompt's own. Where a token runs across the boundary, its part of the prompt counts as continued.

    Args:
        tokenizer: it encodes each text of a prompt by itself.
        prompt: what is continued.
        texts: the strings.
        terminated: whether the end of text follows.

    Returns:
        How many of the prompt's own tokens come before the root, and what comes after; the same object wherever
        prompts end in the same text.
    """
    tail, before = _tail(tokenizer, prompt)
    root, found = _continuation_tree(tokenizer, tail, texts, terminated)
    return before + root, found


def _tail(tokenizer: PromptTokenizer, prompt: Prompt) -> tuple[str, int]:
    """Return the last text of a prompt, and how many tokens come before it."""
    tail = prompt.parts[-1] if prompt.parts and isinstance(prompt.parts[-1], str) else ""
    return tail, len(tokenizer.prompt(prompt)[0]) - len(_encoded(tokenizer, tail))


@lru_cache(maxsize=1024)
def _encoded(tokenizer: PromptTokenizer, text: str) -> tuple[int, ...]:
    return tuple(tokenizer.encode(text))


@lru_cache(maxsize=256)
def _continuation_tree(
    tokenizer: PromptTokenizer, tail: str, texts: tuple[str, ...], terminated: bool
) -> tuple[int, ContinuationTree]:
    own, end = _encoded(tokenizer, tail), (EOS,) if terminated else ()
    split = [_split(tokenizer, tail, own, text) for text in texts]
    root = min((shared for shared, _ in split), default=len(own))
    strings = [(*own[root:shared], *tokens, *end) for shared, tokens in split]
    tree = Tree.build([(0, *string[:-1]) for string in strings] or [(0,)])  # 0 is the root, and leaves again
    edges: dict[tuple[int, int], int] = {}
    places: list[int] = []
    lengths = tuple(len(tokens) + len(end) for _, tokens in split)
    for leaf, string, length in zip(tree.leaves.tolist(), strings, lengths, strict=False):
        path = [leaf]
        while len(path) < length:
            path.append(int(tree.parents[path[-1]]))
        scored = zip(reversed(path), string[len(string) - length :], strict=False)
        places += [edges.setdefault((node - 1, token), len(edges)) for node, token in scored]
    nodes, tokens = np.array(list(edges), dtype=np.int64).reshape(-1, 2).T
    return root, ContinuationTree(
        tree=Tree(*(tree.tokens[1:], tree.depths[1:] - 1, tree.ends[1:] - 1, tree.parents[1:] - 1, tree.leaves - 1)),
        nodes=nodes,
        tokens=tokens,
        lengths=lengths,
        edges=np.array(places, dtype=np.int64),
        depth=max(map(len, strings), default=0),
    )


@lru_cache(maxsize=65_536)
def _split(tokenizer: PromptTokenizer, tail: str, own: tuple[int, ...], text: str) -> tuple[int, tuple[int, ...]]:
    joint = tuple(tokenizer.encode(tail + text))
    shared = common(own, joint)
    return shared, joint[shared:]


def choices(tokenizer: PromptTokenizer, prompt: Prompt, texts: tuple[str, ...]) -> tuple[int, Trie]:
    """Return the strings that may continue a prompt as a trie, which begins at the earliest boundary of any of them.

    Returns:
        How many of the prompt's own tokens come before the root, and the trie.
    """
    tail, before = _tail(tokenizer, prompt)
    root, trie = _trie(tokenizer, tail, texts)
    return before + root, trie


@lru_cache(maxsize=64)
def _trie(tokenizer: PromptTokenizer, tail: str, texts: tuple[str, ...]) -> tuple[int, Trie]:
    own = _encoded(tokenizer, tail)
    root = min(_split(tokenizer, tail, own, text)[0] for text in texts)
    return root, Trie.of(((text, tokenizer.encode(tail + text)[root:]) for text in texts), end=EOS)
