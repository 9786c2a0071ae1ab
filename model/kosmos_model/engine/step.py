"""One step of decoding: TorchScale's layers written out for a few tokens a row, over slots that are never copied.

A step is short, so what counts is how many kernels it starts: queries, keys and values come from one product, all
layers' slots are one tensor, and what every row sees is attended to in one product for all rows.

Shapes: L layers, B rows, K tokens of a row, T slots of a row, P slots that all rows see, H heads, d width of a head,
D = H d.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

from kosmos_eval.profile import Work
from kosmos_model.decoder import KosmosDecoder, sinusoids
from kosmos_model.engine.attention import Memories, Rotation, additive
from kosmos_model.engine.work import token_price

JOINED = 1024  # up to this width, one product for queries, keys and values is worth a second copy of the weights


@dataclass
class Slots:
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

    def select(self, rows: Tensor, slots: Tensor, *, spare: int) -> Slots:
        """Some slots (N, T) of some rows (N,), with room for ``spare`` more."""
        layers, two, _, heads, _, width = self.own.shape
        own = self.own.new_empty(layers, two, len(rows), heads, slots.shape[1] + spare, width)
        head = torch.arange(heads, device=rows.device)[:, None]
        own[..., : slots.shape[1], :] = self.own[:, :, rows[:, None, None], head, slots[:, None]]
        return Slots(self.shared, own, slots.shape[1])

    def joined(self, other: Slots, *, spare: int) -> Slots:
        """The rows of both, which share the same; the shorter ones have empty slots behind."""
        layers, two, rows, heads, _, width = self.own.shape
        used = max(self.used, other.used)
        own = self.own.new_zeros(layers, two, rows + other.own.shape[2], heads, used + spare, width)
        own[:, :, :rows, :, : self.used] = self.own[..., : self.used, :]
        own[:, :, rows:, :, : other.used] = other.own[..., : other.used, :]
        return Slots(self.shared, own, used)


class _Layer:
    """The weights of one layer."""

    def __init__(self, layer: Any) -> None:
        attention, ffn = layer.self_attn, layer.ffn
        apart = [(one.weight, one.bias) for one in (attention.q_proj, attention.k_proj, attention.v_proj)]
        with torch.no_grad():
            joined = [torch.cat(each) for each in zip(*apart, strict=True)] if attention.embed_dim <= JOINED else None
        self.projections = [joined] if joined else [[*pair] for pair in apart]
        self.out, self.fc1, self.fc2 = ((one.weight, one.bias) for one in (attention.out_proj, ffn.fc1, ffn.fc2))
        norms = layer.self_attn_layer_norm, attention.inner_attn_ln, layer.final_layer_norm, ffn.ffn_layernorm
        self.norms = [(one.normalized_shape, one.weight, one.bias, one.eps) for one in norms]


class Step:
    """A decoder in evaluation mode, for tokens that follow what is in slots.

    Args:
        decoder: whose weights are read; they must not change.
        work: what counts the tokens.
    """

    def __init__(self, decoder: KosmosDecoder, work: Work | None = None) -> None:
        self.decoder, self.work = decoder, work or Work()
        self.price = token_price(decoder)
        self.heads: int = decoder.args.decoder_attention_heads
        spread = any(hasattr(weight, "device_mesh") for weight in decoder.parameters())
        self.layers = None if spread else [_Layer(layer) for layer in decoder.layers]  # FSDP gathers for modules only

    def __call__(self, tokens: Tensor, *, positions: Tensor, longest: int, visible: Tensor, slots: Slots) -> Tensor:
        """The states after some tokens, which are added to the slots.

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
        mask = additive(visible, like=slots.own)[:, None].expand(-1, self.heads, -1, -1).flatten(0, 1)
        sights = [_Sight(shared, own, slots.used, mask) for shared, own in zip(slots.shared, slots.own, strict=True)]
        if self.layers is None:
            embedded, every = self.decoder.embed_tokens(tokens), positions.expand(-1, width)
            states = self.decoder.hidden(embedded, positions=every, longest=longest, cache=Memories(sights))
        else:
            states = self._fed(self.layers, tokens, sights, positions=positions, longest=longest)
        slots.used += width
        return states

    def _fed(
        self, layers: Sequence[_Layer], tokens: Tensor, sights: Sequence[_Sight], *, positions: Tensor, longest: int
    ) -> Tensor:
        """The layers written out, (B, K) -> (B, K, D)."""
        decoder, (rows, width) = self.decoder, tokens.shape
        self.work.tokens_computed += rows * width
        self.work.flops += self.price * rows * width
        states, factors = decoder.embed_scale * decoder.embed_tokens(tokens), None
        if decoder.args.xpos_rel_pos:
            base, head_dim = decoder.args.xpos_scale_base, decoder.embed_dim // self.heads
            rotation = Rotation.at(positions, longest=longest, head_dim=head_dim, base=base)
            factors = torch.stack([rotation.queries, rotation.keys], dim=2)  # (B, 1, 2, 1, d/2)
        else:
            states = states + sinusoids(positions, longest=longest, width=decoder.embed_dim).to(states.dtype)
        states = states.view(rows * width, -1)
        for layer, sight in zip(layers, sights, strict=True):
            normed = layer_norm(states, *layer.norms[0])
            made = [linear(normed, *weights) for weights in layer.projections]
            fresh = (made[0] if len(made) == 1 else torch.cat(made, -1)).view(rows, width, 3, self.heads, -1)
            pairs = _rotated(fresh[:, :, :2], factors)
            attended = sight.attend(pairs[:, :, 0], pairs[:, :, 1], fresh[:, :, 2]).view(rows * width, -1)
            states = states + linear(layer_norm(attended, *layer.norms[1]), *layer.out)
            inner = linear(layer_norm(states, *layer.norms[2]), *layer.fc1)
            inner = layer_norm(gelu(inner.float()).to(inner.dtype), *layer.norms[3])
            states = states + linear(inner, *layer.fc2)
        return decoder.layer_norm(states).view(rows, width, -1)  # type: ignore[no-any-return]


def _rotated(pairs: Tensor, factors: Tensor | None) -> Tensor:
    """Turn queries and keys (B, K, 2, H, d) by complex factors, in fp32 whatever their type."""
    if factors is None:
        return pairs
    turned = torch.view_as_complex(pairs.float().view(*pairs.shape[:-1], -1, 2)) * factors
    return torch.view_as_real(turned).flatten(-2).to(pairs.dtype)


class _Sight:
    """What the new tokens of a layer see: slots that are shared, (2, H, P, d), and own ones, (2, B, H, capacity, d)."""

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
