"""A run as one page of HTML: scores, curves, breakdowns, calibration, and every sample with its prompt."""

from collections.abc import Mapping, Sequence
from typing import Any

from kosmos_eval.analysis.published import Reported, beside
from kosmos_eval.analysis.saved_run import SavedRun
from kosmos_eval.evaluation.plan import Setting
from kosmos_eval.evaluation.results import Report
from kosmos_eval.evaluation.scores import has_sample_metrics
from kosmos_eval.report.calibration import SIDE, reliability
from kosmos_eval.report.charts import HEIGHT, WIDTH, At, Curve, curve
from kosmos_eval.report.layout import Block, Line, blocks, breakdowns, lines, spreads
from kosmos_eval.report.render import rendered
from kosmos_eval.report.samples import Album, entries

SIDES = ((1_000, 224), (3_000, 160))
"""Up to so many samples, thumbnails of so many pixels; beyond, `SMALLEST`."""

SMALLEST = 112


def page(past: SavedRun, report: Report) -> str:
    """The page of a run.

    Args:
        past: the run with its tasks, so that prompts can be shown.
        report: its scores.
    """
    found = blocks(report.rows)
    standing = lines(found)
    album = Album(_side(sum(len(cell.samples) for cell in past.cells)))
    samples = [
        entry for number, cell in enumerate(past.cells) for entry in entries(cell, past.run, album, number=number)
    ]
    return rendered(
        "report.html.j2",
        script="report.js",
        report=report,
        lines=standing,
        papers=[_paper(line, past) for line in standing],
        blocks=found,
        curves=curves(found, standing),
        spreads=spreads(found),
        breakdowns=breakdowns(standing),
        reliabilities=[one for cell in past.cells if (one := reliability(cell, past.run)) is not None],
        facts=_facts(past),
        changed=sum(entry["changed"] for entry in samples),
        elsewhere=past.elsewhere,
        album=album,
        size={"width": WIDTH, "height": HEIGHT, "side": SIDE},
        data={"cells": [_cell(past, number) for number in range(len(past.cells))], "samples": samples},
    )


def curves(found: Sequence[Block], standing: Sequence[Line]) -> list[Curve]:
    """A curve for each task that was asked at several numbers of shots."""
    draws = {
        (spread.rows[0].task, spread.rows[0].shots): spread.rows[1:]
        for spread in spreads(found)
        if spread.part == "seed"
    }
    by_task: dict[str, list[At]] = {}
    for line in standing:
        row = line.block.head
        by_task.setdefault(row.task, []).append(At(row, line.blind, draws.get((row.task, row.shots), ())))
    return [one for own in by_task.values() if (one := curve(own)) is not None]


def _paper(line: Line, past: SavedRun) -> Reported | None:
    """The paper's number; None where nobody knows how the answers came about."""
    cell = _cell_of(line, past)
    return None if cell is None or past.elsewhere else beside(line.block.head, cell)


def _side(samples: int) -> int:
    return next((side for most, side in SIDES if samples <= most), SMALLEST)


def _cell_of(line: Line, past: SavedRun) -> Setting | None:
    row = line.block.head
    place = (row.task, row.shots, row.variant)
    return next((cell for cell in past.cells if (cell.name, cell.shots, cell.variant) == place), None)


def _cell(past: SavedRun, number: int) -> dict[str, Any]:
    cell = past.cells[number]
    percent = not has_sample_metrics(cell.task)
    return {"task": cell.name, "shots": cell.shots, "variant": cell.variant, "percent": percent}


def _facts(past: SavedRun) -> list[tuple[str, str]]:
    """What one has to know to repeat the run."""
    options, config = past.config.get("options", {}), past.config
    versions = ", ".join(f"{name} {version}" for name, version in config.get("versions", {}).items())
    limit = options.get("limit")
    model = f"{options.get('model', past.model)} (fingerprint {str(options.get('model_fingerprint', '–'))[:16]})"
    who = ("answers", str(options["answers"])) if past.elsewhere else ("model", model)
    answered = ", ".join(f"{len(cell.samples)} of {len(cell.split)}" for cell in past.cells) if past.elsewhere else ""
    facts = [
        who,
        ("samples", answered or ("all" if limit is None else f"a seeded subset of at most {limit} a task")),
        ("seed", str(options.get("seed", 0))),
        ("started", str(config.get("started", "–"))),
        ("finished", str(config.get("finished", "not yet"))),
        ("command", " ".join(config.get("command", []))),
        ("data", ", ".join(f"{name} {digest}" for name, digest in config.get("data", {}).items())),
        ("versions", versions),
        *(("before", _earlier(one)) for one in config.get("earlier", ())),
    ]
    return [(name, value) for name, value in facts if value]


def _earlier(made: Mapping[str, Any]) -> str:
    """With what the first samples of a run were answered that went on with other versions."""
    versions = ", ".join(f"{name} {version}" for name, version in (made.get("versions") or {}).items())
    return f"until {made['samples']} samples were answered: {versions}, commit {made.get('git') or 'unknown'}"
