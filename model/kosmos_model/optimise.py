"""One step of training: losses, gradients of all parts, AdamW (KOSMOS-1 section 3.2).

Shapes: B documents, S tokens, K predicted tokens, N streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, distributed
from torch.distributed.fsdp import FSDPModule

from kosmos_eval.errors import ModelError
from kosmos_model.data.batches import Part
from kosmos_model.kosmos import Kosmos
from kosmos_model.ranks import gathered
from kosmos_model.recipes import Recipe
from kosmos_model.text import PAD


def optimiser(model: Kosmos, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over what is trained; vectors (norms, biases) do not decay."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in trained if weight.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [weight for weight in trained if weight.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=recipe.betas, eps=recipe.epsilon)


def rate(step: int, recipe: Recipe, *, steps: int) -> float:
    """The learning rate of a step (from 0): a linear rise in the warm-up, then a linear fall to 0 at the end."""
    rise = min(1.0, (step + 1) / max(recipe.warmup, 1))
    fall = (steps - step) / max(steps - recipe.warmup, 1)
    return recipe.rate * max(0.0, min(rise, fall))


def token_losses(model: Kosmos, part: Part) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of each token that counts.

    Returns:
        (K,) losses in nats, (K,) their weights, (K,) the streams that they are of.
    """
    losses = model.token_losses(part.tokens, part.pixels, part.weights, shown=part.shown)
    counted = part.weights[:, 1:] > 0  # (B, S - 1)
    kinds = part.kinds[:, None].expand(counted.shape)[counted]
    return losses, part.weights[:, 1:][counted], kinds


def accumulate(model: Kosmos, parts: Sequence[Part], *, streams: int) -> Tensor:
    """Add up the gradients of the mean loss of all parts, of every rank, as if they were one batch.

    Args:
        model: what is trained, on its device, without gradients.
        parts: what this rank reads of the batch.
        streams: N.

    Returns:
        (N, 3) float64 on the CPU: the weighted loss of each stream, its weight and its tokens, over all ranks.

    Raises:
        ModelError: if the loss is not finite.
    """
    device = next(model.parameters()).device
    fast = torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()
    sums = torch.zeros(streams, 3, dtype=torch.float64, device=device)
    for part in (part.to(device) for part in parts):
        with fast:
            losses, weights, kinds = token_losses(model, part)
        weighted = losses * weights
        weighted.sum().backward()  # type: ignore[no-untyped-call]
        sums[:, 0].index_add_(0, kinds, weighted.detach().double())
        sums[:, 1].index_add_(0, kinds, weights.double())
        sums[:, 2].index_add_(0, part.kinds, (part.tokens != PAD).sum(1).double())
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    total = sums[:, 1].sum()
    if distributed.is_initialized():
        distributed.all_reduce(sums)
        total = sums[:, 1].sum()
        if isinstance(model, FSDPModule):
            total /= distributed.get_world_size()  # it has averaged over the ranks
        else:
            _sum(trained)
    if not torch.isfinite(sums).all():
        raise ModelError("the loss is not a finite number; lower the recipe's rate or raise its warmup")
    for weight in trained:
        if weight.grad is not None:
            weight.grad /= total.clamp(min=1e-12)  # where nothing counts, gradients are 0 already
    return sums.cpu()


def _sum(weights: Sequence[torch.nn.Parameter]) -> None:
    """Make the gradients those of all ranks together; a weight that none of them has used keeps none."""
    used = torch.tensor([weight.grad is not None for weight in weights], device=weights[0].device, dtype=torch.int8)
    distributed.all_reduce(used, distributed.ReduceOp.MAX)
    weights = [weight for weight, anywhere in zip(weights, used.tolist(), strict=True) if anywhere]
    gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    parts = torch.split(flat, [weight.numel() for weight in weights])
    for weight, part in zip(weights, parts, strict=True):
        weight.grad = part.view_as(weight)


def update(optimiser: torch.optim.AdamW, *, rate: float, clip: float) -> float:
    """Apply the gradients and drop them.

    Returns:
        The norm of the gradient before it was clipped.
    """
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(weights, clip)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    optimiser.zero_grad()
    return float(gathered(norm))
