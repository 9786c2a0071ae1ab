"""A model that is too large for one GPU, spread over those of all ranks to answer requests (FSDP2).

Each layer is gathered while it computes, so all ranks have to compute the same in step: `kosmos_eval.launch` has them
ask the same requests. Embeddings, norms and resampler are small and lie on every rank.
"""

from __future__ import annotations

from itertools import chain

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from kosmos_eval.errors import ModelError
from kosmos_model.kosmos import Kosmos


def spread(model: Kosmos, device: torch.device) -> None:
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


def least(value: int) -> int:
    """The smallest value of any rank, so that all plan alike; each of them has to ask."""
    told = torch.tensor(value)
    distributed.all_reduce(told, distributed.ReduceOp.MIN)
    return int(told)
