"""Attention of nodes that are computed in any order, each after those above it: to a prompt and along its own path.

Shapes: R requests, W nodes of each in a step in G groups of C, P slots of a prompt, U nodes on the paths to a group,
T = P + U, H heads, d width of a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from kosmos_model.engine.prefill import Prefixes
from kosmos_model.engine.tree_attention import taken
from kosmos_model.modeling.attention import LayerCache, additive


@dataclass
class View:
    """The nodes that each node of a step sees, the same in every layer.

    Args:
        prompts: (R, P) true for the slots of the prompts that count.
        start: how many nodes of each request were computed before.
        slots: (R, G, U) which of a request's nodes the paths to a group are of, in the order of their computation.
        mask: (R * G, 1, C, T) added to the scores.
    """

    prompts: Tensor
    start: int
    slots: Tensor
    mask: Tensor

    def turn(self, slots: Tensor, sees: Tensor, *, like: Tensor) -> None:
        """Look at the nodes of the next step.

        Args:
            slots: (R, G, U)
            sees: (R, G, C, U) true for the nodes on the path to each node, itself included.
            like: a tensor of the type of the scores.
        """
        prompts = self.prompts[:, None, None].expand(-1, *sees.shape[1:3], -1)
        self.slots, self.mask = slots, additive(torch.cat([prompts, sees], -1).flatten(0, 1)[:, None], like=like)


class PathCache:
    """One layer's keys and values: of the prompts, and of the nodes computed so far.

    Args:
        prompts: a row of slots for each request.
        view: turned before each step, and shared by the layers.
    """

    def __init__(self, prompts: LayerCache, view: View) -> None:
        self.view = view
        filled = (slots[:, :, : prompts.used].transpose(1, 2) for slots in (prompts.keys, prompts.values))
        self.prompts = tuple(filled)  # keys and values, (R, P, H, d)
        self.nodes = tuple(slots[:, :0] for slots in self.prompts)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Rotated queries and keys, and values, of the nodes of a step, (R, W, H, d) each -> (R, W, H, d)."""
        view, stop = self.view, self.view.start + keys.shape[1]
        if stop > self.nodes[0].shape[1]:
            self.nodes = tuple(_longer(old, 2 * stop) for old in self.nodes)
        for nodes, new in zip(self.nodes, (keys, values), strict=True):
            nodes[:, view.start : stop] = new
        first = torch.arange(len(keys), device=keys.device) * self.nodes[0].shape[1]  # slots of all requests in a row
        slots, groups = view.slots + first[:, None, None], view.slots.shape[1]
        all_keys, all_values = (
            torch.cat(
                [prompt[:, None].expand(-1, groups, -1, -1, -1), taken(nodes.flatten(0, 1), slots)], dim=2
            ).flatten(0, 1)
            for prompt, nodes in zip(self.prompts, self.nodes, strict=True)
        )  # (R * G, T, H, d)
        asked = queries.reshape(-1, view.mask.shape[2], *queries.shape[2:])  # (R * G, C, H, d)
        q, k, v = (each.transpose(1, 2) for each in (asked, all_keys, all_values))
        return scaled_dot_product_attention(q, k, v, attn_mask=view.mask).transpose(1, 2).reshape(queries.shape)

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the requests alone."""
        self.prompts, self.nodes = (tuple(each[rows] for each in both) for both in (self.prompts, self.nodes))


def _longer(old: Tensor, slots: int) -> Tensor:
    new = old.new_empty(old.shape[0], slots, *old.shape[2:])
    new[:, : old.shape[1]] = old
    return new


def path_caches(prefixes: Prefixes) -> tuple[list[PathCache], View]:
    """Return the cache of each layer behind some prompts, and the view that all of them share."""
    sees = prefixes.sees()
    view = View(sees, 0, sees.new_empty(0), sees.new_empty(0))
    return [PathCache(layer, view) for layer in prefixes.cache.layers], view
