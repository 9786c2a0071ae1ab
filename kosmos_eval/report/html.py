"""A run as one page of HTML: scores, curves, breakdowns, calibration, and every sample with its prompt."""

from collections.abc import Sequence

from kosmos_eval.analysis.published import published
from kosmos_eval.analysis.saved_run import SavedRun
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.evaluation.plan import Setting
from kosmos_eval.evaluation.run_config import Earlier
from kosmos_eval.evaluation.variant import SettingKey
from kosmos_eval.report.calibration import reliability
from kosmos_eval.report.charts import At, Chart, curve
from kosmos_eval.report.layout import MetricGroup, TableRow, breakdowns, groups, spreads, table_rows
from kosmos_eval.report.render import rendered
from kosmos_eval.report.samples import Album, entries

SIDES = ((1_000, 224), (3_000, 160))
"""Up to so many samples, thumbnails of so many pixels; beyond, `SMALLEST`."""

SMALLEST = 112


def page(saved: SavedRun) -> str:
    """Return the page of a run; where its data are gone, it says so in the place of prompts and images."""
    report = saved.report
    plan, missing = _plan(saved)
    found = groups(report.rows)
    table = table_rows(found)
    album = Album(_side(sum(len(setting.records) for setting in saved.settings)))
    samples = [
        entry
        for number, setting in enumerate(saved.settings)
        for entry in entries(setting, plan.get(setting.key), album, number=number)
    ]
    return rendered(
        "report.html.j2",
        script="report.js",
        report=report,
        table=table,
        papers=[published(row.group.head, saved) for row in table],
        groups=found,
        curves=curves(found, table),
        spreads=spreads(found),
        breakdowns=breakdowns(table),
        reliabilities=[one for setting in saved.settings if (one := reliability(setting)) is not None],
        facts=_facts(saved),
        changed=sum(entry["changed"] for entry in samples),
        missing=missing,
        external=saved.external,
        synthetic=saved.config.synthetic,
        album=album,
        data={
            "settings": [
                {
                    "task": setting.key.task,
                    "shots": setting.key.shots,
                    "variant": str(setting.key.variant),
                    "percent": not setting.corpus,
                }
                for setting in saved.settings
            ],
            "samples": samples,
        },
    )


def _plan(saved: SavedRun) -> tuple[dict[SettingKey, Setting], str]:
    """Return the settings with their prompts; where they cannot be made again, none and the reason."""
    try:
        return {setting.key: setting for setting in saved.plan}, ""
    except KosmosEvalError as error:
        return {}, str(error)


def curves(found: Sequence[MetricGroup], table: Sequence[TableRow]) -> list[Chart]:
    """Return a curve for each task that was asked at several numbers of shots."""
    draws = {
        (spread.rows[0].task, spread.rows[0].shots): spread.rows[1:]
        for spread in spreads(found)
        if spread.part == "seed"
    }
    by_task: dict[str, list[At]] = {}
    for line in table:
        row = line.group.head
        by_task.setdefault(row.task, []).append(At(row, line.blind, draws.get((row.task, row.shots), ())))
    return [one for own in by_task.values() if (one := curve(own)) is not None]


def _side(samples: int) -> int:
    return next((side for most, side in SIDES if samples <= most), SMALLEST)


def _facts(saved: SavedRun) -> list[tuple[str, str]]:
    """Return what one has to know to repeat the run."""
    config, manifest = saved.config, saved.manifest
    limit = config.limit
    model = f"{config.model} (fingerprint {config.model_fingerprint[:16] or '–'})"
    sizes = [setting.summary for setting in saved.settings if setting.summary is not None]
    answered = ", ".join(f"{one.samples} of {one.of}" for one in sizes) if saved.external else ""
    facts = [
        ("answers" if saved.external else "model", config.model if saved.external else model),
        ("samples", answered or ("all" if limit is None else f"a seeded subset of at most {limit} a task")),
        ("seed", str(config.seed)),
        ("started", manifest.started),
        ("finished", manifest.finished or "not yet"),
        ("command", " ".join(manifest.environment.command)),
        ("data", ", ".join(f"{label} {one.data}" for label, one in manifest.settings.items())),
        ("versions", ", ".join(f"{name} {version}" for name, version in manifest.environment.versions.items())),
        *(("before", _earlier(one)) for one in manifest.earlier),
    ]
    return [(name, value) for name, value in facts if value]


def _earlier(made: Earlier) -> str:
    """Return with what the first samples of a run were answered that went on with other versions."""
    versions = ", ".join(f"{name} {version}" for name, version in made.versions.items())
    return f"until {made.samples} samples were answered: {versions}, commit {made.git or 'unknown'}"
