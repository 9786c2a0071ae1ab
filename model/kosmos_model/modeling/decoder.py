"""The language model: TorchScale's decoder as KOSMOS-1 and KOSMOS-2 use it (sections 2.2 and 3.2).

Shapes: B batch, S new tokens, T tokens in sight (cached and new), D width, V vocabulary.
"""

from __future__ import annotations

import math
import warnings
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kosmos_model.modeling.attention import Cache, KVCaches, MultiheadAttention, Rotation, additive
from kosmos_model.modeling.config import KosmosConfig
from kosmos_model.modeling.tokenizer import PAD

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # torch.jit.script, somewhere below torchscale
    from torchscale.architecture.config import DecoderConfig
    from torchscale.architecture.decoder import Decoder, DecoderLayer
    from torchscale.component.embedding import TextEmbedding


class _Layer(DecoderLayer):  # type: ignore[misc]
    def build_self_attention(self, embed_dim: int, args: DecoderConfig) -> MultiheadAttention:
        heads, dropout = args.decoder_attention_heads, args.attention_dropout
        return MultiheadAttention(args, embed_dim, heads, dropout=dropout, self_attention=True, subln=args.subln)


class KosmosDecoder(Decoder):  # type: ignore[misc]
    """TorchScale's decoder with MAGNETO's initialisation, fed with embeddings rather than tokens.

    Its parameters have TorchScale's names. `checkpoint_activations` trades time for memory in training.
    """

    embed_tokens: nn.Embedding
    output_projection: nn.Linear
    layer_norm: nn.LayerNorm
    checkpoint_activations = False

    def __init__(self, args: DecoderConfig, embed_tokens: nn.Embedding) -> None:
        super().__init__(args, embed_tokens)
        self.reset_parameters()

    def build_decoder_layer(
        self, args: DecoderConfig, depth: int, is_moe_layer: bool = False, is_encoder_decoder: bool = False
    ) -> nn.Module:
        """One layer with our attention in TorchScale's place."""
        return _Layer(args, depth)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise as MAGNETO does (KOSMOS-1 section 3.2).

        Xavier-normal weights, with gain sqrt(ln 2L) where values pass (v_proj, out_proj, fc1, fc2) and 1 for
        queries and keys; embeddings normal with variance 1 / D; no biases. TorchScale alone scales torch's default
        initialisation, which is another one.
        """
        gain = math.sqrt(math.log(2 * self.num_layers))
        nn.init.normal_(self.embed_tokens.weight, std=self.embed_dim**-0.5)
        for name, module in self.named_modules():
            if isinstance(module, nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(module, nn.Linear) and module is not self.output_projection:
                of_attention = name.endswith(("q_proj", "k_proj"))
                nn.init.xavier_normal_(module.weight, gain=1.0 if of_attention else gain)
                nn.init.zeros_(module.bias)

    def hidden(
        self,
        embeddings: Tensor,
        *,
        positions: Tensor | None = None,
        longest: int | None = None,
        visible: Tensor | None = None,
        cache: Cache | KVCaches | None = None,
    ) -> Tensor:
        """Return the last layer's states after the final layer norm.

        Args:
            embeddings: (B, S, D) tokens and images, not yet scaled.
            positions: (B, S) of the tokens; None where they follow the cache's slots. Absolute ones are added to the
                embeddings, and -1 adds nothing: padding has no position.
            longest: a bound above every position; needed with ``positions``.
            visible: (B, S, T) true where a token sees a slot; None is causal, and then padding belongs on the right.
            cache: what came before; the tokens are added to it. Memories want ``positions``, and see by themselves.

        Returns:
            (B, S, D)
        """
        past = cache.used if isinstance(cache, Cache) else 0
        if positions is None:
            longest = past + embeddings.shape[1]
            positions = torch.arange(past, longest, device=embeddings.device)[None]
        if longest is None:
            raise ValueError("positions need a bound: pass longest")
        mask = None if visible is None else additive(visible, like=embeddings)[:, None]
        states, rotation = self.embed_scale * embeddings, None
        if self.args.xpos_rel_pos:
            head_dim, base = self.embed_dim // self.args.decoder_attention_heads, self.args.xpos_scale_base
            rotation = Rotation.at(positions, longest=longest, head_dim=head_dim, base=base)
        else:
            states = states + sinusoids(positions, longest=longest, width=self.embed_dim).to(states.dtype)
        states = self.dropout_module(states)
        for index, layer in enumerate(self.layers):
            cached = cache.layers[index] if cache is not None else None
            if self.checkpoint_activations and torch.is_grad_enabled():
                states = checkpoint(_through, layer, states, rotation, mask, use_reentrant=False)
            else:
                states = _through(layer, states, rotation, mask, cached=cached)
        return self.layer_norm(states)  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., V) scores of the next token, in fp32, of states (..., D)."""
        return self.output_projection(hidden).float()  # type: ignore[no-any-return]

    def cache(self, like: Tensor, *, capacity: int) -> Cache:
        """Return an empty cache for embeddings (B, S, D) like those given."""
        heads = self.args.decoder_attention_heads
        return Cache.empty(like, layers=self.num_layers, heads=heads, capacity=capacity)


def _through(
    layer: nn.Module, states: Tensor, rotation: Rotation | None, mask: Tensor | None, *, cached: object = None
) -> Tensor:
    return layer(states, incremental_state=cached, self_attn_mask=mask, self_attn_rel_pos=rotation)[0]  # type: ignore[no-any-return]


def sinusoids(positions: Tensor, *, longest: int, width: int) -> Tensor:
    """Absolute positions as fairseq writes them, which KOSMOS-2's public weights were trained with.

    Args:
        positions: (B or 1, S), each below ``longest``; -1 is padding.
        longest: an upper bound of the positions, known without asking the device.
        width: D.

    Returns:
        (B or 1, S, D) float32: sines, then cosines; zeros for padding.
    """
    # inference mode must not leak into a table that training shares
    with torch.inference_mode(mode=False):
        table = _sinusoids(max(64, 1 << longest.bit_length()), width, positions.device)
    return table[positions + PAD + 1]


@lru_cache(maxsize=16)
def _sinusoids(length: int, width: int, device: torch.device) -> Tensor:
    """(length + 2, D): the row of padding is zero, and position 0 is the row behind it; in fp32, as in training."""
    frequency = torch.exp(torch.arange(width // 2).float() * -(math.log(10_000) / (width // 2 - 1)))
    angle = torch.arange(length + PAD + 1).float()[:, None] * frequency
    table = torch.cat([angle.sin(), angle.cos()], dim=1)
    table[PAD] = 0
    return table.to(device)


def build_decoder(config: KosmosConfig) -> KosmosDecoder:
    """Return the decoder of a configuration: sub-LN, GELU, input and output embeddings tied (KOSMOS-1 Table 17)."""
    args = DecoderConfig(
        decoder_embed_dim=config.width,
        decoder_layers=config.layers,
        decoder_attention_heads=config.heads,
        decoder_ffn_embed_dim=config.ffn,
        dropout=config.dropout,
        attention_dropout=config.attention_dropout,
        vocab_size=config.vocab_size,
        subln=True,
        xpos_rel_pos=config.positions == "xpos",
        no_scale_embedding=not config.scale_embedding,
        share_decoder_input_output_embed=True,
    )
    return KosmosDecoder(args, TextEmbedding(config.vocab_size, config.width))
