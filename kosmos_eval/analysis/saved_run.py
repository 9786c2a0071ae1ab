"""A run read from its folder: its configuration, samples, values and scores. The data it was made with may be gone.

Scores are read from ``scores.csv`` where it belongs to the samples, and computed again only where it does not (an
interrupted run) or on request; that, and prompts with their images, need the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from kosmos_eval.errors import KosmosEvalError, RunError
from kosmos_eval.evaluation.evaluator import external_notes
from kosmos_eval.evaluation.plan import Setting, plan
from kosmos_eval.evaluation.results import Report, Row, read_rows
from kosmos_eval.evaluation.run_config import Manifest, RunConfig, SettingSummary, TaskSummary
from kosmos_eval.evaluation.run_folder import SCORES, Record, RunFolder, load_folder
from kosmos_eval.evaluation.scores import (
    score_setting,
    scores_digest,
    stored_sample_metrics,
    values_by_id,
    write_setting,
)
from kosmos_eval.evaluation.setup import load_shots, tasks_of
from kosmos_eval.evaluation.variant import SettingKey
from kosmos_eval.sample import Sample
from kosmos_eval.task import Score


@dataclass(frozen=True)
class SavedSetting:
    """The samples of a setting as a run's folder holds them.

    Args:
        key: the setting's name.
        records: of every sample that was asked, in order.
        values: sample id to its values, the headline metric first; samples without any are left out.
        corpus: names of values that only the whole corpus decides, such as CIDEr.
        seed: of demonstrations and the bootstrap.
        summary: what ``run.json`` says of it; None for one that is not finished.
    """

    key: SettingKey
    records: tuple[Record, ...]
    values: Mapping[str, Mapping[str, float]]
    corpus: frozenset[str]
    seed: int
    summary: SettingSummary | None

    @property
    def label(self) -> str:
        """The setting in messages."""
        return str(self.key)

    @property
    def headline(self) -> str:
        """The metric that stands first; empty where no sample has values."""
        return next((name for own in self.values.values() for name in own), "")

    def record(self, id: str) -> Record | None:
        """Return the record of a sample; None for one that was not asked."""
        return self._by_id.get(id)

    def is_share(self, metric: str) -> bool:
        """Return whether a metric's values are shares of 0 to 1, which reports show in per cent."""
        found = [own[metric] for own in self.values.values() if metric in own]
        return metric not in self.corpus and all(0 <= value <= 1 for value in found)

    @cached_property
    def _by_id(self) -> dict[str, Record]:
        return {record.id: record for record in self.records}


@dataclass(frozen=True)
class SavedRun:
    """A run's folder, read.

    Args:
        folder: where it lies.
        manifest: its ``run.json``.
        run: its records.
        settings: its settings, in the order in which they were asked.
        data: where the official files lie now, if they have moved.
        rescore: compute the scores from the records, whatever ``scores.csv`` says.
    """

    folder: Path
    manifest: Manifest
    run: RunFolder
    settings: tuple[SavedSetting, ...]
    data: Path | None = None
    rescore: bool = False

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.manifest.model_name

    @property
    def config(self) -> RunConfig:
        """The run's configuration."""
        return self.manifest.config

    @property
    def external(self) -> bool:
        """True where answers of another program were scored: nothing is known of how they were asked."""
        return self.config.kind == "answers"

    def setting(self, key: SettingKey) -> SavedSetting | None:
        """Return a setting by its name; None where the run has none."""
        return next((setting for setting in self.settings if setting.key == key), None)

    def task(self, name: str) -> TaskSummary:
        """Return what reports need of a task."""
        return self.manifest.tasks.get(name, TaskSummary())

    @cached_property
    def report(self) -> Report:
        """The scores.

        Raises:
            KosmosEvalError: if they have to be computed, and the data are gone.
        """
        if not self.rescore and self.scored:
            return Report(self.model, tuple(read_rows(self.folder / SCORES)), self.folder)
        rows = [row for setting in self.plan for row in self._score(setting)]
        return Report.of(self.model, rows) if not self.external else Report(self.model, tuple(rows), self.folder)

    @property
    def scored(self) -> bool:
        """True where ``scores.csv`` holds the scores of the samples that are there."""
        if not (self.folder / SCORES).exists() or not self.settings:
            return False
        return all(
            setting.summary is not None
            and setting.summary.samples == len(setting.records)
            and setting.summary.scores == scores_digest(setting.records)
            for setting in self.settings
        )

    @cached_property
    def plan(self) -> Sequence[Setting]:
        """The settings with their tasks and samples made again, so that prompts and images can be shown.

        Raises:
            KosmosEvalError: if a task or its data are gone, or demonstrations would be chosen otherwise.
        """
        config = self.config
        tasks = tasks_of(config, data=self.data)
        if self.external:
            ((name, task),) = tasks.items()
            split = task.samples()
            answered = {record.id for setting in self.settings for record in setting.records}
            chosen = [sample for sample in split if sample.id in answered]
            return [Setting(SettingKey(name), task, config.seed, chosen, split=split)]
        shots = load_shots(config.shots, config.shots_from)
        if shots.choice.fingerprint != config.shots_fingerprint:
            raise RunError(
                f"{self.folder} chose its demonstrations by other weights of {shots.choice.name}; bring those back"
            )
        return plan(tasks, shots=shots, limit=config.limit, seed=config.seed, variants=config.variants)

    def _score(self, setting: Setting) -> list[Row]:
        gone = len(self.run.of(setting.key)) - len(setting.samples)
        notes = external_notes(setting, gone=gone) if self.external else None
        found = score_setting(setting, self.run, notes, recompute=self.rescore)
        if self.rescore:
            write_setting(setting, self.run)
        return found


