"""The numbers that the KOSMOS-1 paper reports, each with where it was found.

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
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from kosmos_eval.analysis.compare import Compared
from kosmos_eval.analysis.saved_run import SavedRun
from kosmos_eval.errors import UnknownName
from kosmos_eval.evaluation.results import Row
from kosmos_eval.evaluation.variant import Variant

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
        split: the split that it is of, by the paper's name; empty where any will do.
        n: of so many samples; None where the paper does not say.
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
    split: str
    n: int | None
    protocol: str
    tag: str
    note: str

    @property
    def value(self) -> float:
        """The score on the scale of a report's row: CIDEr of 0.847 for 84.7."""
        return self.score / 100 if self.unit == "x100" else self.score

    def is_of(self, split: str, n: int) -> bool:
        """Return whether the number is of this split, and of so many samples where the paper says it."""
        name = re.sub(r"\W|_", "", split.lower())
        names = VALIDATION if self.split == "validation" else {self.split}
        same = not self.split or name in names or (self.split == "testdev" and name.startswith("testdev"))
        return same and self.n in (None, n)

    @property
    def unverified(self) -> bool:
        """True where nobody saw the number in print."""
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


def _row(row: dict[str, Any]) -> Reported:
    values: dict[str, Any] = {
        **row,
        **{name: int(row[name]) for name in ("table", "shots")},
        "score": float(row["score"]),
        "n": int(row["n"]) if row["n"] else None,
    }
    return Reported(**values)


VALIDATION = {"val", "valid", "validation", "dev", "devseen"}
"""Names that benchmarks have for the split that the paper calls validation."""


def published(row: Row, run: SavedRun) -> Reported | None:
    """Return what the paper reports for a row; None where it reports nothing, or the run is of another protocol.

    It is the same protocol where official data were asked in the default variant: the paper's split, as many samples as
    the paper says, none failed, all of the split, and the task's options as they are by default, which is where they
    follow the paper. What the paper leaves open (prompt and rule of the language tasks) cannot differ from it: another
    prompt of these, such as GPT-3's, which may well be the authors', has the number beside its headline, whatever that
    is called; the protocol shown with it says what is not stated.
    """
    key, task = row.key, run.task(row.task)
    prompt = key.variant.prompt is not None
    found = _unstated(row) if prompt else reported(row.task, row.shots, row.metric)
    setting = run.setting(key)
    if found is None or setting is None or run.external or row.failed or row.effective_shots < row.shots:
        return None
    if key.variant != Variant(prompt=key.variant.prompt):
        return None
    source = dict(run.config.tasks.get(row.task, {}).get("source") or {})
    synthetic = source.get("kind", "synthetic") == "synthetic"
    if synthetic or setting.summary is None or setting.summary.samples < setting.summary.of or not task.default_options:
        return None
    return found if found.is_of(task.split, row.n) else None


def _unstated(row: Row) -> Reported | None:
    """Return the paper's number for a task of which it states neither prompt nor rule, by whatever rule a row is."""
    place = (row.task, row.shots, OURS)
    own = (each for each in every() if (each.task, each.shots, each.model) == place)
    return next((each for each in own if each.protocol == "prompt and rule not stated"), None)


def check_model(name: str) -> None:
    """Make sure, before anything is computed, that the paper has a model.

    Raises:
        UnknownName: if it has not.
    """
    known = {each.model for each in every()}
    if name not in known:
        raise UnknownName("model of the paper", name, known)


def differences(rows: Sequence[Compared], *, before: str) -> list[str]:
    """Return, a line for each row that the paper has of both models, the difference here and in the paper.

    Args:
        rows: of a comparison; differences are the second run minus the first.
        before: the paper's model that stands for the first run; `OURS` stands for the second.
    """
    lines = []
    for row in rows:
        key = row.key
        first = reported(key.task, key.shots, row.metric, model=before)
        second = reported(key.task, key.shots, row.metric)
        if first is None or second is None or str(key.variant):
            continue
        scale = 100 if first.unit == "x100" or row.unit == "%" else 1
        doubt = " (unverified)" if first.unverified or second.unverified else ""
        lines.append(
            f"{row.name}, {key.shots} shots, {row.metric}: here {scale * row.difference.value:+.1f}; in the paper "
            f"{second.score - first.score:+.1f}, {before} {first.score:g} to {second.score:g}{doubt}, {first.protocol}"
        )
    return lines or ["the paper has no numbers of both models for these tasks"]
