"""The official files of a benchmark: where they lie, which splits are there, and where demonstrations come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.source import Row, Source, table
from kosmos_tasks.formats.records import some

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, eq=False)
class Files:
    """Official files under ``--data``.

    Args:
        folders: names of their folder; the first that is there counts, else the root itself.
        splits: all splits, the default one first.
        there: the splits that a source has.
        rows: the rows of a split.
        shown: the split that demonstrations come from, given the evaluated one; None where none has public answers. By
            default it is the training one where that is there, else the same.
    """

    folders: tuple[str, ...]
    splits: tuple[str, ...]
    there: Callable[[Source], Sequence[str]]
    rows: Callable[..., Dataset]
    shown: Callable[[Source, str], str | None] | None = None


def text_files(
    folders: tuple[str, ...],
    patterns: Mapping[str, tuple[str, ...]],
    read: Callable[[Path], Iterable[Row]],
    *,
    examples: tuple[str, ...] = ("train",),
    first: Mapping[str, int] | None = None,
) -> Files:
    """Return official files of text, one for each split.

    Args:
        folders: names of their folder.
        patterns: split to the patterns of its file, default split first. The first pattern that something matches
            counts, and of several files the largest.
        read: the rows of a file, in its order.
        examples: splits that demonstrations come from, the first that is there; else they are the evaluated one's own.
        first: splits that are only the beginning of their file, and of how many rows.
    """

    def file(source: Source, split: str) -> Path | None:
        folder = source.folder(*folders)
        matches = (
            list(place.glob(name)) for place in (folder, folder / folder.name) for name in patterns.get(split, ())
        )
        return max(next(filter(None, matches), []), key=lambda found: found.stat().st_size, default=None)

    def there(source: Source) -> Sequence[str]:
        return [split for split in patterns if file(source, split)]

    def shown(source: Source, split: str) -> str:
        return next((each for each in examples if file(source, each)), split)

    def rows(source: Source, split: str) -> Dataset:
        found = file(source, split)
        assert found is not None, f"{split} is none of {there(source)}"
        return table(some(islice(read(found), (first or {}).get(split)), named_by=found))

    return Files(folders, tuple(patterns), there, rows, shown)
