"""The paper's number beside a run's own, where the run asked as the paper did."""

import re
from collections.abc import Container
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from kosmos_eval.cells import Cell
from kosmos_eval.paper import OURS, Reported, every, reported
from kosmos_eval.report.rows import Row
from kosmos_eval.variant import parted

VALIDATION = {"val", "valid", "validation", "dev", "devseen"}
"""What benchmarks call the split that the paper calls validation."""


def beside(row: Row, cell: Cell) -> Reported | None:
    """What the paper reports for a row; None where it reports nothing, or the run is of another protocol.

    It is the same protocol where official data were asked in the usual way: the paper's split, as many samples as the
    paper says, none failed, all of them asked (`Cell.split`), and the task's options as they are by default, which is
    where they follow the paper. What the paper leaves open (prompt and rule of the language tasks) cannot differ from
    it: another wording of these, such as GPT-3's, which may well be the authors', has the number beside its headline,
    whatever that is called; the protocol shown with it says what is not stated.
    """
    ways = parted(row.variant)
    found = _unstated(row) if "prompt" in ways else reported(row.task, row.shots, row.metric)
    if found is None or ways.keys() - {"prompt"} or row.failed or row.effective_shots < row.shots:
        return None
    source = getattr(cell.task, "source", None)
    if (
        getattr(source, "kind", "mini") == "mini"
        or len(cell.samples) < len(cell.split)
        or not _usual(cell.task, but=ways)
    ):
        return None
    return found if _same_split(found.protocol, str(getattr(cell.task, "split", "")), row.n) else None


def _unstated(row: Row) -> Reported | None:
    """The paper's number for a task of which it states neither prompt nor rule, by whatever rule a row is."""
    place = (row.task, row.shots, OURS)
    own = (each for each in every() if (each.task, each.shots, each.model) == place)
    return next((each for each in own if each.protocol == "prompt and rule not stated"), None)


def _same_split(protocol: str, split: str, n: int) -> bool:
    """Whether a split is the one that a protocol names first, such as ``Karpathy test``, ``validation of 50,000``."""
    said = protocol.split(";")[0].lower()
    counts = {int(number.replace(",", "")) for number in re.findall(r"\b\d[\d,]*", said)}
    if counts and n not in counts:
        return False
    name = re.sub(r"\W|_", "", split.lower())
    if "test-dev" in said:
        return name.startswith("testdev")
    if "validation" in said:
        return name in VALIDATION
    if "iq50" in said:
        return name == "iq50"
    return name == "test" if "test" in said.split() else True


def _usual(task: Any, *, but: Container[str] = ()) -> bool:
    """Whether every option but the source, and those that are named, has its default."""
    if not is_dataclass(task):
        return True
    return all(
        getattr(task, option.name)
        == (option.default if option.default_factory is MISSING else option.default_factory())
        for option in fields(task)
        if option.name != "source"
        and option.name not in but
        and (option.default is not MISSING or option.default_factory is not MISSING)
    )
