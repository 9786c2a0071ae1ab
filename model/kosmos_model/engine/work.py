"""What goes through a decoder, counted where it happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kosmos_eval.profile import Work
from kosmos_model.decoder import KosmosDecoder
from kosmos_model.kosmos import Kosmos


def token_price(decoder: KosmosDecoder) -> int:
    """Operations of a token with the weights of all layers, a multiply-add as two; attention's products aside."""
    weights = (weight for layer in decoder.layers for weight in layer.parameters() if weight.ndim == 2)
    return 2 * sum(int(weight.numel()) for weight in weights)


def image_price(model: Kosmos) -> int:
    """Operations of an image in encoder and resampler, counted on a blank one."""
    weight, size = model.decoder.embed_tokens.weight, model.config.image_size
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:  # it follows modules by their gradients
        model.embed_images(weight.new_zeros(1, 3, size, size))
    return int(counter.get_total_flops())


@contextmanager
def counted(decoder: KosmosDecoder, work: Work) -> Iterator[None]:
    """Count every token that is fed to the layers, and every state that scores are made of."""
    price, projection = token_price(decoder), 2 * decoder.output_projection.weight.numel()

    def fed(_: nn.Module, given: tuple[Any, ...]) -> None:
        tokens = given[0].shape[:-1].numel()
        work.tokens_computed += tokens
        work.flops += price * tokens

    def scored(_: nn.Module, given: tuple[Any, ...]) -> None:
        work.flops += projection * given[0].shape[:-1].numel()

    hooks = [
        decoder.layers[0].register_forward_pre_hook(fed),
        decoder.output_projection.register_forward_pre_hook(scored),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
