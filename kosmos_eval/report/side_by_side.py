"""The answers of several runs side by side, on a page: ``compare --html``."""

import html
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kosmos_eval.analysis.saved_run import AlignedSample, AlignedSetting, SavedRun, aligned
from kosmos_eval.errors import BadImage, KosmosEvalError
from kosmos_eval.evaluation.run_folder import Record
from kosmos_eval.evaluation.variant import SettingKey
from kosmos_eval.files import write_output
from kosmos_eval.report import prompts
from kosmos_eval.report.units import listed
from kosmos_eval.sample import Sample

STYLE = (
    "<style>body{max-width:none}table{border-collapse:collapse;width:100%}td,th{border:1px solid #8888;"
    "padding:.5rem;text-align:left;vertical-align:top;white-space:pre-wrap;overflow-wrap:anywhere}</style>"
)


def write_page(runs: Sequence[SavedRun], path: Path, *, tasks: Sequence[str] = (), limit: int = 200) -> None:
    """Write the answers of runs as a self-contained page: a table for each setting of the first run.

    Args:
        runs: the runs; the first says which samples, in which order.
        path: the page.
        tasks: which tasks; all for none.
        limit: the most samples of each.

    Raises:
        KosmosEvalError: if the first run has not all of the tasks, or the page cannot be written.
    """
    write_output(path, page(runs, tasks=tasks, limit=limit))


def page(runs: Sequence[SavedRun], *, tasks: Sequence[str] = (), limit: int = 200) -> str:
    """Return the page that `write_page` writes."""
    first = runs[0]
    chosen = [setting for setting in aligned(runs) if setting.settings[0] and (not tasks or setting.key.task in tasks)]
    missing = [task for task in tasks if task not in {setting.key.task for setting in chosen}]
    if missing or not chosen:
        there = ", ".join(dict.fromkeys(setting.key.task for setting in first.settings))
        raise KosmosEvalError(f"{first.folder} has no task {', '.join(missing)}; it has {there or 'none'}")
    shown, reason = _samples_with_prompts(first)
    notice = f"<p>Prompts and images are not shown: {html.escape(reason)}</p>" if reason else ""
    tables = "".join(_table(runs, setting, shown.get(setting.key, {}), limit) for setting in chosen)
    return prompts.page(" and ".join(run.model for run in runs), STYLE + notice + tables)


def _samples_with_prompts(run: SavedRun) -> tuple[dict[SettingKey, dict[str, Sample]], str]:
    """Return the samples of a run by setting and id; where the data are gone, none and the reason."""
    try:
        return {
            setting.key: {
                sample.id: replace(sample, prompt=sample.prompt.within(setting.task.readable))
                for sample in setting.samples
            }
            for setting in run.plan
        }, ""
    except KosmosEvalError as error:
        return {}, str(error)


def _table(runs: Sequence[SavedRun], setting: AlignedSetting, shown: dict[str, Sample], limit: int) -> str:
    names = "".join(
        f"<th>{html.escape(run.model)}<br><small>{html.escape(str(run.folder))}</small></th>" for run in runs
    )
    samples = [one for one in setting.samples if one.records[0] is not None]
    rows = "".join(_row(one, shown.get(one.sample.id)) for one in samples[:limit])
    more = len(samples) - limit
    rest = f"<p>and {more:,} more; --limit shows them</p>" if more > 0 else ""
    head = f"<tr><th>sample</th><th>target</th>{names}</tr>"
    return f"<h2>{html.escape(str(setting.key))}</h2><table>{head}{rows}</table>{rest}"


def _row(one: AlignedSample, shown: Sample | None) -> str:
    differs = "" if one.same_prompt else "<br><small>the runs asked different things</small>"
    question = html.escape(one.sample.id) if shown is None else _prompt(shown)
    answers = "".join(f"<td>{_answer(record)}</td>" for record in one.records)
    return f"<tr><td>{question}{differs}</td><td>{html.escape(one.sample.target)}</td>{answers}</tr>"


def _prompt(sample: Sample) -> str:
    try:
        return prompts.as_html(sample.prompt)
    except BadImage as error:
        return html.escape(f"{sample.prompt.text()} ({error})")


def _answer(record: Record | None) -> str:
    if record is None:
        return "<small>not asked</small>"
    if record.score is None:
        return f"<small>failed: {html.escape(str(record.error))}</small>"
    return f"{html.escape(record.score.answer)}<br><small>{html.escape(listed(record.score.values))}</small>"
