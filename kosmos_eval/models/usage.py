"""Usage of a server, added up over all starts of a run and all of its processes.

Each process appends to a ``usage`` file of its own in the run's folder, a line for each answer before that is given on:
whatever is killed, no answer that was paid for is left out.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.errors import RunError
from kosmos_eval.files import writing
from kosmos_eval.model import Model

FILES = "usage*.jsonl"
"""The usage files of a run's folder."""


@dataclass
class UsageLog:
    """Counts of one process, kept in memory, and on disk once there is a folder.

    Args:
        counts: by name: requests, tokens.
        places: requests by the address that answered them.
        remarks: what was said, each once, in order.
        path: what is appended to.
    """

    counts: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    remarks: dict[str, None] = field(default_factory=dict)
    path: Path | None = None

    def keep(self, path: Path) -> None:
        """From now on append to a ``usage`` file of a run's folder."""
        self.path = path

    def answered(self, address: str, **counts: int) -> None:
        """Enter a request that was answered; on return it is handed to the operating system."""
        self._enter({"at": address, "requests": 1, **counts})

    def count(self, **counts: int) -> None:
        """Enter something else that is counted."""
        self._enter(counts)

    def remark(self, said: str) -> None:
        """Enter what a report has to say, once."""
        if said not in self.remarks:
            self._enter({"said": said})

    def whole(self) -> "UsageLog":
        """Return the sum of all processes and starts; without a folder, the log itself.

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

    def _enter(self, entry: Mapping[str, Any]) -> None:
        self._add(entry)
        if self.path is not None:
            with writing(self.path.parent), self.path.open("a", encoding="ascii") as file:
                file.write(json.dumps(entry) + "\n")

    def _add(self, entry: Mapping[str, Any]) -> None:
        if (said := entry.get("said")) is not None:
            self.remarks[said] = None
            return
        self.counts.update({name: count for name, count in entry.items() if name != "at"})
        if "at" in entry:
            self.places[entry["at"]] += 1


class RemoteModel(Model):
    """A model behind a server: a run knows it by its name; its address may change when the run goes on.

    Attributes:
        usage: requests and tokens so far.
        address: where it answers, without secrets.
    """

    usage: UsageLog

    if TYPE_CHECKING:

        @property
        def address(self) -> str: ...
