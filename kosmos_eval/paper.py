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
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

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
    content = files("kosmos_eval").joinpath("paper.csv").read_text(encoding="utf-8")
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
