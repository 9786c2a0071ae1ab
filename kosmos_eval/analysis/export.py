"""A run in formats that other tools read: scores as JSON, samples as Parquet, results as lm-evaluation-harness's.

The harness's results file (0.4.13) has ``results``, ``configs``, ``versions``, ``n-shot`` and ``n-samples`` by task,
with ``METRIC,none`` and ``METRIC_stderr,none``, rates in 0..1. It has one number of shots for a task, so a run becomes
one file for each number of shots and way of asking.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from math import isnan, sqrt
from pathlib import Path
from statistics import stdev
from typing import Any

from kosmos_eval.analysis.saved_run import SavedRun, open_run
from kosmos_eval.errors import KosmosEvalError, RunError
from kosmos_eval.evaluation.plan import Setting
from kosmos_eval.evaluation.results import Row
from kosmos_eval.evaluation.scores import marks
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
    past, target = open_run(folder), out or folder
    try:
        target.mkdir(parents=True, exist_ok=True)
        if form == "parquet":
            return [_parquet(past, target / "samples.parquet")]
        files = {"scores.json": scores(past)} if form == "json" else dict(results(past))
        for name, content in files.items():
            (target / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write to {target}: {error.strerror or error}; choose another --out") from error
    return [target / name for name in files]


def scores(past: SavedRun) -> dict[str, Any]:
    """The rows of the report, numbers in full precision, with what ``run.json`` says; what is unknown is null."""
    rows = [
        {name: None if isinstance(value, float) and isnan(value) else value for name, value in asdict(row).items()}
        for row in past.report.rows
    ]
    return {"model": past.model, "scores": rows, "run": dict(past.config)}


def samples(past: SavedRun) -> Iterator[dict[str, Any]]:
    """Every sample that was asked, as plain values: what it is, what came back, how it was marked.

    ``outputs`` has an entry for each request: the text, or the log-probabilities of its continuations.
    """
    for cell in past.cells:
        found = marks(cell, past.run)
        for sample in cell.outlines():
            record = cell.record(past.run, sample.id)
            if record is None:
                continue
            yield {
                "task": cell.name,
                "shots": cell.shots,
                "variant": cell.variant,
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
                "marks": [{"metric": name, "mark": float(mark)} for name, mark in found.get(sample.id, {}).items()],
                "outputs": [_output(output) for output in record.outputs],
            }


def results(past: SavedRun) -> Iterator[tuple[str, dict[str, Any]]]:
    """File name and content of lm-evaluation-harness's results, for each number of shots and way of asking."""
    rows = past.report.rows
    for shots, variant in dict.fromkeys((cell.shots, cell.variant) for cell in past.cells):
        cells = [cell for cell in past.cells if (cell.shots, cell.variant) == (shots, variant)]
        name = "-".join(filter(None, ("results", f"{shots}-shot", re.sub(r"\W+", "-", variant)))) + ".json"
        own = {cell.name: [row for row in rows if _of(row, cell)] for cell in cells}
        yield name, _results(past, cells, own)


def _results(past: SavedRun, cells: Sequence[Setting], rows: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    options = past.config.get("options", {})
    version = past.config.get("versions", {}).get("kosmos-eval", "")
    return {
        "results": {cell.name: _metrics(cell, rows[cell.name], past) for cell in cells},
        "group_subtasks": {cell.name: [] for cell in cells},
        "configs": {
            cell.name: {
                "task": cell.name,
                "num_fewshot": cell.shots,
                "variant": cell.variant,
                "metadata": {"version": version},
                **options.get("tasks", {}).get(cell.name, {}),
            }
            for cell in cells
        },
        "versions": {cell.name: version for cell in cells},
        "n-shot": {cell.name: cell.shots for cell in cells},
        "higher_is_better": {cell.name: {_name(row.metric): True for row in rows[cell.name]} for cell in cells},
        "n-samples": {
            cell.name: {"original": len(cell.split or cell.samples), "effective": rows[cell.name][0].n}
            for cell in cells
        },
        "config": {
            "model": options.get("model", past.model),
            "model_args": None,
            "batch_size": None,
            "device": None,
            "limit": options.get("limit"),
            "bootstrap_iters": 1000,
            "random_seed": options.get("seed", 0),
            "fewshot_seed": cells[0].seed,
        },
        "git_hash": past.config.get("git"),
        "date": _timestamp(past.config.get("started")),
        "model_source": "kosmos-eval",
        "model_name": past.model,
        "model_name_sanitized": re.sub(r"[\"<>:/|\\?*\[\]]+", "__", past.model),
        "task_hashes": {cell.name: past.config.get("data", {}).get(cell.label, "") for cell in cells},
    }


def _metrics(cell: Setting, rows: Sequence[Row], past: SavedRun) -> dict[str, Any]:
    """The figures of a task; a standard error is that of the mean of marks, of other metrics half their interval's."""
    own = list(marks(cell, past.run).values())
    found: dict[str, Any] = {"name": cell.name, "alias": cell.name, "sample_len": rows[0].n}
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


def _of(row: Row, cell: Setting) -> bool:
    return (row.task, row.shots, row.variant) == (cell.name, cell.shots, cell.variant)


def _name(metric: str) -> str:
    """A metric's name where a comma parts it from the filter's."""
    return metric.replace(",", ";")


def _timestamp(date: object) -> float | None:
    return datetime.fromisoformat(str(date)).timestamp() if date else None


def _output(output: Output) -> dict[str, Any]:
    if isinstance(output, Completion):
        logprobs = None if output.logprob is None else [output.logprob]
        return {"text": output.text, "logprobs": logprobs, "tokens": [output.tokens]}
    return {"text": None, "logprobs": list(output.logprobs), "tokens": list(output.tokens)}


def _parquet(past: SavedRun, path: Path) -> Path:
    """The samples as a table whose columns are of the same types for every run."""
    import pyarrow
    import pyarrow.parquet

    text, texts = pyarrow.string(), pyarrow.list_(pyarrow.string())
    mark = pyarrow.struct({"metric": text, "mark": pyarrow.float64()})
    output = {"text": text, "logprobs": pyarrow.list_(pyarrow.float64()), "tokens": pyarrow.list_(pyarrow.int64())}
    columns = dict.fromkeys(("task", "variant", "id", "kind", "group", "target", "prompt", "answer", "error"), text)
    columns |= dict.fromkeys(("references", "choices"), texts) | dict.fromkeys(("shots", "shown"), pyarrow.int64())
    columns |= {"marks": pyarrow.list_(mark), "outputs": pyarrow.list_(pyarrow.struct(output))}
    rows = list(samples(past))
    order = list(rows[0]) if rows else list(columns)
    schema = pyarrow.schema([(name, columns[name]) for name in order], metadata={"model": past.model})
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), path)
    return path
