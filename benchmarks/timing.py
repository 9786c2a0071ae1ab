"""Two sides measured in turn in one process, and what is printed of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

T = TypeVar("T")
U = TypeVar("U")


def seconds() -> float:
    """CPU seconds of this process so far: work of others on the machine does not count. For one thread."""
    return time.process_time()


def one_thread() -> None:
    """Compute in one thread from now on."""
    torch.set_num_threads(1)


@dataclass(frozen=True)
class Race:
    """How long two sides took.

    Args:
        ours: seconds of each of our runs.
        theirs: seconds of each of theirs.
    """

    ours: Sequence[float]
    theirs: Sequence[float]

    @property
    def ratio(self) -> float:
        """How many times longer theirs take, by the medians."""
        return statistics.median(self.theirs) / statistics.median(self.ours)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and highest ratio that any two runs give."""
        return min(self.theirs) / max(self.ours), max(self.theirs) / min(self.ours)

    def __str__(self) -> str:
        low, high = self.spread
        ours, theirs = statistics.median(self.ours), statistics.median(self.theirs)
        return f"{theirs:8.3f} s  /  {ours:8.3f} s  =  {self.ratio:5.1f} x  ({low:.1f} - {high:.1f})"


def race(
    ours: Callable[[], T], theirs: Sequence[Callable[[], U]], *, rounds: int = 5, warm: bool = True
) -> tuple[Race, T, list[U]]:
    """Run both sides in turn.

    Args:
        ours: one side.
        theirs: the other, in as many parts as one likes; ours is run before each, so that both meet the same machine.
        rounds: how often each part is run and counted.
        warm: whether a round before them is not counted.

    Returns:
        The times, what our last run gave, and what the last run of each of their parts gave.
    """
    our_times: list[float] = []
    their_times: list[float] = []
    pairs: list[tuple[tuple[float, T], tuple[float, U]]] = []
    for number in range(-warm, rounds):
        pairs = [(timed(ours), timed(part)) for part in theirs]
        if number >= 0:
            our_times += [time for (time, _), _ in pairs]
            their_times.append(sum(time for _, (time, _) in pairs))
    return Race(our_times, their_times), pairs[-1][0][1], [found for _, (_, found) in pairs]


def timed(run: Callable[[], T]) -> tuple[float, T]:
    """How long a call takes, and what it gives."""
    start = seconds()
    found = run()
    return seconds() - start, found
