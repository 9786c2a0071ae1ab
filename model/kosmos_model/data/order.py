"""The order in which shards are read: shuffled by a seed, endless, and known at every place without reading up to it.

Places are bytes as stored, counted through one epoch after the other. In each epoch the shards are shuffled, and the
parts of every few neighbours among themselves, so that a step mixes shards while few are open.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, count

from kosmos_model.data.shards import Shard

OPEN = 8
"""Shards whose parts are shuffled among themselves; those that are packed are unpacked meanwhile."""


@dataclass(frozen=True)
class Part:
    """A part of a shard at its place in the order.

    Args:
        shard: which.
        number: which of its parts.
        begin: the place at which it begins.
        size: how long it is, in bytes.
    """

    shard: Shard
    number: int
    begin: int
    size: int


class Order:
    """The endless order of the parts of some shards.

    Args:
        shards: in any order, which decides the result.
        seed: decides it, too.
    """

    def __init__(self, shards: Sequence[Shard], seed: int) -> None:
        self.shards, self.seed = shards, seed
        self.total = sum(shard.size for shard in shards)
        self._shuffled = lru_cache(maxsize=2)(self._shuffle)

    def parts(self, place: int) -> Iterator[Part]:
        """Yield the parts from the one at a place (in bytes) on, without end."""
        first = place // self.total
        for epoch in count(first):
            shards, ends = self._shuffled(epoch)
            begun = epoch * self.total
            window = bisect_right(ends, place - begun) if epoch == first else 0
            for number in range(window, len(ends)):
                begin = begun + (ends[number - 1] if number else 0)
                for part in self._window(shards[number * OPEN : (number + 1) * OPEN], begin):
                    if part.begin + part.size > place:
                        yield part

    def _shuffle(self, epoch: int) -> tuple[list[Shard], list[int]]:
        """Return the shards of an epoch, and where each window of ``OPEN`` ends."""
        shards = random.Random(f"{self.seed}/{epoch}").sample(list(self.shards), len(self.shards))
        ends = list(accumulate(shard.size for shard in shards))
        return shards, [ends[min(index + OPEN, len(ends)) - 1] for index in range(0, len(ends), OPEN)]

    def _window(self, shards: Sequence[Shard], begin: int) -> Iterator[Part]:
        parts = [(shard, number) for shard in shards for number in range(shard.parts)]
        random.Random(f"{self.seed}/{begin}").shuffle(parts)
        for shard, number in parts:
            size = shard.begin(number + 1) - shard.begin(number)
            yield Part(shard, number, begin, size)
            begin += size
