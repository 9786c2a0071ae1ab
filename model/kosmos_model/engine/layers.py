"""A decoder's layers written out for evaluation, over weights that are laid out for their products once.

Short passes cost as many kernels as they start, so queries, keys and values come from one product; long ones cost what
their products do, and a CPU's are up to twice as fast over weights that stand in the blocks that it reads.

Shapes: B rows, S tokens of each, H heads, d width of a head, D = H d, V vocabulary, N some states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

from kosmos_eval.model import Work
from kosmos_model.engine.cost import token_price
from kosmos_model.modeling.attention import AttendingCache, KVCaches, Rotation
from kosmos_model.modeling.decoder import KosmosDecoder, sinusoids

COPIED = 1024  # up to this width, faster products are worth a second copy of the weights
BLOCKED = 1 << 18  # weights with fewer entries stay in a processor's cache however they are laid out
ROWS = 32  # that blocks are made for; they serve other numbers as well

Product = Callable[[Tensor], Tensor]


def product(weight: Tensor, bias: Tensor | None) -> Product:
    """Return the function that makes (..., out) of states (..., in) by a weight (out, in)."""
    return partial(linear, weight=weight, bias=bias)


def blocked(weight: Tensor, bias: Tensor | None) -> Product:
    """Return the same over a copy of the weight in blocks, if that is faster: for a large one in fp32 on a CPU."""
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    there = there and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if not there or weight.device.type != "cpu" or weight.dtype != torch.float32 or weight.numel() < BLOCKED:
        return product(weight, bias)
    laid = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS)
    bias = None if bias is None else bias.detach()
    return lambda states: torch.ops.mkldnn._linear_pointwise(states, laid, bias, "none", [], None)


class _Layer:
    """The weights of one layer."""

    def __init__(self, layer: Any, made: Callable[[Tensor, Tensor | None], Product], *, joined: bool) -> None:
        attention, ffn = layer.self_attn, layer.ffn
        apart = [(one.weight, one.bias) for one in (attention.q_proj, attention.k_proj, attention.v_proj)]
        with torch.no_grad():
            together = [tuple(torch.cat(each) for each in zip(*apart, strict=True))] if joined else apart
        self.projections = [made(weight, bias) for weight, bias in together]
        self.out, self.fc1, self.fc2 = (made(one.weight, one.bias) for one in (attention.out_proj, ffn.fc1, ffn.fc2))
        norms = layer.self_attn_layer_norm, attention.inner_attn_ln, layer.final_layer_norm, ffn.ffn_layernorm
        self.norms = [(one.normalized_shape, one.weight, one.bias, one.eps) for one in norms]


class Layers:
    """A decoder in evaluation mode, whose passes are counted.

    Args:
        decoder: whose weights are read, and partly copied; they must not change.
        work: what counts tokens and operations.
    """

    def __init__(self, decoder: KosmosDecoder, work: Work | None = None) -> None:
        self.decoder, self.work = decoder, work or Work()
        self.heads: int = decoder.args.decoder_attention_heads
        self._price, self._last = token_price(decoder.layers), decoder.output_projection
        final: Any = decoder.layers[-1]
        self._behind = token_price([final.self_attn.out_proj, final.ffn])
        self._layers: list[_Layer] | None = None
        self._project: Product = self._last
        if any(hasattr(weight, "device_mesh") for weight in decoder.parameters()):
            return  # FSDP gathers for modules only
        copied = decoder.embed_dim <= COPIED
        made = blocked if copied else product
        self._layers = [_Layer(layer, made, joined=copied) for layer in decoder.layers]
        self._project = made(self._last.weight, self._last.bias)

    def embed(self, tokens: Tensor) -> Tensor:
        """(B, S) -> (B, S, D)"""
        embedded: Tensor = self.decoder.embed_tokens(tokens)
        return embedded

    def logits(self, states: Tensor) -> Tensor:
        """(..., V) scores of the next token, in fp32, of states (..., D)."""
        self.work.flops += 2 * self._last.weight.numel() * states.shape[:-1].numel()
        return self._project(states).float()

    def hidden(
        self,
        embeddings: Tensor,
        *,
        positions: Tensor,
        longest: int,
        caches: Sequence[AttendingCache],
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Return the last layer's states after the final layer norm.

        Args:
            embeddings: (B, S, D) tokens and images, not yet scaled.
            positions: (B or 1, S or 1) of the tokens.
            longest: a bound above every position.
            caches: of each layer; the tokens are added to it.
            wanted: (N,) which of the B * S states are asked for; of other tokens the last layer makes keys and values
                alone.

        Returns:
            (B, S, D), or (N, D) those wanted.
        """
        decoder, (rows, length) = self.decoder, embeddings.shape[:2]
        self.work.tokens_computed += rows * length
        self.work.flops += self._price * rows * length
        if self._layers is None:
            states = decoder.hidden(embeddings, positions=positions, longest=longest, cache=KVCaches(caches))
            return states if wanted is None else states.flatten(0, 1)[wanted]
        if wanted is not None:
            self.work.flops -= self._behind * (rows * length - len(wanted))
        states, factors = decoder.embed_scale * embeddings, None
        if decoder.args.xpos_rel_pos:
            base, head_dim = decoder.args.xpos_scale_base, decoder.embed_dim // self.heads
            rotation = Rotation.at(positions, longest=longest, head_dim=head_dim, base=base)
            factors = torch.stack([rotation.queries, rotation.keys], dim=2)  # (B or 1, S or 1, 2, 1, d/2)
        else:
            states = states + sinusoids(positions, longest=longest, width=decoder.embed_dim).to(states.dtype)
        states = states.reshape(rows * length, -1)
        for layer, cache in zip(self._layers, caches, strict=True):
            normed = layer_norm(states, *layer.norms[0])
            made = [project(normed) for project in layer.projections]
            fresh = (made[0] if len(made) == 1 else torch.cat(made, -1)).view(rows, length, 3, self.heads, -1)
            pairs = _rotated(fresh[:, :, :2], factors)
            attended = cache.attend(pairs[:, :, 0], pairs[:, :, 1], fresh[:, :, 2]).reshape(rows * length, -1)
            if wanted is not None and layer is self._layers[-1]:
                attended, states = attended[wanted], states[wanted]
            states = states + layer.out(layer_norm(attended, *layer.norms[1]))
            inner = layer.fc1(layer_norm(states, *layer.norms[2]))
            inner = layer_norm(gelu(inner.float()).to(inner.dtype), *layer.norms[3])
            states = states + layer.fc2(inner)
        found: Tensor = decoder.layer_norm(states)
        return found.view(rows, length, -1) if wanted is None else found


def _rotated(pairs: Tensor, factors: Tensor | None) -> Tensor:
    """Turn queries and keys (B, S, 2, H, d) by complex factors, in fp32 whatever their type."""
    if factors is None:
        return pairs
    turned = torch.view_as_complex(pairs.float().view(*pairs.shape[:-1], -1, 2)) * factors
    return torch.view_as_real(turned).flatten(-2).to(pairs.dtype)
