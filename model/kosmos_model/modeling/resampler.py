"""Attentive pooling of image tokens to a fixed number of embeddings (KOSMOS-1 section 2.2).

Shapes: I images, N tokens and Q latents (embeddings) of one image, C width of the image encoder, D of the decoder.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kosmos_eval.files import Json
from kosmos_model.modeling.config import KosmosConfig


class CrossAttention(nn.Module):
    """Multi-head attention from one sequence to another.

    Args:
        width: of what comes in and goes out.
        heads: number of heads.
        head_width: width of one head.
        bias: whether the projections have one.
        dropout: on attention weights.
    """

    def __init__(self, width: int, *, heads: int, head_width: int, bias: bool, dropout: float = 0.0) -> None:
        super().__init__()
        inner = heads * head_width
        self.heads = heads
        self.dropout = dropout
        self.q_proj = nn.Linear(width, inner, bias=bias)
        self.k_proj = nn.Linear(width, inner, bias=bias)
        self.v_proj = nn.Linear(width, inner, bias=bias)
        self.out_proj = nn.Linear(inner, width, bias=bias)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """(I, Q, width) attending to (I, N, width) -> (I, Q, width)."""
        q, k, v = (
            project(of).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (I, heads, Q or N, head width)
            for project, of in ((self.q_proj, queries), (self.k_proj, context), (self.v_proj, context))
        )
        pooled = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        attended: Tensor = self.out_proj(pooled.transpose(1, 2).flatten(2))
        return attended


class Resampler(nn.Module):
    """The published form: one cross-attention from learned latents to image tokens and latents, and nothing around it.

    Its weights have the names of KOSMOS-2's connector.
    """

    def __init__(self, vision_width: int, width: int, *, latents: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dense = nn.Linear(vision_width, width)
        self.latent_query = nn.Parameter(torch.randn(latents, width))
        self.x_attn = CrossAttention(width, heads=heads, head_width=width // heads, bias=True, dropout=dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Pool the tokens of each image.

        Args:
            features: (I, N, C).

        Returns:
            (I, Q, D).
        """
        tokens = self.dense(features)  # (I, N, D)
        latents = self.latent_query.expand(len(tokens), -1, -1)  # (I, Q, D)
        pooled: Tensor = self.x_attn(latents, torch.cat([tokens, latents], dim=1))
        return pooled


class PerceiverLayer(nn.Module):
    """Cross-attention and a feed-forward layer, each with its norm before and a residual around."""

    def __init__(self, width: int, *, heads: int, head_width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.token_norm = nn.LayerNorm(width)
        self.latent_norm = nn.LayerNorm(width)
        self.x_attn = CrossAttention(width, heads=heads, head_width=head_width, bias=False, dropout=dropout)
        self.ffn = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width, bias=False),
            nn.GELU(),
            nn.Linear(4 * width, width, bias=False),
        )

    def forward(self, latents: Tensor, tokens: Tensor, places: Tensor | None = None) -> Tensor:
        """(I, Q, C) latents, (I, N, C) tokens and what is added to the normed ones, (N, C) -> (I, Q, C) latents."""
        queries, context = self.latent_norm(latents), self.token_norm(tokens)
        if places is not None:
            context = context + places
        latents = latents + self.x_attn(queries, torch.cat([context, queries], dim=1))
        refined: Tensor = latents + self.ffn(latents)
        return refined


class Perceiver(nn.Module):
    """Flamingo's Perceiver resampler: layers of the image encoder's width, 8 heads of 64, then one projection.

    It makes KOSMOS-1 a model of 1.667B parameters at depth 2, and of 1.708B at depth 6.

    Args:
        vision_width: C.
        width: D.
        latents: Q.
        depth: number of layers.
        dropout: on attention weights.
        side: patches along a side of the image, where each latent shall begin by looking at its own part of it (see
            ``localise``); 0 where all latents look everywhere.
    """

    def __init__(
        self, vision_width: int, width: int, *, latents: int, depth: int, dropout: float = 0.0, side: int = 0
    ) -> None:
        super().__init__()
        self.latent_query = nn.Parameter(torch.randn(latents, vision_width))
        self.places = nn.Parameter(torch.zeros(side * side + 1, vision_width)) if side else None
        self.layers = nn.ModuleList(
            PerceiverLayer(vision_width, heads=8, head_width=64, dropout=dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(vision_width)
        self.dense = nn.Linear(vision_width, width)

    def forward(self, features: Tensor) -> Tensor:
        """(I, N, C) image tokens -> (I, Q, D)."""
        latents = self.latent_query.expand(len(features), -1, -1)
        for layer in self.layers:
            latents = layer(latents, features, self.places)
        pooled: Tensor = self.dense(self.norm(latents))
        return pooled


KEENNESS = 1.5
"""The factor over xavier's of the projections that find the way to a latent's own part of the image."""


def localise(perceiver: Perceiver, side: int) -> None:
    """Let each latent begin by looking at its own part of the image, with every head a little elsewhere.

    Latents stand on a grid over the image, at least as many rows as columns, so that a line of text has some of its
    own. Latents and places have the same two-dimensional sinusoids, and queries the same projection as keys. All of it
    is trained; without it latents begin as averages of the whole image, which hardly differ between images.
    """
    latents, width = perceiver.latent_query.shape
    columns = max(number for number in range(1, int(latents**0.5) + 1) if latents % number == 0)
    rows = latents // columns
    with torch.no_grad():
        if perceiver.places is not None:
            perceiver.places[1:] = 2 * sinusoids(_grid(side, side, side), width)
        perceiver.latent_query.copy_(sinusoids(_grid(rows, columns, side), width))
        for attention in perceiver.modules():
            if isinstance(attention, CrossAttention):
                attention.q_proj.weight.copy_(KEENNESS * attention.k_proj.weight)
                attention.k_proj.weight.mul_(KEENNESS)


def _grid(rows: int, columns: int, side: int) -> Tensor:
    """(rows * columns, 2) the middles of equal parts of a square of ``side`` patches, as (y, x) in patches."""
    y, x = (side * (torch.arange(number) + 0.5) / number - 0.5 for number in (rows, columns))
    return torch.cartesian_prod(y, x)


def sinusoids(points: Tensor, width: int) -> Tensor:
    """(N, 2) coordinates -> (N, width) sines and cosines of each, of wavelengths from 2 pi to 200 pi."""
    rates = 100 ** -torch.linspace(0, 1, width // 4, device=points.device)
    angles = points[:, :, None] * rates  # (N, 2, width / 4)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)


def build_resampler(config: KosmosConfig) -> Resampler | Perceiver:
    """Return the resampler of a config: xavier weights, no biases, latents of unit variance.

    Where embeddings are scaled, the last projection is smaller by as much: images begin as large as words.
    """
    plain: Json = {"latents": config.latents, "dropout": config.attention_dropout}
    resampler: Resampler | Perceiver
    side = config.image_size // config.patch_size if config.local_latents else 0
    if config.resampler_depth:
        resampler = Perceiver(config.vision_width, config.width, depth=config.resampler_depth, side=side, **plain)
    else:
        resampler = Resampler(config.vision_width, config.width, heads=config.heads, **plain)
    for module in resampler.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if isinstance(resampler, Perceiver) and resampler.places is not None:
        localise(resampler, side)
    if config.scale_embedding:
        last = resampler.dense if isinstance(resampler, Perceiver) else resampler.x_attn.out_proj
        with torch.no_grad():
            last.weight.mul_(config.width**-0.5)
    return resampler
