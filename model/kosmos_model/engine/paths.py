"""Attention of nodes that are computed in any order, each after those above it: to a prompt and along its own path.

Shapes: R requests, W nodes of each in a step in G groups of C, P slots of a prompt, U nodes on the paths to a group,
H heads, d width of a head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kosmos_model.engine.attention import LayerCache, additive
from kosmos_model.engine.walk import Prefixes


@dataclass
class View:
    """What the nodes of a step see, the same in every layer.

    Args:
        prompts: (R, 1, 1, P) added to the scores of the prompts' slots.
        start: how many nodes of each request were computed before.
        slots: (R, G, U) which of a request's nodes the paths to a group are of, in the order of their computation.
        paths: (R, G, 1, C, U) added to the scores of these.
    """

    prompts: Tensor
    start: int
    slots: Tensor
    paths: Tensor


class Paths:
    """One layer's memory: the prompts, and the nodes computed so far.

    Args:
        prompts: a row of slots for each request.
        view: replaced before each step, and shared by the layers.
    """

    def __init__(self, prompts: LayerCache, view: View) -> None:
        self.view = view
        self.prompts = prompts.keys[:, :, : prompts.used], prompts.values[:, :, : prompts.used]
        rows, heads, _, width = prompts.keys.shape
        self.nodes = tuple(prompts.keys.new_empty(rows, 0, heads, width) for _ in range(2))  # keys and values

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Rotated queries and keys, and values, of the nodes of a step, (R, W, H, d) each -> (R, W, H, d)."""
        view, split = self.view, self.prompts[0].shape[2]
        stop = view.start + keys.shape[1]
        if stop > self.nodes[0].shape[1]:
            self.nodes = tuple(_longer(old, max(64, 2 * stop)) for old in self.nodes)
        for nodes, new in zip(self.nodes, (keys, values), strict=True):
            nodes[:, view.start : stop] = new
        row = torch.arange(len(keys), device=keys.device)[:, None, None]
        path_keys, path_values = (nodes[row, view.slots].transpose(2, 3) for nodes in self.nodes)  # (R, G, H, U, d)
        queries = queries.transpose(1, 2) / math.sqrt(queries.shape[-1])  # (R, H, W, d)
        split_up = (*queries.shape[:2], view.paths.shape[1], view.paths.shape[3], -1)
        grouped = queries.reshape(split_up).transpose(1, 2)  # (R, G, H, C, d)
        to_prompt = torch.matmul(queries, self.prompts[0].transpose(-1, -2)) + view.prompts  # (R, H, W, P)
        to_path = torch.matmul(grouped, path_keys.transpose(-1, -2)) + view.paths  # (R, G, H, C, U)
        scores = torch.cat([to_prompt, to_path.transpose(1, 2).flatten(2, 3)], -1)
        weights = scores.softmax(-1, dtype=torch.float32).to(values.dtype)
        along = weights[..., split:].reshape(split_up).transpose(1, 2)
        from_path = torch.matmul(along, path_values).transpose(1, 2).flatten(2, 3)  # (R, H, W, d)
        return (torch.matmul(weights[..., :split], self.prompts[1]) + from_path).transpose(1, 2)

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the requests alone."""
        self.prompts = self.prompts[0][rows], self.prompts[1][rows]
        self.nodes = tuple(nodes[rows] for nodes in self.nodes)


def _longer(old: Tensor, slots: int) -> Tensor:
    new = old.new_empty(old.shape[0], slots, *old.shape[2:])
    new[:, : old.shape[1]] = old
    return new


def memories(prefixes: Prefixes) -> tuple[list[Paths], View]:
    """The memory of each layer behind some prompts, and the view that all of them share."""
    sees = additive(prefixes.sees(), like=prefixes.states)[:, None, None]
    empty = sees.new_empty(len(sees), 0, 0)
    view = View(sees, 0, empty.long(), empty[:, :, None, None])
    return [Paths(layer, view) for layer in prefixes.cache.layers], view
