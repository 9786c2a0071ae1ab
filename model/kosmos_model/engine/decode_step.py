"""One step of decoding: a few tokens a row, over slots that are never copied.

All layers' slots are one tensor, and what every row sees is attended to in one product for all rows.

Shapes: L layers, B rows, K tokens of a row, T slots of a row, P slots that all rows see, H heads, d width of a head,
D = H d.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kosmos_model.engine.layers import Layers
from kosmos_model.modeling.attention import additive


@dataclass
class KVCache:
    """Rotated keys, and values, of all layers.

    Args:
        shared: (L, 2, H, P, d) what all rows see.
        own: (L, 2, B, H, capacity, d) what each row sees alone.
        used: T, how many of the rows' slots are filled.
    """

    shared: Tensor
    own: Tensor
    used: int

    def reserve(self, count: int) -> None:
        """Make room for so many slots more."""
        if self.used + count > self.own.shape[4]:
            shape = (*self.own.shape[:4], self.used + max(count, 32, self.used // 2), self.own.shape[5])
            grown = self.own.new_empty(shape)  # what is not used is written before it is read
            grown[..., : self.used, :] = self.own[..., : self.used, :]
            self.own = grown

    def select(self, rows: Tensor, slots: Tensor, *, spare: int) -> KVCache:
        """Return some slots (N, T) of some rows (N,), with room for ``spare`` more."""
        layers, two, _, heads, _, width = self.own.shape
        own = self.own.new_empty(layers, two, len(rows), heads, slots.shape[1] + spare, width)
        head = torch.arange(heads, device=rows.device)[:, None]
        own[..., : slots.shape[1], :] = self.own[:, :, rows[:, None, None], head, slots[:, None]]
        return KVCache(self.shared, own, slots.shape[1])

    def joined(self, other: KVCache, *, spare: int) -> KVCache:
        """Return the rows of both, which share the same; the shorter ones have empty slots behind."""
        layers, two, rows, heads, _, width = self.own.shape
        used = max(self.used, other.used)
        own = self.own.new_zeros(layers, two, rows + other.own.shape[2], heads, used + spare, width)
        own[:, :, :rows, :, : self.used] = self.own[..., : self.used, :]
        own[:, :, rows:, :, : other.used] = other.own[..., : other.used, :]
        return KVCache(self.shared, own, used)


class DecodeStep:
    """A step of a decoder, for tokens that follow what is in slots.

    Args:
        layers: of the decoder.
    """

    def __init__(self, layers: Layers) -> None:
        self.layers = layers

    def __call__(self, tokens: Tensor, *, positions: Tensor, longest: int, visible: Tensor, slots: KVCache) -> Tensor:
        """Return the states after some tokens, which are added to the slots.

        Args:
            tokens: (B, K)
            positions: (B, 1) of them.
            longest: a bound above every position.
            visible: (B, K, T + K) which of its row's slots each token sees, the new ones included.
            slots: what came before.

        Returns:
            (B, K, D)
        """
        width = tokens.shape[1]
        slots.reserve(width)
        mask = additive(visible, like=slots.own)[:, None].expand(-1, self.layers.heads, -1, -1).flatten(0, 1)
        caches = [
            _LayerCache(shared, own, slots.used, mask) for shared, own in zip(slots.shared, slots.own, strict=True)
        ]
        states = self.layers.hidden(self.layers.embed(tokens), positions=positions, longest=longest, caches=caches)
        slots.used += width
        return states


class _LayerCache:
    """A layer's keys and values: shared slots, (2, H, P, d), and those of each row, (2, B, H, capacity, d)."""

    def __init__(self, shared: Tensor, own: Tensor, used: int, mask: Tensor) -> None:
        self.shared, self.own, self.used, self.mask = shared, own, used, mask

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Take in rotated keys, and values, (B, K, H, d) each, and let rotated queries of that shape attend."""
        rows, width, heads, size = queries.shape
        queries, stop = queries * size**-0.5, self.used + width
        self.own[0, :, :, self.used : stop] = keys.transpose(1, 2)
        self.own[1, :, :, self.used : stop] = values.transpose(1, 2)
        seen_keys, seen_values = self.own[:, :, :, :stop].flatten(1, 2)  # (B H, T + K, d)
        asked = queries.transpose(1, 2).reshape(rows * heads, width, size)
        scores = torch.baddbmm(self.mask, asked, seen_keys.transpose(1, 2))  # (B H, K, T + K)
        if not self.shared.shape[2]:
            return (
                torch.bmm(scores.softmax(-1), seen_values).view(rows, heads, width, size).transpose(1, 2).contiguous()
            )
        common, past = queries.flatten(0, 1).transpose(0, 1), self.shared.shape[2]  # (H, B K, d)
        above = torch.bmm(common, self.shared[0].transpose(1, 2)).view(heads, rows, width, past).transpose(0, 1)
        weights = torch.cat([above, scores.view(rows, heads, width, stop)], dim=-1).softmax(-1)
        within = torch.bmm(weights[..., past:].flatten(0, 1), seen_values).view(rows, heads, width, size)
        beyond = torch.bmm(weights[..., :past].transpose(0, 1).reshape(heads, rows * width, past), self.shared[1])
        return (beyond.view(heads, rows, width, size).permute(1, 2, 0, 3) + within.transpose(1, 2)).contiguous()
