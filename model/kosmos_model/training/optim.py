"""One step of training: losses, gradients of all parts, AdamW (KOSMOS-1 section 3.2).

Shapes: B documents, S tokens, K predicted tokens, N datasets.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, distributed
from torch.distributed.fsdp import FSDPModule

from kosmos_eval.errors import ModelError
from kosmos_model.data.batches import MicroBatch
from kosmos_model.modeling.distributed import full_tensor
from kosmos_model.modeling.kosmos import Kosmos
from kosmos_model.modeling.tokenizer import PAD
from kosmos_model.training.recipes import Recipe

TABLES = (
    "embed_tokens.weight",
    "output_projection.weight",
    "position_embedding.weight",
    "latent_query",
    "latents",
    "ground",
    "places",
)
"""Weights that are looked up or added, rather than multiplied by."""
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration, as Jordan et al. 2024 give them."""


class Muon(torch.optim.AdamW):
    """AdamW, but in groups that say ``muon`` a weight moves along the orthogonal factor of its momentum.

    See Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". `torch.optim.Muon` multiplies in
    bfloat16, over which a processor without it takes twelve times as long. Each rank makes some of the factors.
    """

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move every weight that has a gradient; AdamW finds none any more where Muon has moved."""
        ranks, rank = (distributed.get_world_size(), distributed.get_rank()) if distributed.is_initialized() else (1, 0)
        moving = [(group, weight) for group in self.param_groups if group["muon"] for weight in group["params"]]
        moving = [(group, weight) for group, weight in moving if weight.grad is not None]
        steps: list[Tensor] = []
        for number, (_, weight) in enumerate(moving):
            if not self.state[weight]:
                self.state[weight]["momentum"] = torch.zeros_like(weight)
            momentum = self.state[weight]["momentum"].lerp_(weight.grad, 0.05)
            ahead = weight.grad.lerp(momentum, 0.95).flatten(1)
            steps.append(orthogonal(ahead) if number % ranks == rank else torch.zeros_like(ahead))
        if ranks > 1 and steps:
            flat = torch.cat([one.flatten() for one in steps])
            distributed.all_reduce(flat)
            parts = torch.split(flat, [one.numel() for one in steps])
            steps = [part.view_as(one) for part, one in zip(parts, steps, strict=True)]
        for (group, weight), one in zip(moving, steps, strict=True):
            learning_rate = group["lr"] * group["muon"]
            weight.mul_(1 - learning_rate * group["weight_decay"])
            weight.add_(one.view_as(weight), alpha=-learning_rate * 0.2 * max(one.shape) ** 0.5)
            weight.grad = None
        super().step()


def orthogonal(matrix: Tensor) -> Tensor:
    """Return about the orthogonal factor of a matrix: the same singular vectors, and values between 0.7 and 1.2."""
    a, b, c = COEFFICIENTS
    flat = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    flat = flat / flat.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = flat @ flat.T
        flat = torch.addmm(flat, torch.addmm(gram, gram, gram, beta=b, alpha=c), flat, beta=a)
    return flat.T if matrix.shape[0] > matrix.shape[1] else flat


def optimiser(model: Kosmos, recipe: Recipe) -> Muon:
    """AdamW over what is trained, or Muon over its matrices; vectors (norms, biases) do not decay."""
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    matrices = {name: weight for name, weight in trained if weight.ndim > 1}
    muon = {name: weight for name, weight in matrices.items() if recipe.muon and not name.endswith(TABLES)}
    rest = [weight for name, weight in matrices.items() if name not in muon]
    vectors = [weight for _, weight in trained if weight.ndim < 2]
    groups = [
        {"params": list(muon.values()), "weight_decay": recipe.weight_decay, "muon": recipe.muon},
        {"params": rest, "weight_decay": recipe.weight_decay, "muon": 0.0},
        {"params": vectors, "weight_decay": 0.0, "muon": 0.0},
    ]
    return Muon(groups, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.epsilon)


def learning_rate(step: int, recipe: Recipe, *, steps: int) -> float:
    """Return the learning rate of a step (from 0): a linear rise in the warm-up, then a linear fall to 0 at the end."""
    rise = min(1.0, (step + 1) / max(recipe.warmup, 1))
    fall = (steps - step) / max(steps - recipe.warmup, 1)
    return recipe.learning_rate * max(0.0, min(rise, fall))


def token_losses(model: Kosmos, part: MicroBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss of each token that counts.

    Returns:
        (K,) losses in nats, (K,) their weights, (K,) the datasets that they are of.
    """
    losses = model.token_losses(part.tokens, part.pixels, part.weights, shown=part.shown)
    counted = part.weights[:, 1:] > 0  # (B, S - 1)
    kinds = part.kinds[:, None].expand(counted.shape)[counted]
    return losses, part.weights[:, 1:][counted], kinds


def accumulate(model: Kosmos, parts: Sequence[MicroBatch], *, datasets: int) -> Tensor:
    """Add up the gradients of the mean loss of all parts, of every rank, as if they were one batch.

    Args:
        model: what is trained, on its device, without gradients.
        parts: what this rank reads of the batch.
        datasets: N.

    Returns:
        (N, 3) float64 on the CPU: the weighted loss of each dataset, its weight and its tokens, over all ranks.

    Raises:
        ModelError: if the loss is not finite.
    """
    device = next(model.parameters()).device
    fast = torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()
    sums = torch.zeros(datasets, 3, dtype=torch.float64, device=device)
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
        raise ModelError("the loss is not a finite number; lower the recipe's learning_rate or raise its warmup")
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


def update(optimiser: torch.optim.AdamW, *, learning_rate: float, clip: float) -> float:
    """Apply the gradients and drop them.

    Returns:
        The norm of the gradient before it was clipped.
    """
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(weights, clip)
    for group in optimiser.param_groups:
        group["lr"] = learning_rate
    optimiser.step()
    optimiser.zero_grad()
    return float(full_tensor(norm))
