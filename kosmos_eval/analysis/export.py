"""A run in formats that other tools read: scores as JSON, samples as Parquet, results as lm-evaluation-harness's.

The harness's results file (0.4.13) has ``results``, ``configs``, ``versions``, ``n-shot`` and ``n-samples`` by task,
with ``METRIC,none`` and ``METRIC_stderr,none``, rates in 0..1. It has one number of shots for a task, so a run becomes
one file for each number of shots and way of asking.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from math import isnan, sqrt
from pathlib import Path
from statistics import stdev
from typing import Any

from kosmos_eval.analysis.saved_run import SavedRun, SavedSetting, open_run
from kosmos_eval.errors import KosmosEvalError, RunError
from kosmos_eval.evaluation.results import Row
from kosmos_eval.evaluation.run_config import to_json
from kosmos_eval.files import Json, write_text
from kosmos_eval.request import Completion, Output

FORMS = ("json", "parquet", "lm-eval")

NORMAL = 1.959963984540054
"""Standard errors that half of a 95 % interval spans."""


def export(folder: Path, form: str, *, out: Path | None = None) -> list[Path]:
    """Write a run in another format.

    Args:
        folder: the run's.
        form: one of `FORMS`.
        out: where the files go; the run's folder by default.

    Returns:
        The files: ``scores.json``, ``samples.parquet`` or ``results_*.json``.

    Raises:
        KosmosEvalError: if there is no such form or run, or the files cannot be written.
    """
    if form not in FORMS:
        raise KosmosEvalError(f"--to {form} is not known; expected one of {', '.join(FORMS)}")
    saved, target = open_run(folder), out or folder
    try:
        target.mkdir(parents=True, exist_ok=True)
        if form == "parquet":
            return [_parquet(saved, target / "samples.parquet")]
        files = {"scores.json": scores(saved)} if form == "json" else dict(results(saved))
        for name, content in files.items():
            write_text(target / name, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    except OSError as error:
        raise RunError(f"cannot write to {target}: {error.strerror or error}; choose another --out") from error
    return [target / name for name in files]


def scores(saved: SavedRun) -> Json:
    """The rows of the report, numbers in full precision, with what ``run.json`` says; what is unknown is null."""
    rows = [
        {name: None if isinstance(value, float) and isnan(value) else value for name, value in asdict(row).items()}
        for row in saved.report.rows
    ]
    return {"model": saved.model, "scores": rows, "run": to_json(saved.manifest)}


def samples(saved: SavedRun) -> Iterator[Json]:
    """Return every sample that was asked, as plain values: what it is, what came back, how it was scored.

    ``outputs`` has an entry for each request: the text, or the log-probabilities of its continuations.
    """
    for setting in saved.settings:
        for record in setting.records:
            sample, values = record.sample, setting.values.get(record.id, {})
            yield {
                "task": setting.key.task,
                "shots": setting.key.shots,
                "variant": str(setting.key.variant),
                "id": sample.id,
                "kind": sample.kind,
                "group": sample.group,
                "target": sample.target,
                "references": list(sample.references),
                "choices": list(sample.choices),
                "prompt": record.prompt,
                "shown": record.shown,
                "answer": None if record.score is None else record.score.answer,
                "error": record.error,
                "values": [{"metric": name, "value": float(value)} for name, value in values.items()],
                "outputs": [_output(output) for output in record.outputs],
            }


def results(saved: SavedRun) -> Iterator[tuple[str, Json]]:
    """Return file name and content of lm-evaluation-harness's results, for each number of shots and variant."""
    rows = saved.report.rows
    for shots, variant in dict.fromkeys((setting.key.shots, setting.key.variant) for setting in saved.settings):
        settings = [one for one in saved.settings if (one.key.shots, one.key.variant) == (shots, variant)]
        name = "-".join(filter(None, ("results", f"{shots}-shot", re.sub(r"\W+", "-", str(variant))))) + ".json"
        yield name, _results(saved, [(one, [row for row in rows if row.key == one.key]) for one in settings])


