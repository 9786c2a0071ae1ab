"""The leaderboard as one page of HTML: a table for each place, a curve for each model, and why rows have no rank."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.evaluation.results import Row
from kosmos_eval.files import write_output
from kosmos_eval.report.charts import Chart, models_curves
from kosmos_eval.report.render import rendered

if TYPE_CHECKING:
    from pandas import DataFrame

Columns = Mapping[Any, Any]
"""A row of the leaderboard by column."""

Key = tuple[object, ...]
"""Values that rows agree in."""


@dataclass(frozen=True)
class Entry:
    """A model's row: its rank or why it has none, and where it comes from."""

    model: str
    rank: str
    status: str
    row: Row
    origin: Columns
    blind: Row | None = None

    @property
    def brief(self) -> str:
        """The row's origin, in few words."""
        known = self.origin
        said = (
            known["split"],
            known["limit"] and f"{known['limit']} samples",
            known["seed"] and f"seed {known['seed']}",
            known["date"][:10],
            known["version"] and f"version {known['version']}",
            known["run"],
        )
        return " · ".join(filter(None, said))


@dataclass(frozen=True)
class Place:
    """The rows of one metric of a task at one number of shots, in one variant."""

    entries: tuple[Entry, ...]

    @property
    def row(self) -> Row:
        """One of the rows, for what they share."""
        return self.entries[0].row


@dataclass(frozen=True)
class Section:
    """A task: its headline in the default variant by number of shots, everything else, and its chart if it has one."""

    task: str
    places: tuple[Place, ...]
    rest: tuple[Place, ...]
    chart: Chart | None


def write_page(frame: DataFrame, board: Path) -> Path:
    """Write the page of a ranked leaderboard beside its CSV file, and return its path."""
    path = board.with_suffix(".html")
    write_output(path, page(frame))
    return path


def page(frame: DataFrame) -> str:
    """Return the page of a ranked leaderboard (`kosmos_eval.analysis.leaderboard.ranked`)."""
    found = sections(frame.to_dict("records"))
    models = {entry.model for section in found for place in section.places for entry in place.entries}
    return rendered("leaderboard.html.j2", sections=found, models=sorted(models))


def sections(rows: Iterable[Columns]) -> list[Section]:
    """The rows of a leaderboard by task."""
    entries = [_entry(given) for given in rows]
    blind = {_pair(entry): entry.row for entry in entries if entry.row.key.variant.images != "real"}
    tasks: dict[str, dict[Key, list[Entry]]] = {}
    for entry in entries:
        row, rest = entry.row, entry.origin["headline"] != "yes" or entry.row.variant != ""
        own = replace(entry, blind=blind.get(_pair(entry))) if row.key.variant.images == "real" else entry
        tasks.setdefault(row.task, {}).setdefault((rest, row.shots, row.variant, row.metric), []).append(own)
    return [_section(task, places) for task, places in tasks.items()]


def _section(task: str, found: Mapping[Key, Sequence[Entry]]) -> Section:
    heads, rest = (tuple(Place(tuple(own)) for key, own in found.items() if key[0] == rest) for rest in (False, True))
    return Section(task, heads, rest, _chart(heads))


def _pair(entry: Entry) -> Key:
    """Return the key that pairs a row with its blank-image counterpart."""
    row, origin = entry.row, entry.origin
    variant = replace(row.key.variant, images="blank")
    return entry.model, row.task, row.shots, row.metric, variant, origin["limit"], origin["seed"]


def _chart(places: Sequence[Place]) -> Chart | None:
    """The curves of ranked rows; None where no model has two numbers of shots."""
    ranked: dict[str, dict[int, Row]] = {}
    for place in places:
        for entry in place.entries:
            if not entry.status and isfinite(entry.row.score):
                ranked.setdefault(entry.model, {}).setdefault(entry.row.shots, entry.row)
    return models_curves({model: list(own.values()) for model, own in ranked.items()})


def _entry(given: Columns) -> Entry:
    own: dict[str, Any] = {name: given[name] for name in given if name in Row.__dataclass_fields__}
    own |= {name: None for name, value in own.items() if isinstance(value, float) and isnan(value)}
    own |= {"score": given["score"], "p_value": None, "effective_shots": given["shots"]}
    row = Row(**own)
    return Entry(given["model"], given["rank"], given["status"], row, given)
