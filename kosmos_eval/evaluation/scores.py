"""From the records of a setting to its rows in the report: metrics, values of single samples, the gain by images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256

from kosmos_eval.errors import RunError
from kosmos_eval.evaluation.plan import Setting
from kosmos_eval.evaluation.profiling import spent
from kosmos_eval.evaluation.results import Row, rows
from kosmos_eval.evaluation.run_config import SettingSummary
from kosmos_eval.evaluation.run_folder import Record, RunFolder, SampleMetrics
from kosmos_eval.evaluation.variant import SettingKey
from kosmos_eval.metrics.paired import Difference, paired
from kosmos_eval.metrics.statistics import Metric
from kosmos_eval.sample import Sample
from kosmos_eval.task import Score, Task


def score_setting(
    setting: Setting, run: RunFolder, notes: Sequence[str] | None = None, *, recompute: bool = False
) -> list[Row]:
    """Return the report's rows of a setting, from the records of its samples.

    Args:
        setting: the setting.
        run: its records.
        notes: what the report says beside the scores; by default what task and demonstrations say.
        recompute: forget what was known of values that only the whole corpus decides.
    """
    if recompute:
        run.sample_metrics[setting.key] = {}
    with spent("scoring"):
        samples, scores = scored(setting, run)
        metrics = setting.task.aggregate(samples, scores, seed=setting.seed)
        gains = image_gain(setting, run, metrics)
    shown = [record.shown for record in _records(setting, run)]
    found = rows(
        setting.key,
        metrics,
        shown=sum(shown) / max(len(shown), 1),
        failed=len(setting.samples) - len(samples),
        notes=_notes(setting, samples) if notes is None else notes,
    )
    return [row.with_gain(gains[row.metric]) if row.metric in gains else row for row in found]


def scored(setting: Setting, run: RunFolder) -> tuple[list[Sample], list[Score]]:
    """Return the samples of a setting that have a score, as outlines in order, and their scores."""
    pairs = [(record.sample, record.score) for record in _records(setting, run) if record.score is not None]
    return [sample for sample, _ in pairs], [score for _, score in pairs]


def sample_values(setting: Setting, run: RunFolder) -> dict[str, dict[str, float]]:
    """Return the values of a setting's samples by id, the task's headline metric first."""
    samples, scores = scored(setting, run)
    corpus = sample_metrics(setting.key, run, setting.task, samples, scores)
    return values_by_id(samples, scores, corpus, headline=setting.task.info.metric)


def values_by_id(
    samples: Sequence[Sample], scores: Sequence[Score], corpus: SampleMetrics, *, headline: str
) -> dict[str, dict[str, float]]:
    """Return values by sample id, the headline first; samples without any are left out."""
    found = {}
    for sample, score in zip(samples, scores, strict=True):
        own = {**score.values, **corpus.get(sample.id, {})}
        if own:
            found[sample.id] = {name: own[name] for name in sorted(own, key=lambda name: name != headline)}
    return found


def sample_metrics(
    key: SettingKey, run: RunFolder, task: Task, samples: Sequence[Sample], scores: Sequence[Score]
) -> SampleMetrics:
    """Return what only the whole corpus decides of its samples; computed once for the same samples."""
    if not samples:
        return {}
    known = stored_sample_metrics(key, run)
    if known is None or known.keys() != {sample.id for sample in samples}:
        known = task.sample_metrics(samples, scores)
        run.sample_metrics[key] = known
    return known


def stored_sample_metrics(key: SettingKey, run: RunFolder) -> SampleMetrics | None:
    """Return what `sample_metrics` has found or written; None where it has not.

    Raises:
        RunError: if the file is damaged.
    """
    if key not in run.sample_metrics and run.path is not None and (path := run.path / metrics_file(key)).exists():
        try:
            found = json.loads(path.read_bytes(), parse_constant=float)
            run.sample_metrics[key] = {
                str(id): {str(name): float(value) for name, value in own.items()} for id, own in found.items()
            }
        except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise RunError(
                f"{path} is damaged ({str(error)[:80]}); `kosmos-eval report --rescore` writes it"
            ) from error
    return run.sample_metrics.get(key)


def metrics_file(key: SettingKey) -> str:
    """Return the file of a run that holds what only the whole corpus decides of a setting's samples."""
    return f"{key.file_prefix}-sample-metrics.json"


def write_setting(setting: Setting, run: RunFolder) -> None:
    """Write the files that a setting gives beside the table: what a server scores, sample metrics."""
    samples, scores = scored(setting, run)
    if (submission := setting.task.submission(samples, scores)) is not None:
        file, content = submission
        run.write(f"{setting.key.file_prefix}-{file}", content)
    if found := sample_metrics(setting.key, run, setting.task, samples, scores):
        run.write(metrics_file(setting.key), json.dumps(found, indent=1) + "\n")


def summarise(setting: Setting, run: RunFolder) -> SettingSummary:
    """Return what ``run.json`` says of a finished setting."""
    return SettingSummary(
        samples=len(setting.samples),
        of=len(setting.split or setting.samples),
        data=data_digest(_records(setting, run)),
        scores=scores_digest(_records(setting, run)),
        files=tuple(sorted(name for name in run.written if name.startswith(f"{setting.key.file_prefix}-"))),
    )


def data_digest(records: Sequence[Record]) -> str:
    """Return 16 hex digits over what was evaluated: ids, prompts with the content of their images, references."""
    total = sha256()
    for record in records:
        total.update(f"{record.id} {record.prompt} {record.sample.references!r}\n".encode())
    return total.hexdigest()[:16]


def scores_digest(records: Sequence[Record]) -> str:
    """Return 16 hex digits over what was scored and what failed."""
    total = sha256()
    for record in records:
        values = None if record.score is None else sorted(record.score.values.items())
        total.update(f"{record.id} {values} {record.score and record.score.answer!r}\n".encode())
    return total.hexdigest()[:16]


def image_gain(setting: Setting, run: RunFolder, metrics: Mapping[str, Metric]) -> dict[str, Difference]:
    """Return what the real images add to the metrics of a setting that shows others, if the run has both.

    The same samples are compared by pairs, as two systems are (`kosmos_eval.metrics.paired`). Only metrics that are
    the mean of their values (`Metric.averaged`) have such a difference: not BLEU, nor the area under a curve.
    """
    real = setting.with_images()
    if real is None or not run.of(real.key):
        return {}
    ours, theirs = sample_values(setting, run), sample_values(real, run)
    outlines, found = [record.sample for record in _records(setting, run)], {}
    for name in (name for name, metric in metrics.items() if metric.averaged):
        both = [sample for sample in outlines if all(name in each.get(sample.id, {}) for each in (ours, theirs))]
        if both:
            found[name] = paired(
                [ours[sample.id][name] for sample in both],
                [theirs[sample.id][name] for sample in both],
                groups=[sample.group or sample.id for sample in both],
                seed=setting.seed,
            )
    return found


def _records(setting: Setting, run: RunFolder) -> list[Record]:
    """Return the records of the setting's samples, in order."""
    return [record for sample in setting.outlines() if (record := run.record(setting.key, sample.id)) is not None]


def _notes(setting: Setting, samples: Sequence[Sample]) -> list[str]:
    notes = list(setting.task.notes)
    if setting.shots and setting.task.info.extension:
        notes.append("few-shot form not in the paper")
    if setting.leave_one_out:
        notes.append("demonstrations from the evaluated split, the item itself left out")
    if setting.shots:
        notes.append(setting.choice.note(samples, setting.pool, setting.shots, seed=setting.seed, task=setting.name))
    return [note for note in notes if note]