def _results(saved: SavedRun, settings: Sequence[tuple[SavedSetting, Sequence[Row]]]) -> Json:
    config, (first, _) = saved.config, settings[0]
    by_task = {one.key.task: _task_results(saved, one, rows) for one, rows in settings}
    columns = dict.fromkeys(name for own in by_task.values() for name in own)
    return {
        **{name: {task: own[name] for task, own in by_task.items()} for name in columns},
        "config": {
            "model": config.model,
            "model_args": None,
            "batch_size": None,
            "device": None,
            "limit": config.limit,
            "bootstrap_iters": 1000,
            "random_seed": config.seed,
            "fewshot_seed": first.seed,
        },
        "git_hash": saved.manifest.environment.git,
        "date": datetime.fromisoformat(saved.manifest.started).timestamp(),
        "model_source": "kosmos-eval",
        "model_name": saved.model,
        "model_name_sanitized": re.sub(r"[\"<>:/|\\?*\[\]]+", "__", saved.model),
    }


def _task_results(saved: SavedRun, setting: SavedSetting, rows: Sequence[Row]) -> Json:
    """Return what each part of the harness's results has of one task."""
    key, summary = setting.key, setting.summary
    version = saved.manifest.environment.versions.get("kosmos-eval", "")
    task = {"task": key.task, "num_fewshot": key.shots, "variant": str(key.variant), "metadata": {"version": version}}
    return {
        "results": _metrics(setting, rows),
        "group_subtasks": [],
        "configs": {**task, **saved.config.tasks.get(key.task, {})},
        "versions": version,
        "n-shot": key.shots,
        "higher_is_better": {_name(row.metric): True for row in rows},
        "n-samples": {"original": summary.of if summary else len(setting.records), "effective": rows[0].n},
        "task_hashes": summary.data if summary else "",
    }


def _metrics(setting: SavedSetting, rows: Sequence[Row]) -> Json:
    """Return the figures of a task; a standard error is that of the mean of values, else from half the interval."""
    own = list(setting.values.values())
    found: dict[str, Any] = {"name": setting.key.task, "alias": setting.key.task, "sample_len": rows[0].n}
    for row in rows:
        scale = 100 if row.unit == "%" else 1
        credit = [one[row.metric] for one in own if row.metric in one]
        error: float | str = "N/A"
        if len(credit) > 1 and abs(sum(credit) / len(credit) - row.score / scale) < 1e-9:
            error = stdev(credit) / sqrt(len(credit))
        elif row.low is not None and row.high is not None:
            error = (row.high - row.low) / scale / (2 * NORMAL)
        found[f"{_name(row.metric)},none"] = "N/A" if isnan(row.score) else row.score / scale
        found[f"{_name(row.metric)}_stderr,none"] = error
    return found


def _name(metric: str) -> str:
    """A metric's name where a comma parts it from the filter's."""
    return metric.replace(",", ";")


def _output(output: Output) -> Json:
    if isinstance(output, Completion):
        logprobs = None if output.logprob is None else [output.logprob]
        return {"text": output.text, "logprobs": logprobs, "tokens": [output.tokens]}
    return {"text": None, "logprobs": list(output.logprobs), "tokens": list(output.tokens)}


def _parquet(saved: SavedRun, path: Path) -> Path:
    """The samples as a table whose columns are of the same types for every run."""
    import pyarrow
    import pyarrow.parquet

    text, texts = pyarrow.string(), pyarrow.list_(pyarrow.string())
    value = pyarrow.struct({"metric": text, "value": pyarrow.float64()})
    output = {"text": text, "logprobs": pyarrow.list_(pyarrow.float64()), "tokens": pyarrow.list_(pyarrow.int64())}
    columns = dict.fromkeys(("task", "variant", "id", "kind", "group", "target", "prompt", "answer", "error"), text)
    columns |= dict.fromkeys(("references", "choices"), texts) | dict.fromkeys(("shots", "shown"), pyarrow.int64())
    columns |= {"values": pyarrow.list_(value), "outputs": pyarrow.list_(pyarrow.struct(output))}
    rows = list(samples(saved))
    order = list(rows[0]) if rows else list(columns)
    schema = pyarrow.schema([(name, columns[name]) for name in order], metadata={"model": saved.model})
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), path)
    return path
