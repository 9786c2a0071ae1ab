"""KOSMOS-1: images put where a text has room for them, and one decoder over both (KOSMOS-1 section 2).

Shapes: B batch, S tokens, I images of the whole batch, Q slots per image, D width, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kosmos_model.modeling.config import KosmosConfig
from kosmos_model.modeling.tokenizer import PAD

if TYPE_CHECKING:
    from kosmos_model.modeling.decoder import KosmosDecoder
    from kosmos_model.modeling.resampler import Perceiver, Resampler
    from kosmos_model.modeling.vision import ImageEncoder


class Kosmos(nn.Module):
    """A decoder that reads text and images.

    Args:
        config: the shapes.
        decoder: the language model.
        vision: (I, 3, H, W) pixels -> (I, N, C) image tokens.
        resampler: (I, N, C) image tokens -> (I, Q, D) embeddings.
    """

    def __init__(
        self, config: KosmosConfig, *, decoder: KosmosDecoder, vision: ImageEncoder, resampler: Resampler | Perceiver
    ) -> None:
        super().__init__()
        self.config = config
        self.decoder = decoder
        self.vision = vision
        self.resampler = resampler

    def embed_images(self, pixels: Tensor) -> Tensor:
        """(I, 3, H, W) normalised pixels -> (I, Q, D), what fills the slots of each image."""
        embedded: Tensor = self.resampler(self.vision(pixels))
        return embedded

    def embed(self, tokens: Tensor, images: Tensor | None = None) -> Tensor:
        """(B, S) token ids and (I, Q, D) image embeddings -> (B, S, D)."""
        embedded: Tensor = self.decoder.embed_tokens(tokens)
        if images is None:
            images = embedded.new_empty(0, self.config.latents, self.config.width)
        return splice(tokens, embedded, images, self.config.slot)

    def hidden(self, tokens: Tensor, pixels: Tensor | None = None, *, shown: Tensor | None = None) -> Tensor:
        """Return the decoder's last states.

        Args:
            tokens: (B, S) token ids, padded on the right.
            pixels: (U, 3, H, W) the images of the batch, in reading order where ``shown`` says nothing else.
            shown: (I,) which of the pixels each image of the batch is; what is shown often is encoded once.

        Returns:
            (B, S, D)
        """
        images = None if pixels is None or not len(pixels) else self.embed_images(pixels)
        images = images if images is None or shown is None else images[shown]  # (I, Q, D)
        positions = positions_of(tokens) if self.config.positions == "sinusoidal" else None
        return self.decoder.hidden(self.embed(tokens, images), positions=positions, longest=tokens.shape[1])

    def forward(self, tokens: Tensor, pixels: Tensor | None = None) -> Tensor:
        """Return the logits of the next token at each place.

        Args:
            tokens: (B, S) token ids, padded on the right.
            pixels: (I, 3, H, W) the images of the whole batch, in reading order.

        Returns:
            (B, S, V) logits.
        """
        return self.decoder.logits(self.hidden(tokens, pixels))

    def loss(self, tokens: Tensor, pixels: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
        """Return the mean loss of next-token prediction on text.

        Args:
            tokens: (B, S) token ids, padded on the right.
            pixels: (I, 3, H, W) the images of the whole batch, in reading order.
            weights: (B, S) how much the prediction *of* each token counts; by default text alike (``text_weights``).

        Returns:
            () in nats per unit of weight.

        Raises:
            ValueError: if no token counts.
        """
        if weights is None:
            weights = text_weights(tokens, self.config.given)
        weight = weights[:, 1:][weights[:, 1:] > 0].float()  # (K,) for K predicted tokens
        if not len(weight):
            raise ValueError("a batch without a token to predict has no loss")
        losses = self.token_losses(tokens, pixels, weights)
        return (losses * weight).sum() / weight.sum()

    def token_losses(
        self, tokens: Tensor, pixels: Tensor | None, weights: Tensor, *, shown: Tensor | None = None
    ) -> Tensor:
        """Return the loss of each token that counts.

        Args:
            tokens: (B, S) token ids, padded on the right.
            pixels: (U, 3, H, W) as `hidden` takes them.
            weights: (B, S) above 0 where the prediction *of* a token counts.
            shown: (I,) as `hidden` takes them.

        Returns:
            (K,) in nats, in reading order.
        """
        counted = weights[:, 1:] > 0  # (B, S - 1)
        logits = self.decoder.logits(self.hidden(tokens, pixels, shown=shown)[:, :-1][counted])  # (K, V)
        return F.cross_entropy(logits, tokens[:, 1:][counted], reduction="none")


def splice(tokens: Tensor, embedded: Tensor, images: Tensor, slot: int) -> Tensor:
    """Replace the slots of a batch by image embeddings, in reading order.

    Args:
        tokens: (B, S) token ids, with Q times ``slot`` for each image.
        embedded: (B, S, D) the embedded tokens.
        images: (I, Q, D) the resampled images.
        slot: the token id that keeps a place for one image vector.

    Returns:
        (B, S, D) ``embedded`` with its I * Q slots replaced.

    Raises:
        ValueError: if the slots of ``tokens`` are not I * Q.
    """
    places = tokens == slot
    kept, filled = int(places.sum()), images.shape[0] * images.shape[1]
    if kept != filled:
        raise ValueError(f"the tokens keep {kept} slots, but images {tuple(images.shape)} fill {filled}")
    if not filled and not images.requires_grad:
        return embedded
    return embedded.masked_scatter(places.unsqueeze(-1), images.to(embedded.dtype))


def positions_of(tokens: Tensor) -> Tensor:
    """(B, S) token ids -> (B, S) the number of tokens before each, padding aside; -1 for padding itself."""
    real = (tokens != PAD).long()
    return real.cumsum(1) * real - 1


def text_weights(tokens: Tensor, given: tuple[int, ...]) -> Tensor:
    """One for each token of text and zero for what is only given, which nobody has to predict (KOSMOS-1 section 2.3).

    So the first word after ``</image>`` is the first to be predicted of a caption, and ``</s>`` the last.

    Args:
        tokens: (B, S) token ids.
        given: the ids that are no text: ``<s> <pad>``, the slot, ``<image> </image>``.

    Returns:
        (B, S) float32.
    """
    return (~torch.isin(tokens, torch.tensor(given, device=tokens.device))).float()


def build(config: KosmosConfig, *, seed: int) -> Kosmos:
    """Return a model with fresh weights; the same seed gives the same, and the random state outside is left alone."""
    from kosmos_model.modeling.decoder import build_decoder
    from kosmos_model.modeling.resampler import build_resampler
    from kosmos_model.modeling.vision import ImageEncoder

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Kosmos(
            config,
            decoder=build_decoder(config),
            vision=ImageEncoder(config),
            resampler=build_resampler(config),
        )
