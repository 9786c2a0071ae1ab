"""The report as a table on the console, narrow enough for 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import isnan
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kosmos_eval.evaluation.results import OVER, Report, Row
from kosmos_eval.evaluation.variant import parted

if TYPE_CHECKING:
    from pandas import DataFrame


def print_report(report: Report, console: Console) -> None:
    """Print the scores with their intervals, and below them how they came about; failed samples stand beside n.

    A task that was asked with blank images too shows that score in a column beside its own. Of other variants, and of
    means over them, the headline metric is shown; the rest is in ``scores.csv``.
    """
    blind = any(report.blind(row) is not None for row in report.rows)
    table = Table(
        title=escape(report.model),
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("", overflow="fold")
    for name in ("score", "95 % interval", *(["blind"] if blind else []), "n", "chance"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("p vs\nchance", justify="right", no_wrap=True)
    notes: list[str] = []
    for _, rows in groupby(report.rows, key=lambda row: (row.task, row.shots)):
        cell = list(rows)
        place = _place(cell[0])
        table.add_row(f"[bold]{escape(place)}[/bold]")
        for name, row in _shown(cell, report):
            beside = report.blind(row)
            table.add_row(f"  {escape(name)}", *_cells(row, beside, blind=blind))
            if beside is not None and beside.added is not None:
                table.add_row("    pictures add", *_added(beside))
        notes += [f"{escape(place)}: {note}" for note in _notes(cell)]
    console.print(table)
    if blind:
        notes.append("blind: the same questions with grey images in place of all pictures")
    if any(row.added is not None for row in report.rows):
        notes.append("pictures add: the score minus the blind one, by pairs of the same sample")
    for note in notes:
        console.print(note, highlight=False, soft_wrap=True)


def _place(row: Row) -> str:
    return ", ".join(filter(None, (row.task, f"{row.shots} shots", row.variant)))


def _shown(cell: Sequence[Row], report: Report) -> Iterator[tuple[str, Row]]:
    """The lines of one task at one number of shots, by name: all metrics of its first variant, one of each other."""
    first = [row for row in cell if row.variant == cell[0].variant]
    yield from ((row.metric, row) for row in first)
    beside = [report.blind(row) for row in cell]
    for variant, rows in groupby(cell[len(first) :], key=lambda row: row.variant):
        head = next(rows)
        if head not in beside:
            yield _variant(variant), head


def _variant(variant: str) -> str:
    """A variant as a line is called."""
    parts = parted(variant)
    over = [f"mean of {parts.pop(name)} {name}" for name in OVER.values() if name in parts]
    return ", ".join([*over, *(f"{name}={value}" for name, value in parts.items())])


def _cells(row: Row, beside: Row | None, *, blind: bool) -> list[str]:
    """What stands in a line, the unit with the score alone; where there is a blind column, with what is beside."""
    n = f"[red]{row.n}, {row.failed} failed[/red]" if row.failed else str(row.n)
    chance = "" if row.chance is None else bare(row.chance, row)
    p_value = "" if row.p_value is None else "< 0.001" if row.p_value < 0.001 else f"{row.p_value:.2g}"
    sightless = ["" if beside is None else bare(beside.score, beside)] if blind else []
    interval = "" if row.low is None or row.high is None else f"{bare(row.low, row)} – {bare(row.high, row)}"
    return [shown(row.score, row), interval, *sightless, n, chance, p_value]


def _added(blind: Row) -> list[str]:
    """What the pictures add to a blind row, with its interval."""
    ends = () if blind.added_low is None or blind.added_high is None else (blind.added_low, blind.added_high)
    return [signed(blind.added or 0.0, blind), " – ".join(bare(end, blind) for end in ends)]


def _notes(cell: Sequence[Row]) -> list[str]:
    """How the scores of one task at one number of shots came about, and how far they spread."""
    usual = cell[0]
    found = [escape(usual.note)] if usual.note else []
    if usual.effective_shots < usual.shots:
        found.append(f"{usual.effective_shots:g} shots fitted")
    if failed := max(row.failed for row in cell):
        found.append(f"[red]incomplete: {failed} failed[/red]")
    notes = ["; ".join(found)] if found else []
    for row in cell:
        if row.spread is not None and row.worst is not None and row.best is not None and row.metric == usual.metric:
            ends = f"spread {bare(row.spread, row)}, worst {shown(row.worst, row)}, best {shown(row.best, row)}"
            notes.append(f"{escape(_variant(row.variant))}: {escape(row.metric)} {shown(row.score, row)}, {ends}")
    return notes


def shown(value: float, row: Row) -> str:
    """A value of a row in the row's unit, as reports show it."""
    return f"{bare(value, row)} %" if row.unit == "%" and not isnan(value) else bare(value, row)


def signed(value: float, row: Row) -> str:
    """A difference in the row's unit, with its sign."""
    return f"{'' if value < 0 else '+'}{shown(value, row)}"


def bare(value: float, row: Row) -> str:
    """A value of a row as reports show it, without its unit."""
    return "–" if isnan(value) else f"{value:.{2 if row.unit == '%' else 3}f}"


def print_standing(frame: DataFrame, console: Console) -> None:
    """Print the headline rows of a ranked leaderboard; equal ranks are ties, rows without one say why."""
    table = Table(title="leaderboard", title_justify="left")
    for name in ("task", "shots", "metric", "rank", "model", "score", "95 % interval", "n", "not ranked because"):
        right = name in ("shots", "rank", "score", "95 % interval", "n")
        table.add_column(name, justify="right" if right else "left", no_wrap=right)
    previous = None
    for row in frame[frame["headline"] == "yes"].to_dict("records"):
        place = (", ".join(filter(None, (row["task"], row["variant"]))), row["shots"], row["metric"])
        if previous not in (None, place):
            table.add_section()
        head = [escape(str(part)) for part in place] if place != previous else ["", "", ""]
        previous = place
        unit = " %" if row["unit"] == "%" else ""
        digits = 2 if unit else 3
        low, high = (f"{row[name]:.{digits}f}" for name in ("low", "high"))
        interval = "" if isnan(row["low"]) else f"{low} – {high}{unit}"
        score = f"{row['score']:.{digits}f}{unit}"
        texts = [escape(str(row["model"])), score, interval, str(row["n"]), escape(str(row["status"]))]
        table.add_row(*head, str(row["rank"]), *texts)
    console.print(table)
