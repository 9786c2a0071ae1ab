"""Requests and tokens that a server's answers took, over all starts and processes of a run.

Each process appends a line for each answer to its own ``usage`` file in the run's folder, before it passes the answer
on: no answer that was paid for is lost when a process is killed.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.errors import RunError
from kosmos_eval.files import Json, writing
from kosmos_eval.model import Model

FILES = "usage*.jsonl"
"""Pattern of the usage files in a run's folder."""


@dataclass
class UsageLog:
    """Counts of one process, in memory and, once there is a folder, on disk.

    Args:
        counts: by name: requests, tokens.
        endpoints: requests by the address that answered.
        notes: notes for reports, each once, in order.
        path: the file to append to.
    """

    counts: Counter[str] = field(default_factory=Counter)
    endpoints: Counter[str] = field(default_factory=Counter)
    notes: dict[str, None] = field(default_factory=dict)
    path: Path | None = None

    def keep(self, path: Path) -> None:
        """Append to a ``usage`` file of a run's folder from now on."""
        self.path = path

    def answered(self, address: str, **counts: int) -> None:
        """Count an answered request; on return it is handed to the operating system."""
        self._enter({"at": address, "requests": 1, **counts})

    def count(self, **counts: int) -> None:
        """Count something else."""
        self._enter(counts)

    def note(self, said: str) -> None:
        """Add a note for reports, once."""
        if said not in self.notes:
            self._enter({"said": said})

    def whole(self) -> "UsageLog":
        """Return the sum over all processes and starts; without a folder, this log itself.

        Raises:
            RunError: if a file is damaged.
        """
        if self.path is None:
            return self
        found = UsageLog()
        for path in sorted(self.path.parent.glob(FILES)):
            for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
                try:
                    found._add(json.loads(line))
                except (ValueError, TypeError, AttributeError) as error:
                    raise RunError(f"{path} line {number} is damaged ({error}); delete the line") from error
        return found

    def _enter(self, entry: Json) -> None:
        self._add(entry)
        if self.path is not None:
            with writing(self.path.parent), self.path.open("a", encoding="ascii") as file:
                file.write(json.dumps(entry) + "\n")

    def _add(self, entry: Json) -> None:
        if (said := entry.get("said")) is not None:
            self.notes[said] = None
            return
        self.counts.update({name: count for name, count in entry.items() if name != "at"})
        if "at" in entry:
            self.endpoints[entry["at"]] += 1


class RemoteModel(Model):
    """A model behind a server. A run knows it by name; its address may change when the run is resumed.

    Attributes:
        usage: requests and tokens so far.
        address: its URL, without secrets.
    """

    usage: UsageLog

    if TYPE_CHECKING:

        @property
        def address(self) -> str: ...
