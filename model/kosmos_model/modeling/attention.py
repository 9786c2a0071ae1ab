"""TorchScale's attention with a cache that takes chunks of any length.

Shapes: B batch, H heads, S new tokens, T tokens in sight (cached and new), D width, d = D / H.

Keys are cached rotated: xPos scores depend on differences of positions only, so its decay may be centred on 0
for good, where TorchScale centres it anew on every length and rotates the whole cache again (KOSMOS-1 section 2.2).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from typing_extensions import override

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # torch.jit.script, somewhere below torchscale
    from torchscale.component.multihead_attention import MultiheadAttention as TorchScaleAttention

FEW_QUERIES = 8  # on a CPU, below this a plain product beats the flash kernel by far


@lru_cache(maxsize=16)
def _rotations(length: int, head_dim: int, base: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """xPos as complex factors: (length, d/2) for queries, and for keys, in the precision of fp32."""
    position = torch.arange(length, dtype=torch.float64)[:, None]
    half = torch.arange(head_dim // 2, dtype=torch.float64)
    angle = position * 10_000 ** (-half / (head_dim // 2))
    decay = ((2 * half + 0.4 * head_dim) / (1.4 * head_dim)) ** (position / base)
    both = torch.polar(decay, angle), torch.polar(1 / decay, angle)
    return both[0].to(device, torch.complex64), both[1].to(device, torch.complex64)


@dataclass(frozen=True)
class Rotation:
    """The factors of xPos for queries and keys at the positions of a chunk; both (B or 1, S, 1, d/2), complex."""

    queries: Tensor
    keys: Tensor

    @classmethod
    def at(cls, positions: Tensor, *, longest: int, head_dim: int, base: float) -> Rotation:
        """Return the rotation at given positions.

        Args:
            positions: (B or 1, S), each below ``longest``.
            longest: an upper bound of the positions, known without asking the device.
            head_dim: d.
            base: xPos' scale base (512 in TorchScale).
        """
        length = max(64, 1 << (longest - 1).bit_length())
        # inference mode must not leak into a table that training shares
        with torch.inference_mode(mode=False):
            queries, keys = _rotations(length, head_dim, float(base), positions.device)
        return cls(queries[positions][:, :, None], keys[positions][:, :, None])


def rotate(states: Tensor, factors: Tensor) -> Tensor:
    """Turn neighbouring pairs of features (B, S, H, d) by complex factors, in fp32 whatever the input's type."""
    pairs = torch.view_as_complex(states.float().contiguous().view(*states.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * factors).flatten(-2).to(states.dtype)


class AttendingCache(Protocol):
    """A layer's keys and values, where they are more than rows of slots."""

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Take in rotated keys, and values, (B, S, H, d) each, and let rotated queries of that shape attend."""
        ...


@dataclass(frozen=True)
class KVCaches:
    """A cache for each layer, which attends by itself."""

    layers: Sequence[AttendingCache]


class LayerCache:
    """Rotated keys and values of one layer, (B, H, capacity, d) each; the first ``used`` slots are filled."""

    def __init__(self, keys: Tensor, values: Tensor, *, used: int) -> None:
        self.keys, self.values, self.used = keys, values, used

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add S slots and return all that are filled, (B, H, T, d) each."""
        start, self.used = self.used, self.used + keys.shape[2]
        if self.used > self.keys.shape[2]:
            self.keys, self.values = (self._grown(old, start) for old in (self.keys, self.values))
        self.keys[:, :, start : self.used] = keys
        self.values[:, :, start : self.used] = values
        return self.keys[:, :, : self.used], self.values[:, :, : self.used]

    def _grown(self, old: Tensor, filled: int) -> Tensor:
        rows, heads, _, width = old.shape
        new = old.new_zeros(rows, heads, max(self.used + 16, self.used * 5 // 4), width)
        new[:, :, :filled] = old[:, :, :filled]
        return new


class Cache:
    """The keys and values of a batch, layer by layer. It grows as chunks come; what is allocated early never moves."""

    def __init__(self, layers: list[LayerCache]) -> None:
        self.layers = layers

    @classmethod
    def empty(cls, like: Tensor, *, layers: int, heads: int, capacity: int) -> Cache:
        """Return a cache with no slot filled, for embeddings (B, S, D) of the type and device of ``like``."""
        shape = like.shape[0], heads, capacity, like.shape[-1] // heads
        return cls([LayerCache(like.new_zeros(shape), like.new_zeros(shape), used=0) for _ in range(layers)])

    @property
    def used(self) -> int:
        """The number of filled slots."""
        return self.layers[0].used

    @property
    def rows(self) -> int:
        """B."""
        return self.layers[0].keys.shape[0]

    def select(self, rows: Tensor, slots: Tensor, *, spare: int = 0) -> Cache:
        """Return a copy of some slots of some rows, with room for more.

        Args:
            rows: (N,) of this cache, repeats allowed.
            slots: (N, P) of each row.
            spare: empty slots behind them.
        """
        row, slot = rows[:, None, None], slots[:, None]
        head = torch.arange(self.layers[0].keys.shape[1], device=rows.device)[None, :, None]

        def copied(old: Tensor) -> Tensor:
            new = old.new_zeros(len(rows), old.shape[1], slots.shape[1] + spare, old.shape[3])
            new[:, :, : slots.shape[1]] = old[row, head, slot]
            return new

        used = slots.shape[1]
        return Cache([LayerCache(copied(layer.keys), copied(layer.values), used=used) for layer in self.layers])


class MultiheadAttention(TorchScaleAttention):  # type: ignore[misc]
    """TorchScale's self-attention, same parameters and results, with fused kernels, fp32 xPos and a cache.

    Without a mask it is causal. Padding belongs on the right, where causality hides it.
    """

    @override
    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        incremental_state: LayerCache | AttendingCache | None = None,
        key_padding_mask: Tensor | None = None,
        attn_mask: Tensor | None = None,
        rel_pos: Rotation | None = None,
        is_first_step: bool = False,
    ) -> tuple[Tensor, None]:
        """Attend within a chunk and to what is cached.

        Args:
            query: (B, S, D).
            key: the same; attention here is always to oneself.
            value: the same.
            incremental_state: this layer's cache, which the chunk is added to, or one that attends by itself.
            key_padding_mask: (B, T), true where a key is padding.
            attn_mask: (S, T) or (B, 1, S, T), added to the scores; None is causal.
            rel_pos: the rotation of the chunk; None for positions that follow the cache's slots.
            is_first_step: TorchScale's; the cache knows by itself.

        Returns:
            (B, S, D), and None where TorchScale has its weights.
        """
        shape = (*query.shape[:2], self.num_heads, self.head_dim)
        q, k, v = (linear(query).view(shape) for linear in (self.q_proj, self.k_proj, self.v_proj))  # (B, S, H, d)
        past = incremental_state.used if isinstance(incremental_state, LayerCache) else 0
        if self.xpos is not None:
            if rel_pos is None:
                longest = past + query.shape[1]
                positions = torch.arange(past, longest, device=query.device)[None]
                base = self.xpos.scale_base
                rel_pos = Rotation.at(positions, longest=longest, head_dim=self.head_dim, base=base)
            q, k = rotate(q, rel_pos.queries), rotate(k, rel_pos.keys)
        if incremental_state is None or isinstance(incremental_state, LayerCache):
            attended = self._cached(q, k, v, incremental_state, padding=key_padding_mask, mask=attn_mask)
        else:
            attended = incremental_state.attend(q, k, v)
        attended = attended.flatten(-2)
        if self.inner_attn_ln is not None:
            attended = self.inner_attn_ln(attended)
        return self.out_proj(attended), None

    def _cached(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        cache: LayerCache | None,
        *,
        padding: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        """Attend within (B, S, H, d) and to a cache -> (B, S, H, d)."""
        past = cache.used if cache else 0
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        if cache is not None:
            k, v = cache.extend(k, v)
        if mask is None and (past or padding is not None) and q.shape[2] > 1:
            mask = causal(q.shape[2], k.shape[2], like=q)
        if padding is not None:
            mask = _padded(mask, padding, like=q)
        return self._attend(q, k, v, mask).transpose(1, 2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        dropout = self.dropout_module.p if self.training else 0.0
        if q.shape[2] <= FEW_QUERIES and q.device.type == "cpu" and not dropout and k.shape[2] > q.shape[2]:
            scores = torch.matmul(q * self.scaling, k.transpose(-1, -2))
            scores = scores if mask is None else scores + mask
            return torch.matmul(scores.softmax(-1), v)
        is_causal = mask is None and q.shape[2] > 1
        return scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=is_causal)


def causal(queries: int, keys: int, *, like: Tensor) -> Tensor:
    """Return the additive mask (S, T) under which each of the last S positions sees itself and all before."""
    return like.new_full((queries, keys), -math.inf).triu(keys - queries + 1)


def additive(visible: Tensor, *, like: Tensor) -> Tensor:
    """Return the mask to add to scores: 0 where visible, minus infinity elsewhere."""
    return torch.zeros(visible.shape, dtype=like.dtype, device=visible.device).masked_fill_(~visible, -math.inf)


def _padded(mask: Tensor | None, padding: Tensor, *, like: Tensor) -> Tensor:
    """Hide padded keys too, but never a query's own, so that no row is empty (an empty row gives NaN)."""
    queries, keys = (mask.shape[-2] if mask is not None else 1), padding.shape[1]
    own = torch.eye(queries, dtype=torch.bool, device=padding.device)
    own = torch.nn.functional.pad(own, (keys - queries, 0))
    hidden = additive(~padding.bool()[:, None, None] | own, like=like)
    return hidden if mask is None else hidden + mask
