"""The leaderboard on the console: the headline metric of every task, ranks where rows are comparable."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from pandas import DataFrame


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
