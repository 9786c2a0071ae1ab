"""One run by several processes, started by ``torchrun`` or ``accelerate launch``: each answers its share.

They meet at the start and at the end, and count in ``torch.distributed``'s store meanwhile. What is finished lies in
the run's folder, which all of them see: any may be killed, and the next start, of any number, asks what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from time import monotonic, sleep
from typing import Any, TypeVar

from kosmos_eval.errors import KosmosEvalError, RunError
from kosmos_eval.evaluation.distributed import ALONE, LOST, Elsewhere, Ranks, joined
from kosmos_eval.evaluation.evaluator import Progress, cell_rows, evaluate_cell, evaluated
from kosmos_eval.evaluation.plan import Setting
from kosmos_eval.evaluation.results import Report, Row
from kosmos_eval.evaluation.run_folder import Run
from kosmos_eval.model import Model
from kosmos_eval.sample import Samples

T = TypeVar("T")

PATIENCE = timedelta(days=30)
"""How long ranks wait for each other: the slowest decides."""


@dataclass
class Crew:
    """The processes of a run.

    Args:
        ranks: which one this is.
        store: where they count; None where there is one process alone.
    """

    ranks: Ranks = ALONE
    store: Any = None
    _heard: float = field(default=0.0, init=False)
    _shown: dict[str, int] = field(default_factory=dict, init=False)

    def device(self, name: str) -> str:
        """The device of this process: of several GPUs the one of its local number."""
        if self.store is None or name not in ("auto", "cuda"):
            return name
        import torch

        if not torch.cuda.is_available():
            return name
        if _local() >= (gpus := torch.cuda.device_count()):
            raise KosmosEvalError(f"process {_local()} of this machine has none of its {gpus} GPUs; start one for each")
        return f"cuda:{_local()}"

    def in_turn(self, work: Callable[[], T]) -> T:
        """Work on the first rank, then on all others, which find what it has left on disk."""
        done: list[T] = []
        self.ranks.together(lambda: done.append(work()) if self.ranks.first else None)
        return done[0] if done else work()

    def joined(self, model: Model) -> Crew:
        """The same processes, which answer in step where the model lies on all of them."""
        return replace(self, ranks=joined(model)) if self.store is not None else self

    def agree(self, values: Mapping[str, object]) -> None:
        """Make sure that all ranks are about to do the same.

        Raises:
            RunError: if they are not.
        """
        (first, *others) = self.ranks.together(lambda: values)
        for rank, other in enumerate(others, start=1):
            for name in first:
                if other.get(name) != first[name]:
                    raise RunError(
                        f"{name} of rank {rank} is {other.get(name)}, of rank 0 {first[name]}; make them equal"
                    )

    def evaluated(
        self, model: Model, todo: Sequence[Setting], run: Run, progress: Progress
    ) -> Iterator[tuple[Setting, Report]]:
        """Answer this rank's share of every cell and wait for the others; the first rank then has all reports."""
        if self.store is None:
            yield from evaluated(model, todo, run, progress)
            return
        totals = {cell.label: len(cell.samples) for cell in todo}
        tell = self._over_all(totals, progress)
        for cell in todo:
            evaluate_cell(model, part(cell, run, self.ranks), run, tell)
        self._finish(totals, progress)
        if self.ranks.first:
            run.gather()
            found: list[Row] = []
            for cell in todo:
                found += cell_rows(cell, run)
                yield cell, Report.of(model.name, found)

    def knows(self, error: Exception) -> bool:
        """Whether another rank has failed before this one did; from now on all know that this one has."""
        from torch import distributed

        try:
            if isinstance(error, Elsewhere) or self._count("failed", 1) > 1:
                self.hears()
                return True
            distributed.destroy_process_group()  # nobody waits for this rank any more
            until = monotonic() + 5
            while self.ranks.first and self._count("heard") < self.ranks.count - 1 and monotonic() < until:
                sleep(0.05)  # the first rank holds the store
        except RunError:
            pass
        return False

    def hears(self) -> None:
        """Tell the first rank, which may wait for it, that this one needs no word any more."""
        self._count("heard", 1)

    def _over_all(self, totals: Mapping[str, int], progress: Progress) -> Progress:
        """Progress of all ranks together, which each of them counts and the first one shows."""
        told = dict.fromkeys(totals, 0)
        counts = self.ranks.first or not self.ranks.in_step

        def tell(label: str, done: int, total: int) -> None:
            self._show(label, self._count(f"done/{label}", (done - told[label]) * counts), totals[label], progress)
            told[label] = done
            self._listen()

        return tell

    def _show(self, label: str, done: int, total: int, progress: Progress) -> None:
        if self.ranks.first and self._shown.get(label) != done:
            self._shown[label] = done
            progress(label, done, total)

    def _finish(self, totals: Mapping[str, int], progress: Progress) -> None:
        """Wait until all ranks are here, and show what they still do."""
        from torch import distributed

        here: Any = distributed.barrier(async_op=True)
        while not here.is_completed():
            for label, total in totals.items():
                self._show(label, self._count(f"done/{label}"), total, progress)
            self._listen()
            sleep(0.1)
        try:
            here.wait()
        except RuntimeError as error:
            raise RunError(LOST) from error
        for label, total in totals.items():
            self._show(label, total, total, progress)

    def _listen(self) -> None:
        """Stop where another rank has failed; asked for at most twice a second."""
        if monotonic() - self._heard > 0.5:
            self._heard = monotonic()
            if self._count("failed"):
                raise Elsewhere("another rank has said so")

    def _count(self, name: str, more: int = 0) -> int:
        try:
            return int(self.store.add(f"kosmos-eval/{name}", more))
        except RuntimeError as error:
            raise RunError(LOST) from error


def part(cell: Setting, run: Run, ranks: Ranks) -> Setting:
    """What a rank evaluates of a cell: its share of what is missing, and of what has to be looked at again."""
    records = [cell.record(run, sample.id) for sample in cell.outlines()]
    order = sorted(range(len(records)), key=lambda place: (found := records[place]) is not None and found.error is None)
    every: Any = cell.samples.__getitem__
    return replace(cell, samples=Samples(ranks.share(order), every), seen={})


@contextmanager
def launched() -> Iterator[Crew]:
    """The processes that a launcher has started, if it has, as long as the context lasts.

    An error of one of them ends all, and only the first that fails says why: the others leave with exit code 2.

    Raises:
        KosmosEvalError: if the launcher has not said how they find each other.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Crew()
        return
    crew = _met()
    try:
        yield crew
    except Exception as error:
        if crew.knows(error):
            raise SystemExit(2) from None
        raise
    else:
        with suppress(RunError):
            crew.hears()
    finally:
        from torch import distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()


def speaks() -> bool:
    """Whether this process is the one that speaks: the first, where a launcher has started several."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def _local() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))


def _met() -> Crew:
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise KosmosEvalError(f"WORLD_SIZE is set but not {missing[0]}; start by torchrun or accelerate launch")
    import torch
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    store, rank, count = next(rendezvous("env://", timeout=timedelta(minutes=10)))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if _local() < torch.cuda.device_count():
        torch.cuda.set_device(_local())
    distributed.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
    return Crew(Ranks(rank, count), store)
