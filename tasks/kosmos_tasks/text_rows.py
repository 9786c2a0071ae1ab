"""The rows of a benchmark without images: from official files, the hub, or small and generated."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.errors import BadData
from kosmos_eval.source import Source, from_hub, table
from kosmos_eval.task import About, Suite
from kosmos_tasks.suites import KOSMOS1, LANGUAGE, MINI

if TYPE_CHECKING:
    from datasets import Dataset

Row = dict[str, Any]
Columns = Mapping[str, Callable[[Any], Any]]
"""What turns the value of a column into the one wanted, or raises a `ValueError` that says what it expects."""


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
        return source.chosen(self._known(source), task=self.task)

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
        matches = (list(folder.glob(pattern)) for pattern in self.files[split])
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
        found = table(given)
    return found.add_column("id", [f"{split}/{place}" for place in range(len(found))])


def text(value: object) -> str:
    """A column of text; a `ValueError` where it is none, or blank."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("some text")
    return value


def texts(count: int) -> Callable[[object], list[str]]:
    """A column of so many texts."""

    def checked(value: object) -> list[str]:
        if not isinstance(value, list) or len(value) != count:
            raise ValueError(f"a list of {count} texts")
        return [text(each) for each in value]

    return checked


def one_of(*values: object, labels: Sequence[object] = ()) -> Callable[[object], Any]:
    """A column of these values, kept as ``labels`` if given."""

    def checked(value: object) -> object:
        if not any(value is each or (value == each and type(value) is type(each)) for each in values):
            raise ValueError(f"one of {', '.join(map(repr, values))}")
        return (labels or values)[values.index(value)]

    return checked


def columns(row: object, wanted: Columns, *, place: str) -> Row:
    """The wanted columns of a row, each as its function gives it.

    Raises:
        BadData: naming ``place`` and the column that is missing or is not what its function expects.
    """
    if not isinstance(row, Mapping):
        raise BadData(f"{place} is {str(row)[:60]!r}; expected an object with {', '.join(wanted)}")
    found = {}
    for name, convert in wanted.items():
        if name not in row:
            raise BadData(f"{place} has no {name!r}, only {', '.join(map(str, row))}; expected the official format")
        try:
            found[name] = convert(row[name])
        except ValueError as error:
            raise BadData(f"{place} has {name!r} {str(row[name])[:60]!r}; expected {error}") from error
    return found


def json_lines(file: Path) -> Iterator[tuple[str, Any]]:
    """The values of a file with a JSON value a line, each with its place in words.

    Raises:
        BadData: if the file cannot be read, or a line is no JSON.
    """
    for place, line in lines(file):
        try:
            yield place, json.loads(line)
        except ValueError as error:
            raise BadData(f"{place} is not JSON: {line[:60]!r}; get the file again") from error


def lines(file: Path) -> Iterator[tuple[str, str]]:
    """The lines of a file that are not blank, each with its place in words."""
    try:
        content = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"{file} cannot be read ({error}); get the file again") from error
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            yield f"line {number} of {file}", line.rstrip("\r")
