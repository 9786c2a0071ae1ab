"""The splits of a benchmark: which there are, their rows, and which one demonstrations come from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from kosmos_eval.errors import BadData
from kosmos_eval.sample import Sample, Samples
from kosmos_eval.source import Row, Source, from_hub, table
from kosmos_eval.task import Suite, Task, TaskInfo
from kosmos_tasks.formats.files import Files

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, eq=False)
class Hub:
    """A data set on the Hugging Face hub.

    Args:
        name: its name.
        splits: its splits, the default one first.
        config: its configuration.
        shown: the split that demonstrations come from, where there is one of this name.
        adapt: turns its rows into those of the task.
        read: reads a split in place of ``adapt``, where a data set needs more than one call.
    """

    name: str
    splits: tuple[str, ...]
    config: str | None = None
    shown: str = "train"
    adapt: Callable[[Dataset], Dataset] = lambda rows: rows
    read: Callable[..., Dataset] | None = None


@dataclass(frozen=True, eq=False)
class Splits:
    """The splits of a benchmark, whose rows have the same columns in all sources.

    Args:
        task: the name of the task.
        get: where its official files come from and how they are laid out under ``--data``.
        synthetic: the generated rows of ``test`` or ``train``.
        files: its official files.
        hub: its copy on the hub.
        sizes: how many rows are generated at most, by split, the default split first.
        images: the columns that hold images.
        options: options of the task that decide its rows; all that reads or generates rows takes them too.
    """

    task: str
    get: str
    synthetic: Callable[..., Iterable[Row]]
    files: Files | None = None
    hub: Hub | None = None
    sizes: Mapping[str, int] = field(default_factory=lambda: {"test": 300, "train": 400})
    images: tuple[str, ...] = ("image",)
    options: tuple[str, ...] = ()

    @property
    def known(self) -> dict[str, tuple[str, ...]]:
        """Source to all of its splits."""
        others = {"data": self.files, "hub": self.hub}
        return {"synthetic": tuple(self.sizes)} | {source: found.splits for source, found in others.items() if found}

    def info(self, metric: str, *, suites: tuple[str | Suite, ...], extension: bool = False) -> TaskInfo:
        """Return what a task of these splits says of itself."""
        hub = self.hub.name if self.hub else ""
        return TaskInfo(metric, splits=self.known, hub=hub, get=self.get, extension=extension, suites=suites)

    def there(self, source: Source) -> Sequence[str]:
        """Return the splits that a source has, the default one first."""
        if source.kind == "data" and self.files:
            return self.files.there(source)
        if source.kind not in self.known:
            only = "is generated and has" if list(self.known) == ["synthetic"] else "has"
            raise BadData(f"{self.task} {only} no --{source.kind} source; run it without")
        return self.known[source.kind]

    def evaluated(self, source: Source) -> str:
        """Return the split that is evaluated: the one asked for, or the default."""
        return source.chosen(self.there(source), task=self.task, folders=self.files.folders if self.files else ())

    def shown(self, source: Source) -> str | None:
        """Return the split that demonstrations come from; None where no split has public answers."""
        split, there = self.evaluated(source), self.there(source)
        if source.kind == "data" and self.files and self.files.shown:
            return self.files.shown(source, split)
        wanted = self.hub.shown if source.kind == "hub" and self.hub else "train"
        return wanted if wanted in there else split

    def rows(self, source: Source, split: str, **options: object) -> Dataset:
        """Return the rows of a split, each with an ``id``: by default the split and its place in it.

        Args:
            source: where they come from.
            split: which of its splits.
            options: values of the `options`.
        """
        return _rows(self, source, split, **options)


@lru_cache(maxsize=32)
def _rows(splits: Splits, source: Source, split: str, **options: object) -> Dataset:
    if source.kind == "data" and splits.files:
        found = splits.files.rows(source, split, **options)
    elif source.kind == "hub" and splits.hub:
        hub = splits.hub
        if hub.read:
            found = hub.read(source, split, **options)
        else:
            images = list(splits.images)
            found = hub.adapt(from_hub(hub.name, source=source, split=split, config=hub.config, images=images))
    else:
        found = table(islice(splits.synthetic(split, **options), splits.sizes[split]), images=splits.images)
    if "id" in found.column_names:
        return found
    return found.add_column("id", [f"{split}/{place}" for place in range(len(found))])


class SplitTask(Task):
    """A task whose samples are the rows of a benchmark's splits; a subclass turns a row into a sample."""

    source: Source
    splits: ClassVar[Splits]

    @abstractmethod
    def sample(self, row: Row) -> Sample:
        """Return a row as a sample."""

    def demonstration(self, row: Row) -> Sample:
        """Return a row as a demonstration."""
        return self.sample(row)

    @property
    def split(self) -> str:
        """The split that is evaluated."""
        return self.splits.evaluated(self.source)

    def rows(self, split: str) -> Dataset:
        """Return the rows of a split."""
        options = {name: getattr(self, name) for name in self.splits.options}
        return self.splits.rows(self.source, split, **options)

    def samples(self) -> Sequence[Sample]:
        return Samples(self.rows(self.split), self.sample)

    def examples(self) -> Sequence[Sample]:
        split = self.splits.shown(self.source)
        return Samples(self.rows(split), self.demonstration) if split else []
