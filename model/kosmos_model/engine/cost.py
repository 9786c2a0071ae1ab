"""The cost of a token and an image, in floating-point operations."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kosmos_model.modeling.kosmos import Kosmos


def token_price(layers: Iterable[nn.Module]) -> int:
    """Operations of a token with all weights of some layers, a multiply-add as two; attention's products aside."""
    weights = (weight for layer in layers for weight in layer.parameters() if weight.ndim == 2)
    return 2 * sum(int(weight.numel()) for weight in weights)


def image_price(model: Kosmos) -> int:
    """Operations of an image in encoder and resampler, counted on a blank one."""
    weight, size = model.decoder.embed_tokens.weight, model.config.image_size
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:  # it follows modules by their gradients
        model.embed_images(weight.new_zeros(1, 3, size, size))
    return int(counter.get_total_flops())
