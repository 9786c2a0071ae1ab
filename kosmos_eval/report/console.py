"""Scores and the leaderboard as tables on the console, narrow enough for 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kosmos_eval.evaluation.results import Report, Row
from kosmos_eval.evaluation.variant import Variant
from kosmos_eval.report.units import bare, interval, shown

if TYPE_CHECKING:
    from pandas import DataFrame


def print_report(report: Report, console: Console) -> None:
    """Print the scores with their intervals, and below them how they came about; failed samples stand beside n.

    A task that was asked with blank images too shows that score in a column beside its own. Of other variants, and of
    means over them, the headline metric is shown; the rest is in ``scores.csv``.
    """
    blind = any(report.blind(row) is not None for row in report.rows)
    table = Table(
        title=Text(report.model),
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
        group = list(rows)
        place = str(group[0].key)
        table.add_row(Text(place, "bold"))
        for name, row in _shown(group, report):
            beside = report.blind(row)
            table.add_row(Text(f"  {name}"), *_cells(row, beside, blind=blind))
            if beside is not None and beside.image_gain is not None:
                gain = shown(beside.image_gain, beside.unit, "+")
                ends = interval(beside.image_gain_low, beside.image_gain_high, beside.unit)
                table.add_row("    image gain", gain, ends)
        notes += [f"{place}: {note}" for note in _notes(group)]
    console.print(table)
    if blind:
        notes.append("blind: blank-image baseline, grey images in place of all images")
    if any(row.image_gain is not None for row in report.rows):
        notes.append("image gain: the score minus the blank-image baseline, by pairs of the same sample")
    for note in notes:
        console.print(note, soft_wrap=True, markup=False, highlight=False)


def _shown(group: Sequence[Row], report: Report) -> Iterator[tuple[str, Row]]:
    """The lines of one task at one number of shots, by name: all metrics of its first variant, one of each other."""
    first = [row for row in group if row.variant == group[0].variant]
    yield from ((row.metric, row) for row in first)
    beside = [report.blind(row) for row in group]
    for _, rows in groupby(group[len(first) :], key=lambda row: row.variant):
        head = next(rows)
        if head not in beside:
            yield _variant(head.key.variant), head


def _variant(variant: Variant) -> str:
    """Return a variant as a line is called."""
    over = {"prompts": variant.prompts, "seeds": variant.seeds}
    means = [f"mean of {count} {name}" for name, count in over.items() if count is not None]
    rest = str(replace(variant, prompts=None, seeds=None)).split(",")
    return ", ".join(filter(None, [*means, *rest]))


def _cells(row: Row, beside: Row | None, *, blind: bool) -> list[str | Text]:
    """Return the columns of a line, the unit with the score alone; with the baseline's where there is one."""
    n = Text(f"{row.n}, {row.failed} failed", "red") if row.failed else str(row.n)
    chance = "" if row.chance is None else bare(row.chance, row.unit)
    p_value = "" if row.p_value is None else "< 0.001" if row.p_value < 0.001 else f"{row.p_value:.2g}"
    sightless = ["" if beside is None else bare(beside.score, beside.unit)] if blind else []
    return [shown(row.score, row.unit), interval(row.low, row.high, row.unit), *sightless, n, chance, p_value]


def _notes(group: Sequence[Row]) -> list[str]:
    """Return how the scores of a task at a number of shots came about, and how far they spread."""
    first = group[0]
    found = [first.note] if first.note else []
    if first.effective_shots < first.shots:
        found.append(f"{first.effective_shots:g} shots fitted")
    if failed := max(row.failed for row in group):
        found.append(f"incomplete: {failed} failed")
    notes = ["; ".join(found)] if found else []
    for row in group:
        if row.spread is not None and row.worst is not None and row.best is not None and row.metric == first.metric:
            score, worst, best = (shown(value, row.unit) for value in (row.score, row.worst, row.best))
            ends = f"spread {bare(row.spread, row.unit)}, worst {worst}, best {best}"
            notes.append(f"{_variant(row.key.variant)}: {row.metric} {score}, {ends}")
    return notes


def print_leaderboard(frame: DataFrame, console: Console) -> None:
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
        head = [str(part) for part in place] if place != previous else ["", "", ""]
        previous = place
        ends = interval(row["low"], row["high"], row["unit"], last=shown)
        found = (row["rank"], row["model"], shown(row["score"], row["unit"]), ends, row["n"], row["status"])
        table.add_row(*head, *map(str, found))
    console.print(table)
