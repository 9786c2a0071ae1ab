"""Processes that evaluate together, in a training or in a run: each its share, and all know the result.

Where a forward pass is each rank's own (one process, DDP), samples are dealt out by index. Where it needs every rank
(FSDP, tensor parallel, ZeRO-3), all ranks evaluate the same samples in step, and the first one's outputs count.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from kosmos_eval.errors import RunError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

PEER_LOST = "a worker process exited; finished samples are kept, run the same command again to continue"


class PeerFailed(RuntimeError):
    """Another rank has failed; the message is of its error."""


@dataclass(frozen=True)
class Ranks:
    """The number of this process, and how many there are.

    Args:
        rank: this process.
        count: all of them.
        in_step: whether a forward pass needs every rank.
    """

    rank: int = 0
    count: int = 1
    lockstep: bool = False

    @property
    def first(self) -> bool:
        """True for the one that reports."""
        return self.rank == 0

    def shard(self, every: Sequence[int]) -> Sequence[int]:
        """Return the indices that this rank evaluates."""
        return every if self.lockstep else every[self.rank :: self.count]

    def all_gather(self, work: Callable[[], T]) -> list[T]:
        """Work on every rank and wait for all.

        Returns:
            The results of all ranks, the same everywhere.

        Raises:
            PeerFailed: on every rank if it failed on another, so that none waits for one that has given up.
            RunError: if another rank has ended meanwhile.
        """
        if self.count == 1:
            return [work()]
        from torch import distributed

        mine: tuple[T | None, str] = (None, "")
        failure: Exception | None = None
        try:
            mine = (work(), "")
        except Exception as error:  # noqa: BLE001 - raised below, once the other ranks know
            failure, mine = error, (None, f"{type(error).__name__}: {error}")
        told: list[Any] = [None] * self.count
        try:
            distributed.all_gather_object(told, mine)
        except RuntimeError as error:
            raise RunError(PEER_LOST) from error
        if failure is not None:
            raise failure
        for rank, (_, reason) in enumerate(told):
            if reason:
                raise PeerFailed(f"on rank {rank}: {reason}")
        return [result for result, _ in told]


SINGLE = Ranks()
"""One process."""


def joined(model: object) -> Ranks:
    """The ranks that train a model: those of ``torch.distributed``, if it is initialised."""
    if "torch" not in sys.modules:
        return Ranks()
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return Ranks()
    return Ranks(distributed.get_rank(), distributed.get_world_size(), any(map(_in_step, modules(model))))


def _in_step(module: torch.nn.Module) -> bool:
    if any(type(part).__name__ == "FullyShardedDataParallel" for part in module.modules()):
        return True
    return any(hasattr(weight, "device_mesh") or hasattr(weight, "ds_id") for weight in module.parameters())


def modules(model: object) -> list[torch.nn.Module]:
    """The torch modules that a model is, or holds as attributes."""
    if "torch" not in sys.modules:
        return []
    from torch import nn

    held = [model, *getattr(model, "__dict__", {}).values()]
    return held[:1] if isinstance(model, nn.Module) else [one for one in held if isinstance(one, nn.Module)]
