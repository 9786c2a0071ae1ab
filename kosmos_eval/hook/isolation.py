"""An evaluation that leaves no trace in a training: modes, gradients and random states are put back."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from kosmos_eval.evaluation.distributed import modules

if TYPE_CHECKING:
    import torch


@contextmanager
def preserve_training_state(model: Any = None) -> Iterator[None]:
    """Evaluate inside this: afterwards, also after an error, the training finds everything as it was.

    Put back are the random states of Python, numpy and torch (with those of the GPUs that the model is on), the mode of
    every submodule, and each parameter's gradient and ``requires_grad``. Meanwhile the model is in evaluation mode and
    no gradients are recorded. What was not imported before has no state that a training could rest on.

    Args:
        model: a ``torch.nn.Module``, or a model that holds some as attributes.
    """
    with ExitStack() as kept:
        kept.callback(random.setstate, random.getstate())
        if "numpy" in sys.modules:
            import numpy as np

            kept.callback(np.random.set_state, np.random.get_state())
        if "torch" in sys.modules:
            kept.enter_context(_torch_kept(modules(model)))
        yield


def unwrap_model(model: Any) -> Any:
    """The module inside ``DistributedDataParallel``, whose own forward pass would wait for the other ranks."""
    if "torch" in sys.modules:
        from torch.nn.parallel import DataParallel, DistributedDataParallel

        while isinstance(model, DataParallel | DistributedDataParallel):
            model = model.module
    return model


def free_memory() -> None:
    """Collect garbage and empty the CUDA cache."""
    gc.collect()
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()


@contextmanager
def _torch_kept(roots: list[torch.nn.Module]) -> Iterator[None]:
    import torch

    parameters = [(weight, weight.requires_grad, weight.grad) for root in roots for weight in root.parameters()]
    modes = [(module, module.training) for root in roots for module in root.modules()]
    gpus = {weight.device.index for weight, _, _ in parameters if weight.device.type == "cuda"}
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gpus.add(torch.cuda.current_device())
    with torch.random.fork_rng(devices=sorted(gpus)), torch.no_grad():
        for root in roots:
            root.eval()
        try:
            yield
        finally:
            before = dict(modes)
            for root in roots:
                root.train(before[root])  # some modules do more in train() than set the flag
            for module, training in modes:
                module.training = training
            for weight, requires, gradient in parameters:
                if weight.requires_grad != requires:
                    weight.requires_grad_(requires)
                if weight.grad is not gradient:
                    weight.grad = gradient
