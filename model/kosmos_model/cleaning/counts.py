"""Counts of what cleaning read, dropped and kept, by corpus and rule."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kosmos_eval.files import Json

DUPLICATE = "near-duplicate"


@dataclass
class Counts:
    """The documents of one corpus, by what was done with them.

    Args:
        read: how many there were.
        skipped: rows, shards and images that could not be read; ``skipped/`` names them.
        dropped: rule to documents.
        images: rule to images that were left out of documents.
        kept: how many are left.
    """

    read: int = 0
    skipped: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    kept: int = 0

    def add(self, other: Json) -> None:
        """Count what another task counted."""
        self.read, self.skipped = self.read + other["read"], self.skipped + other["skipped"]
        self.kept += other["kept"]
        for mine, theirs in ((self.dropped, other["dropped"]), (self.images, other["images"])):
            for rule, count in theirs.items():
                mine[rule] = mine.get(rule, 0) + count


def merged(files: Iterable[Path]) -> dict[str, Counts]:
    """Return the counts of corpora, added up from the files of all tasks."""
    found: dict[str, Counts] = {}
    for path in sorted(files):
        for name, counts in json.loads(path.read_text()).items():
            found.setdefault(name, Counts()).add(counts)
    return found


def print_counts(counts: Json, console: Console) -> None:
    """Print the content of ``counts.json`` as a table."""
    table = Table("corpus", "", box=None, header_style="bold")
    for title in ("documents", "share", "images left out"):
        table.add_column(title, justify="right")
    for name, one in counts.items():
        read = max(1, one["read"])
        table.add_row(name, "read", f"{one['read']:,}", "", "")
        if one["skipped"]:
            table.add_row("", "skipped: rows, shards, images that cannot be read", f"{one['skipped']:,}", "", "")
        for rule in (*one["dropped"], *(rule for rule in one["images"] if rule not in one["dropped"])):
            documents, images = one["dropped"].get(rule, 0), one["images"].get(rule, 0)
            table.add_row("", rule, f"{documents:,}", f"{documents / read:.1%}", f"{images:,}" if images else "")
        table.add_row("", "kept", f"{one['kept']:,}", f"{one['kept'] / read:.1%}", "", end_section=True)
    console.print(table)
