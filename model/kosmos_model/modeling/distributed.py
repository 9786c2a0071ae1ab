"""Several processes: training with sharded or replicated weights (FSDP2), and inference of a model sharded over GPUs.

Train by ``torchrun --nproc-per-node N -m kosmos_eval train RECIPE``, each process with its share.

``accelerate launch -m kosmos_eval train RECIPE`` does the same. A batch's documents are dealt out. Every rank holds the
model, and gradients are summed before the optimiser's step; or weights, gradients and moments are shared out too, and
each layer is put together only while it computes (FSDP2), which takes 1 / N of the memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from kosmos_eval.errors import ModelError
from kosmos_eval.models.device import pick_device
from kosmos_model.modeling.kosmos import Kosmos


@dataclass(frozen=True)
class Ranks:
    """The rank of this process, the number of ranks, and the device of this one."""

    rank: int
    ranks: int
    device: torch.device

    @property
    def first(self) -> bool:
        """True for the rank that writes files and prints."""
        return self.rank == 0

    def all_reduce_max(self, number: int) -> int:
        """Return the largest number that a rank has; every rank has to ask."""
        if self.ranks == 1:
            return number
        told = torch.tensor(number, device=self.device)
        distributed.all_reduce(told, distributed.ReduceOp.MAX)
        return int(told)

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.all_reduce_max(0)


@contextmanager
def process_group(device: str) -> Iterator[Ranks]:
    """Join the processes that torchrun has started, if it has, until the context ends; what is joined stays so.

    Args:
        device: auto, cpu, cuda, ...; each rank takes the GPU of its local number.

    Raises:
        ModelError: if there is no such device.
    """
    ranks, local = int(os.environ.get("WORLD_SIZE", "1")), os.environ.get("LOCAL_RANK", "0")
    place = pick_device(device)
    if place.type == "cuda":
        place = pick_device(f"cuda:{local if place.index is None else place.index}")
        torch.cuda.set_device(place)
    if ranks == 1 or distributed.is_initialized():
        yield Ranks(distributed.get_rank(), ranks, place) if ranks > 1 else Ranks(0, 1, place)
        return
    distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Ranks(distributed.get_rank(), ranks, place)
    finally:
        distributed.destroy_process_group()


def shard(model: Kosmos) -> None:
    """Share the weights out among the ranks; from here on all of them compute every part of a batch together."""
    mesh = init_device_mesh(next(model.parameters()).device.type, (distributed.get_world_size(),))
    for layer in (*model.decoder.layers, *model.vision.model.encoder.layers):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "token_losses")


@contextmanager
def full_parameters(model: Kosmos) -> Iterator[None]:
    """Give every rank all weights while the context lasts, so that each can use the model by itself."""
    shards = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for module in shards:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for depth, module in enumerate(shards):
            module.reshard()
            module.set_reshard_after_forward(depth > 0, recurse=False)  # the root's are needed again at once


def full_tensor(value: Tensor) -> Tensor:
    """Return a sharded tensor as a whole; every rank has to ask."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def shard_like(value: Tensor, *, like: Tensor) -> Tensor:
    """Move a tensor to the device of another, and shard it as that one is."""
    value = value.to(like.device)
    return distribute_tensor(value, like.device_mesh, like.placements) if isinstance(like, DTensor) else value


def shard_for_inference(model: Kosmos, device: torch.device) -> None:
    """Leave on this rank's device its share of every layer, and all that is no layer.

    Args:
        model: whole and on the CPU, in the type that it computes in; one layer at a time is whole on the device.
        device: of this rank.

    Raises:
        ModelError: if there are no other ranks.
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        raise ModelError("fsdp=true spreads a model over several processes; start by torchrun --nproc-per-node N")
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    for layer in (*model.decoder.layers, *model.vision.model.encoder.layers):
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    for tensor in chain(model.parameters(), model.buffers()):
        if not isinstance(tensor, DTensor):
            tensor.data = tensor.data.to(device)


def all_reduce_min(value: int) -> int:
    """Return the smallest value of any rank, so that all plan alike; each of them has to ask."""
    told = torch.tensor(value)
    distributed.all_reduce(told, distributed.ReduceOp.MIN)
    return int(told)
