"""A comparison of two runs on the console, as JSON and as CSV."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kosmos_eval.analysis.compare import Compared, Comparison
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.files import inert, write_output
from kosmos_eval.report.units import bare, shown

LEGEND = (
    "wins, losses: samples that B does better, worse. Holm: p corrected for the number of rows. "
    "n for 80 % power: samples that would show a difference this large in 80 % of studies."
)


def print_comparison(found: Comparison, console: Console, *, changes: int) -> None:
    """Print the rows, then for each the ``changes`` samples that changed most."""
    table = Table(title=Text(f"A: {found.first}\nB: {found.second}"), title_justify="left")
    for name in ("task", "shots", "metric"):
        table.add_column(name, justify="right" if name == "shots" else "left", overflow="fold")
    for name in ("A", "B", "B - A", "95 % interval", "p", "Holm", "n", "wins", "losses", "n for\n80 %\npower"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict")
    for row in found.rows:
        table.add_row(*_cells(row))
    console.print(table)
    console.print(LEGEND, style="dim")
    for row in found.rows:
        if row.left_out or row.changed_prompts:
            changed = f", {row.changed_prompts} of the compared had other prompts" if row.changed_prompts else ""
            said = (
                f"{row.name}, {row.key.shots} shots: {row.left_out} samples left out, scored in one run only{changed}"
            )
            console.print(said)
    for note in found.notes:
        console.print(note)
    if changes and any(row.changes for row in found.rows):
        console.print(_changed(found, changes))


def check_name(path: Path) -> None:
    """Make sure, before anything is computed, that a comparison can be written to a file of this name.

    Raises:
        KosmosEvalError: if its ending is not one of those that `write` knows.
    """
    if path.suffix not in (".json", ".csv"):
        raise KosmosEvalError(f"--out {path} is neither a .json nor a .csv file; name one of them")


def write(found: Comparison, path: Path) -> None:
    """Write the comparison as JSON, with every changed sample, or as CSV, by the file's ending.

    Raises:
        KosmosEvalError: if the ending is another, or the file cannot be written.
    """
    check_name(path)
    content = json.dumps(_plain(found), indent=1) + "\n" if path.suffix == ".json" else _csv(found)
    write_output(path, content)


def _cells(row: Compared) -> list[str | Text]:
    found = row.difference
    value, low, high = (
        "" if end is None else bare(row.scale * end, row.unit, "+") for end in (found.value, found.low, found.high)
    )
    scores = [_shown(row.first, row), _shown(row.second, row), value, f"{low} … {high}" if low and high else "–"]
    p_values = [f"{found.p_value:.2g}", f"{row.corrected:.2g}"]
    wins = [str(found.better), str(found.worse), "–" if found.needed is None else f"{found.needed:,}"]
    colour = {"B is better": "green", "B is worse": "red"}.get(row.verdict, "default")
    said = Text(row.verdict, colour)
    return [row.name, str(row.key.shots), row.metric, *scores, *p_values, str(row.n), *wins, said]


def _changed(found: Comparison, most: int) -> Table:
    table = Table(title="largest changes", title_justify="left")
    for name in ("task", "shots", "sample", "A", "B", "A answers", "B answers"):
        table.add_column(name, justify="right" if name in ("shots", "A", "B") else "left")
    for row in found.rows:
        for change in row.changes[:most]:
            values = [_shown(change.first, row), _shown(change.second, row)]
            answers = [_short(change.first_answer), _short(change.second_answer)]
            table.add_row(row.name, str(row.key.shots), change.id, *values, *answers)
        table.add_section()
    return table


def _short(text: str, most: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _shown(value: float, row: Compared) -> str:
    return shown(row.scale * value, row.unit)


def _plain(found: Comparison) -> dict[str, object]:
    rows = [
        _row(row) | {"difference": asdict(row.difference), "changes": list(map(asdict, row.changes))}
        for row in found.rows
    ]
    return {"first": found.first, "second": found.second, "rows": rows, "notes": list(found.notes)}


def _row(row: Compared) -> dict[str, Any]:
    key = {"task": row.key.task, "shots": row.key.shots, "variant": str(row.key.variant)}
    own = {name: value for name, value in vars(row).items() if name not in ("key", "difference", "changes")}
    return key | own | {"verdict": row.verdict}


def _csv(found: Comparison) -> str:
    import pandas

    frame = pandas.DataFrame([_row(row) | asdict(row.difference) for row in found.rows])
    safe = frame.map(lambda cell: inert(cell) if isinstance(cell, str) else cell)
    return str(safe.rename(columns={"value": "difference"}).to_csv(index=False))
