"""The device that a model computes on, by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kosmos_eval.errors import ModelError

if TYPE_CHECKING:
    import torch


def pick_device(name: str, *, others: bool = False) -> torch.device:
    """Return a device by its name.

    Args:
        name: cpu, cuda, cuda:1, mps, xpu, ...; auto takes the fastest that is there.
        others: the model can also compute on devices other than CPU and CUDA.

    Raises:
        ModelError: if there is no such device.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": others and torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, is_there in there.items() if is_there))
    expected = f"expected auto, cpu, cuda{', cuda:N, mps or another of torch' if others else ' or cuda:N'}"
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            if not others:
                raise ModelError(f"device is {name!r}; {expected}")
            torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelError(f"device is {name!r}; {expected}") from error
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise ModelError(f"device is {name!r}, but this machine has {count} GPUs that torch can use; try cpu")
    return device