def open_run(folder: Path, *, data: Path | None = None, rescore: bool = False) -> SavedRun:
    """Read a run's folder.

    Args:
        folder: the folder.
        data: where the official files lie now, if they have moved.
        rescore: compute the scores from the records, whatever ``scores.csv`` says.

    Raises:
        RunError: if there is no run, or it is damaged.
    """
    manifest, run = load_folder(folder)
    config = manifest.config

    tasks, shots = ({name: place for place, name in enumerate(given)} for given in (config.tasks, config.shots))
    keys = sorted(run.records, key=lambda key: (tasks.get(key.task, len(tasks)), shots.get(key.shots, len(shots))))
    settings = tuple(_setting(key, manifest, run) for key in keys)
    return SavedRun(folder, manifest, run, settings, data=data, rescore=rescore)


def _setting(key: SettingKey, manifest: Manifest, run: RunFolder) -> SavedSetting:
    records = run.of(key)
    pairs = [(record.sample, record.score) for record in records if record.score is not None]
    samples, scores = [sample for sample, _ in pairs], [score for _, score in pairs]
    summary = manifest.settings.get(str(key))
    corpus = stored_sample_metrics(key, run)
    if corpus is None and summary is None:
        corpus = _computed(key, manifest, samples, scores)
    headline = manifest.tasks.get(key.task, TaskSummary()).metric
    return SavedSetting(
        key,
        tuple(records),
        values_by_id(samples, scores, corpus or {}, headline=headline),
        frozenset(name for own in (corpus or {}).values() for name in own),
        manifest.config.seed if key.variant.seed is None else key.variant.seed,
        summary,
    )


def _computed(
    key: SettingKey, manifest: Manifest, samples: Sequence[Sample], scores: Sequence[Score]
) -> Mapping[str, Mapping[str, float]]:
    """Return what the corpus decides of the samples of an unfinished setting; nothing where its task is gone."""
    try:
        task = tasks_of(manifest.config)[key.task]
        return task.sample_metrics(samples, scores) if samples else {}
    except KosmosEvalError:
        return {}


@dataclass(frozen=True)
class AlignedSample:
    """A sample with what each of several runs has of it; None where one has not asked it."""

    sample: Sample
    records: tuple[Record | None, ...]

    @property
    def same_prompt(self) -> bool:
        """True where all runs that asked have asked the same."""
        return len({record.prompt for record in self.records if record is not None and record.prompt}) < 2


@dataclass(frozen=True)
class AlignedSetting:
    """A setting of several runs side by side; None for a run that has not got it.

    Args:
        key: the setting's name.
        settings: by run.
        samples: of all runs, in the order of the first run that has them.
    """

    key: SettingKey
    settings: tuple[SavedSetting | None, ...]
    samples: tuple[AlignedSample, ...] = field(repr=False)


def aligned(runs: Sequence[SavedRun]) -> Iterator[AlignedSetting]:
    """Return the settings of several runs side by side, in the order of the first run that has them."""
    for key in dict.fromkeys(setting.key for run in runs for setting in run.settings):
        settings = tuple(run.setting(key) for run in runs)
        samples = {
            record.id: record.sample for setting in settings if setting is not None for record in setting.records
        }
        yield AlignedSetting(
            key,
            settings,
            tuple(
                AlignedSample(sample, tuple(None if one is None else one.record(id) for one in settings))
                for id, sample in samples.items()
            ),
        )
