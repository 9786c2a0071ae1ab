"""One run by several processes, started by ``torchrun`` or ``accelerate launch``: each answers its share.

They meet at the start and at the end, and count in ``torch.distributed``'s store meanwhile. What is finished lies in
the run's folder, which all of them see: any may be killed, and the next start, of any number, asks what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING, TypeVar

from kosmos_eval.errors import KosmosEvalError, RunError
from kosmos_eval.evaluation.distributed import PEER_LOST, SINGLE, PeerFailed, Ranks, joined
from kosmos_eval.evaluation.plan import Setting
from kosmos_eval.evaluation.run_folder import RunFolder
from kosmos_eval.fewshot.selection import Progress

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store, Work

T = TypeVar("T")

PATIENCE = timedelta(days=30)
"""The longest wait of ranks for each other: the slowest decides."""


@dataclass
class ProcessGroup:
    """The processes of a run.

    Args:
        ranks: which one this is.
        store: where they count; None where there is one process alone.
    """

    ranks: Ranks = SINGLE
    store: Store | None = None
    _listened: float = field(default=0.0, init=False)
    _shown: dict[str, int] = field(default_factory=dict, init=False)

    @property
    def alone(self) -> bool:
        """True for one process that no launcher has started."""
        return self.store is None

    def device(self, name: str) -> str:
        """Return the device of this process: of several GPUs the one of its local number."""
        if self.alone or name not in ("auto", "cuda"):
            return name
        import torch

        if not torch.cuda.is_available():
            return name
        if _local_rank() >= (gpus := torch.cuda.device_count()):
            raise KosmosEvalError(
                f"process {_local_rank()} of this machine has none of its {gpus} GPUs; start one for each"
            )
        return f"cuda:{_local_rank()}"

    def main_first(self, work: Callable[[], T]) -> T:
        """Work on the first rank, then on all others, which find what it has left on disk."""
        done: list[T] = []
        self.ranks.all_gather(lambda: done.append(work()) if self.ranks.first else None)
        return done[0] if done else work()

    def joined(self, model: object) -> ProcessGroup:
        """Return the same processes, which answer in lockstep where the model lies on all of them."""
        return self if self.alone else replace(self, ranks=joined(model))

    def agree(self, values: Mapping[str, object]) -> None:
        """Make sure that all ranks are about to do the same.

        Raises:
            RunError: if they are not.
        """
        (first, *others) = self.ranks.all_gather(lambda: values)
        for rank, other in enumerate(others, start=1):
            for name in first:
                if other.get(name) != first[name]:
                    raise RunError(
                        f"{name} of rank {rank} is {other.get(name)}, of rank 0 {first[name]}; make them equal"
                    )

    @contextmanager
    def shared_progress(self, totals: Mapping[str, int], progress: Progress) -> Iterator[Progress]:
        """Give a progress that all ranks count together and the first one shows; at the end, wait for all.

        Args:
            totals: label to the number of samples over all ranks.
            progress: of the first rank.
        """
        told = dict.fromkeys(totals, 0)
        counts = self.ranks.first or not self.ranks.lockstep

        def tell(label: str, done: int, total: int) -> None:
            self._show(label, self._count(f"done/{label}", (done - told[label]) * counts), totals[label], progress)
            told[label] = done
            self._stop_if_a_peer_failed()

        yield tell
        self._wait(totals, progress)

    def peer_failed_first(self, error: Exception) -> bool:
        """Return whether another rank has failed before this one; from now on all know that this one has."""
        from torch import distributed

        try:
            if isinstance(error, PeerFailed) or self._count("failed", 1) > 1:
                self.acknowledge()
                return True
            distributed.destroy_process_group()  # nobody waits for this rank any more
            until = monotonic() + 5
            while self.ranks.first and self._count("heard") < self.ranks.count - 1 and monotonic() < until:
                sleep(0.05)  # the first rank holds the store
        except RunError:
            pass
        return False

    def acknowledge(self) -> None:
        """Tell the first rank, which may wait for it, that this one has heard of the end."""
        self._count("heard", 1)

    def _show(self, label: str, done: int, total: int, progress: Progress) -> None:
        if self.ranks.first and self._shown.get(label) != done:
            self._shown[label] = done
            progress(label, done, total)

    def _wait(self, totals: Mapping[str, int], progress: Progress) -> None:
        """Wait until all ranks are here, and show what they still do."""
        from torch import distributed

        here: Work = distributed.barrier(async_op=True)
        while not here.is_completed():
            for label, total in totals.items():
                self._show(label, self._count(f"done/{label}"), total, progress)
            self._stop_if_a_peer_failed()
            sleep(0.1)
        try:
            here.wait()
        except RuntimeError as error:
            raise RunError(PEER_LOST) from error
        for label, total in totals.items():
            self._show(label, total, total, progress)

    def _stop_if_a_peer_failed(self) -> None:
        """Raise where another rank has failed; asked for at most twice a second."""
        if monotonic() - self._listened > 0.5:
            self._listened = monotonic()
            if self._count("failed"):
                raise PeerFailed("another rank has said so")

    def _count(self, name: str, more: int = 0) -> int:
        assert self.store is not None, "one process alone has nobody to count with"
        try:
            return int(self.store.add(f"kosmos-eval/{name}", more))
        except RuntimeError as error:
            raise RunError(PEER_LOST) from error


def shard(setting: Setting, run: RunFolder, ranks: Ranks) -> Setting:
    """Return what a rank evaluates of a setting: its share of what is missing, then of the rest."""
    records = [run.record(setting.key, sample.id) for sample in setting.outlines()]
    order = sorted(range(len(records)), key=lambda place: (found := records[place]) is not None and found.error is None)
    return setting.subset(ranks.shard(order))


@contextmanager
def process_group() -> Iterator[ProcessGroup]:
    """Give the processes that a launcher has started, if it has, as long as the context lasts.

    An error of one of them ends all, and only the first that fails says why: the others leave with exit code 2.

    Raises:
        KosmosEvalError: if the launcher has not said how they find each other.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ProcessGroup()
        return
    group = _rendezvous()
    try:
        yield group
    except Exception as error:
        if group.peer_failed_first(error):
            raise SystemExit(2) from None
        raise
    else:
        with suppress(RunError):
            group.acknowledge()
    finally:
        from torch import distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()


def is_main_process() -> bool:
    """Return True on rank 0, and where no launcher has started several processes."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def _local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))


def _rendezvous() -> ProcessGroup:
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise KosmosEvalError(f"WORLD_SIZE is set but not {missing[0]}; start by torchrun or accelerate launch")
    import torch
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    store, rank, count = next(rendezvous("env://", timeout=timedelta(minutes=10)))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if _local_rank() < torch.cuda.device_count():
        torch.cuda.set_device(_local_rank())
    distributed.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
    return ProcessGroup(Ranks(rank, count), store)
