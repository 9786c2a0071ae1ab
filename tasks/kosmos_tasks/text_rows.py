"""The rows of a benchmark without images: from official files, the hub, or small and generated."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.source import Source, from_hub, table
from kosmos_eval.task import About, Suite
from kosmos_tasks.records import Row, some
from kosmos_tasks.suites import KOSMOS1, LANGUAGE, MINI

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, eq=False)
class TextRows:
    """Where the rows of a benchmark come from; in all three sources they have the same columns, and ``id``.

    Args:
        task: the name of the task.
        get: where its files are to be had, and where they lie under ``--data``.
        folders: where its files lie under ``--data``, the first that is there; else the root itself.
        files: split to the patterns of its official file, default split first. The first pattern that something
            matches counts, and of several files the largest.
        read: the rows of an official file, in its order.
        mini: the generated rows of ``test`` or ``train``.
        hub: the data set's name on the hub, and its configuration.
        hub_splits: the hub's splits with labels, default split first.
        examples: splits that demonstrations come from, the first that is there; else they are the evaluated one's own.
        first: splits that are only the beginning of their official file, and of how many rows.
    """

    task: str
    get: str
    folders: tuple[str, ...]
    files: Mapping[str, tuple[str, ...]]
    read: Callable[[Path], Iterable[Row]]
    mini: Callable[[str], Iterable[Row]]
    hub: tuple[str, str | None] = ("", None)
    hub_splits: tuple[str, ...] = ()
    examples: tuple[str, ...] = ("train",)
    first: Mapping[str, int] = field(default_factory=dict)

    @property
    def splits(self) -> Mapping[str, tuple[str, ...]]:
        """Source to its splits."""
        known = {"mini": ("test", "train"), "data": tuple(self.files), "hub": self.hub_splits}
        return {source: splits for source, splits in known.items() if splits}

    def split(self, source: Source) -> str:
        """The split that is evaluated."""
        return source.chosen(self._known(source), task=self.task, folders=self.folders)

    def about(
        self, metric: str, *, suites: tuple[str | Suite, ...] = (KOSMOS1, LANGUAGE, MINI), extension: bool = False
    ) -> About:
        """What a task of these rows says of itself; by default one of the paper's language tasks."""
        return About(metric, self.splits, self.hub[0], self.get, extension, suites)

    def evaluated(self, source: Source) -> "Dataset":
        """The rows of the split that is evaluated."""
        return rows(self, source, self.split(source))

    def shown(self, source: Source) -> "Dataset":
        """The rows that demonstrations are drawn from."""
        known = self._known(source)
        return rows(self, source, next((split for split in self.examples if split in known), self.split(source)))

    def file(self, source: Source, split: str) -> Path | None:
        """The official file of a split, where it is there."""
        folder = source.folder(*self.folders)
        places = (folder, folder / folder.name)
        matches = (list(place.glob(pattern)) for place in places for pattern in self.files[split])
        return max(next(filter(None, matches), []), key=lambda file: file.stat().st_size, default=None)

    def _known(self, source: Source) -> Sequence[str]:
        if source.kind != "data":
            return self.splits.get(source.kind, ())
        return [split for split in self.files if self.file(source, split)]


@lru_cache(maxsize=32)
def rows(benchmark: TextRows, source: Source, split: str) -> "Dataset":
    """The rows of a split, each with an ``id``: the split and its place in it."""
    if source.kind == "hub":
        name, config = benchmark.hub
        found = from_hub(name, source=source, split=split, config=config)
    else:
        file = benchmark.file(source, split) if source.kind == "data" else None
        given = benchmark.mini(split) if file is None else islice(benchmark.read(file), benchmark.first.get(split))
        found = table(some(given, named_by=file or benchmark.task))
    return found.add_column("id", [f"{split}/{place}" for place in range(len(found))])
