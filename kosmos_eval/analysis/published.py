"""What the KOSMOS-1 paper reports: every number of its tables that could be found, with where it was found.

The numbers lie in ``paper.csv`` beside this file, as printed. A tag names the source of a number:

==== =================================================== ==== ================================================
P    the paper's text                                    VG   the table of VL-GPT
I    the paper's own table or figure, seen as an image   M~   from memory, agreeing with differences that P says
K2   the KOSMOS-2 paper                                  M    from memory
OF   the OpenFlamingo paper, which reprints Flamingo's
E2   Table 1 of Emu2
MIO  Table 3 of MIO
==== =================================================== ==== ================================================

A number from memory is ``unverified``, and is to be called so wherever it is shown.
"""

import csv
import re
from collections.abc import Container, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from kosmos_eval.evaluation.plan import Setting
from kosmos_eval.evaluation.results import Row
from kosmos_eval.evaluation.variant import parted

OURS = "KOSMOS-1"
"""The paper's own model, as it evaluates it: after language-only instruction tuning."""


@dataclass(frozen=True)
class Reported:
    """One number of the paper.

    Args:
        table: the number of its table.
        model: the model; ``LLM`` is the paper's text-only baseline, trained alike.
        task: our task, or the suite whose mean it is.
        shots: demonstrations.
        metric: our metric; where the paper does not say how choices compare, our headline.
        score: as printed.
        unit: ``%``, or ``x100`` for a metric on a scale of its own that is printed a hundredfold.
        protocol: what of the paper's protocol a run has to share to be comparable: split, decoding, what is left open.
        tag: where the number was found; several by spaces.
        note: what else belongs to it.
    """

    table: int
    model: str
    task: str
    shots: int
    metric: str
    score: float
    unit: Literal["%", "x100"]
    protocol: str
    tag: str
    note: str

    @property
    def value(self) -> float:
        """The score on the scale of a report's row: CIDEr of 0.847 for 84.7."""
        return self.score / 100 if self.unit == "x100" else self.score

    @property
    def unverified(self) -> bool:
        """Whether nobody saw the number in print."""
        return not {"M", "M~"}.isdisjoint(self.tag.split())


def reported(task: str, shots: int, metric: str, *, model: str = OURS) -> Reported | None:
    """The number of a model, or None where the paper has none."""
    wanted = (task, shots, metric, model)
    return next((each for each in every() if (each.task, each.shots, each.metric, each.model) == wanted), None)


@cache
def every() -> Sequence[Reported]:
    """All numbers, in the order of the paper's tables; one that stands in two tables is there twice."""
    content = files("kosmos_eval.analysis").joinpath("paper.csv").read_text(encoding="utf-8")
    return tuple(_row(row) for row in csv.DictReader(content.splitlines()))


def _row(row: dict[str, str]) -> Reported:
    unit: Literal["%", "x100"] = "x100" if row["unit"] == "x100" else "%"
    return Reported(
        table=int(row["table"]),
        model=row["model"],
        task=row["task"],
        shots=int(row["shots"]),
        metric=row["metric"],
        score=float(row["score"]),
        unit=unit,
        protocol=row["protocol"],
        tag=row["tag"],
        note=row["note"],
    )


VALIDATION = {"val", "valid", "validation", "dev", "devseen"}
"""What benchmarks call the split that the paper calls validation."""


def beside(row: Row, cell: Setting) -> Reported | None:
    """What the paper reports for a row; None where it reports nothing, or the run is of another protocol.

    It is the same protocol where official data were asked in the usual way: the paper's split, as many samples as the
    paper says, none failed, all of them asked (`Setting.split`), and the task's options as they are by default, which
    is where they follow the paper. What the paper leaves open (prompt and rule of the language tasks) cannot differ
    from
    it: another wording of these, such as GPT-3's, which may well be the authors', has the number beside its headline,
    whatever that is called; the protocol shown with it says what is not stated.
    """
    ways = parted(row.variant)
    found = _unstated(row) if "prompt" in ways else reported(row.task, row.shots, row.metric)
    if found is None or ways.keys() - {"prompt"} or row.failed or row.effective_shots < row.shots:
        return None
    source = getattr(cell.task, "source", None)
    if (
        getattr(source, "kind", "synthetic") == "synthetic"
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
