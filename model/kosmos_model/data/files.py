"""Items that training reads from files, share by share of an order, and a log of those skipped."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import lru_cache
from os.path import expandvars
from pathlib import Path

from kosmos_eval.errors import BadData, BadImage
from kosmos_model.data.corpora import Item, Place, Reading, without_missing
from kosmos_model.data.formats import Row, Skipped, rows
from kosmos_model.data.order import Order
from kosmos_model.data.shards import Shard, shards

SAMPLED_PARTS, SAMPLED_ROWS = 16, 16

log = logging.getLogger("kosmos_model.data")
_told: set[str] = set()


def skip(skipped: Skipped) -> None:
    """Log what had to be left out, once for each name, with how many there were in this process."""
    if skipped.where not in _told:
        _told.add(skipped.where)
        log.warning("skipped %s: %s (%d so far)", skipped.where, skipped.why, len(_told))


class Corpus:
    """Some shards and what their rows mean."""

    def __init__(self, files: tuple[Shard, ...], reading: Reading, place: Place) -> None:
        self.shards, self.reading, self.place = files, reading, place
        self._rows = lru_cache(maxsize=2)(lambda shard, number: list(rows(shard.path, number, shard.parts)))
        self.order = lru_cache(maxsize=2)(lambda seed: Order(files, seed))

    def items(self, order: Order, begin: int, end: int) -> Iterator[Item]:
        """Yield the items that begin between two places of an order; if there is none, the next one after.

        A row's place is that of its part, and in it as far as the rows before it would go if all were as long.
        """
        given = False
        for part in order.parts(begin):
            stored = self._rows(part.shard, part.number)
            for index, row in enumerate(stored):
                at = part.begin + part.size * index // len(stored)
                if at >= (end if given else max(end, begin + order.total)):
                    return
                if at >= begin and (item := self.item(row)) is not None:
                    given = True
                    yield item
            if part.begin + part.size >= (end if given else max(end, begin + order.total)):
                return

    def item(self, row: Row | Skipped) -> Item | None:
        """Return a row's item without the images that are not there; None, and a line in the log, if none is left."""
        if isinstance(row, Skipped):
            skip(row)
            return None
        try:
            item, missing = without_missing(self.reading(row.values, self.place))
        except (BadData, BadImage) as error:
            skip(Skipped(row.id, str(error)))
            return None
        for name in missing:
            skip(Skipped(name, f"missing; {row.id} shows it"))
        return item

    def sampled(self) -> Iterator[tuple[float, list[Item]]]:
        """Yield some items from all over the shards, by parts, and how many bytes they take."""
        order = self.order(0)
        for number in range(SAMPLED_PARTS):
            part = next(order.parts(order.total * number // SAMPLED_PARTS))
            stored = self._rows(part.shard, part.number)
            few = [self.item(row) for row in stored[:SAMPLED_ROWS]]
            yield part.size * len(few) / max(1, len(stored)), [item for item in few if item is not None]


@lru_cache(maxsize=64)
def opened(
    reading: Reading, paths: tuple[str, ...], images: str | None, columns: tuple[tuple[str, str], ...]
) -> Corpus:
    """Return the corpus in some files.

    Raises:
        BadData: if the paths name nothing that can be read.
    """
    folder = None if images is None else Path(expandvars(images)).expanduser()
    return Corpus(shards(paths), reading, Place(folder, dict(columns)))
