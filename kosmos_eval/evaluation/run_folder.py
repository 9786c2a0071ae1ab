"""A run's folder: append-only, resumable, never half-written, and enough to report the run without its data.

``run.json`` is the manifest, ``samples.jsonl`` holds a line for each evaluated sample, ``scores.csv`` the table. Where
several processes evaluate, each appends to a ``samples.rankN.jsonl`` of its own; the first one gathers them into
``samples.jsonl`` when all are done, and the next start does where they were killed. Long lists of choices, which all
samples of a task share, lie once in ``choices-DIGEST.json``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired

from typing_extensions import TypedDict

from kosmos_eval.errors import RunError
from kosmos_eval.evaluation.distributed import SINGLE, Ranks
from kosmos_eval.evaluation.run_config import Manifest, load_manifest, reason_of
from kosmos_eval.evaluation.variant import SettingKey, Variant
from kosmos_eval.files import Json, write_text, writing
from kosmos_eval.models import usage
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Completion, Likelihoods, Output, is_finite
from kosmos_eval.sample import Sample
from kosmos_eval.task import Score

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SAMPLES = "samples.jsonl"
SCORES = "scores.csv"
MADE = (
    *(SAMPLES, "run.json", SCORES, "report.html", "profile.json"),
    *("samples.rank*.jsonl", "choices-*.json", "*-sample-metrics.json"),
)
"""The files that a run makes, as patterns; beside them usage files, and submissions, which its manifest lists."""

Records = dict[SettingKey, dict[str, "Record"]]
"""The records of each setting by the samples' ids."""

SampleMetrics = Mapping[str, Mapping[str, float]]
"""Values by sample id that only the whole corpus decides."""

SHARED_CHOICES = 50
"""Choices of a sample beyond which they are stored once for all samples."""


@dataclass(frozen=True)
class Record:
    """One evaluated sample: what was asked (by digest), what came back, how it was scored.

    Args:
        key: the setting.
        sample: its outline: id, group, kind, target, references, choices.
        prompt: digest of everything that was asked: text, images, decoding; empty where nothing could be.
        index: the sample's place in its setting.
        shown: the demonstrations that fitted into the context.
        outputs: the model's outputs of all turns.
        score: the score; None where the sample failed.
        error: why it failed; None where it did not.
    """

    key: SettingKey
    sample: Sample
    prompt: str = ""
    index: int = 0
    shown: int = 0
    outputs: tuple[Output, ...] = ()
    score: Score | None = None
    error: str | None = None

    @property
    def id(self) -> str:
        """The sample's id."""
        return self.sample.id

    def line(self, choices: str | None = None) -> str:
        """Return the record as one line of strict JSON, free of raw line breaks of any kind.

        Args:
            choices: the file that holds the sample's choices, where they are not part of the line.
        """
        key, sample = self.key, self.sample
        values = {
            "task": key.task,
            "shots": key.shots,
            **({"variant": str(key.variant)} if str(key.variant) else {}),
            "index": self.index,
            "id": sample.id,
            **{name: getattr(sample, name) for name in ("group", "kind", "target") if getattr(sample, name)},
            **({"references": sample.references} if sample.references else {}),
            **({"choices": choices or sample.choices} if sample.choices else {}),
            "prompt": self.prompt,
            "shown": self.shown,
            "outputs": [_without_defaults(output) for output in self.outputs],
            "score": None if self.score is None else vars(self.score),
            "error": self.error,
        }
        return json.dumps(values, ensure_ascii=True, allow_nan=False)

    @classmethod
    def parse(cls, line: str | bytes, folder: Path | None = None) -> Record:
        """Read the record of a line.

        Args:
            line: what `line` wrote.
            folder: of the run, where choices may lie in a file.

        Raises:
            ValueError: if the line is not one that `line` wrote.
        """
        try:
            found: _Line = _lines().validate_json(line)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
        if not all(map(is_finite, found["outputs"])):
            raise ValueError("a log-probability is not a finite number")
        score, choices = found["score"], found.get("choices", ())
        sample = Sample(
            found["id"],
            Prompt(),
            target=found.get("target", ""),
            references=found.get("references", ()),
            choices=_choices(folder, choices) if isinstance(choices, str) else choices,
            group=found.get("group", ""),
            kind=found.get("kind", ""),
        )
        return cls(
            SettingKey(found["task"], found["shots"], Variant.parse(found.get("variant", ""))),
            sample,
            prompt=found["prompt"],
            index=found["index"],
            shown=found["shown"],
            outputs=found["outputs"],
            score=None if score is None else Score(**score),
            error=found["error"],
        )


class _Score(TypedDict):
    values: dict[str, float]
    answer: str
    record: Json


class _Line(TypedDict):
    task: str
    shots: int
    variant: NotRequired[str]
    index: int
    id: str
    group: NotRequired[str]
    kind: NotRequired[str]
    target: NotRequired[str]
    references: NotRequired[tuple[str, ...]]
    choices: NotRequired[tuple[str, ...] | str]
    prompt: str
    shown: int
    outputs: tuple[Completion | Likelihoods, ...]
    score: _Score | None
    error: str | None


@cache
def _lines() -> TypeAdapter[_Line]:
    from pydantic import ConfigDict, TypeAdapter

    _Line.__pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False, strict=False)  # type: ignore[attr-defined]
    return TypeAdapter(_Line)


def _without_defaults(output: Output) -> Json:
    return {name: value for name, value in vars(output).items() if name != "at_most" or value}


@cache
def _choices(folder: Path | None, name: str) -> tuple[str, ...]:
    if folder is None or Path(name).name != name:
        raise ValueError(f"its choices are said to lie in {name!r}")
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"the file of its choices, {name}, cannot be read: {error.strerror}") from error
    if not isinstance(found, list) or not all(isinstance(choice, str) for choice in found):
        raise ValueError(f"{name} is no list of choices")
    return tuple(found)


@dataclass
class RunFolder:
    """The finished part of a run, in memory and, where there is a folder, on disk.

    Open one with `open_folder`; a `RunFolder()` without a path keeps everything in memory.

    Args:
        path: where it lives.
        records: of every sample that was asked, by setting and id.
        file: what this process appends to.
    """

    path: Path | None = None
    records: Records = field(default_factory=dict)
    file: str = SAMPLES
    sample_metrics: dict[SettingKey, SampleMetrics] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)

    @property
    def answered(self) -> int:
        """The number of samples that were asked."""
        return sum(map(len, self.records.values()))

    def record(self, key: SettingKey, id: str) -> Record | None:
        """Return what is known of a sample; None while it was not asked."""
        return self.records.get(key, {}).get(id)

    def finished(self, key: SettingKey, id: str, prompt: str) -> bool:
        """Return whether this sample was answered and scored when it was asked exactly this."""
        record = self.record(key, id)
        return record is not None and record.error is None and record.prompt == prompt

    def of(self, key: SettingKey) -> list[Record]:
        """Return the records of a setting in the order of its samples."""
        return sorted(self.records.get(key, {}).values(), key=lambda record: record.index)

    def append(self, record: Record) -> None:
        """Keep a record; on return it is handed to the operating system, so that a killed process loses nothing."""
        record = replace(record, sample=record.sample.outline)
        _keep(self.records, record)
        if self.path is not None:
            with writing(self.path):
                shared = self._shared_choices(record.sample.choices)
                with (self.path / self.file).open("a", encoding="ascii") as file:
                    file.write(record.line(shared) + "\n")

    def replace_all(self, records: Sequence[Record]) -> None:
        """Keep these records alone; the file is replaced as a whole."""
        self.records.clear()
        for record in records:
            _keep(self.records, record)
        if self.path is not None:
            with writing(self.path):
                lines = [record.line(self._shared_choices(record.sample.choices)) for record in records]
                write_text(self.path / SAMPLES, "".join(f"{line}\n" for line in lines))

    def gather(self) -> None:
        """Take in what other processes have appended; they must have ended by now."""
        if self.path is not None:
            _gather(self.path)
            self.file, self.records = SAMPLES, _records([self.path / SAMPLES])

    def write(self, name: str, content: str) -> None:
        """Replace a file of the folder as a whole or not at all; without a folder, nothing is written."""
        if self.path is not None:
            with writing(self.path):
                write_text(self.path / name, content)
            self.written.add(name)

    def _shared_choices(self, choices: tuple[str, ...]) -> str | None:
        """Return the file that holds long choices, written when it is first needed; None for short ones."""
        if self.path is None or len(choices) <= SHARED_CHOICES:
            return None
        content = json.dumps(choices)
        name = f"choices-{sha256(content.encode()).hexdigest()[:16]}.json"
        if not (self.path / name).exists():
            write_text(self.path / name, content + "\n")
        return name


@contextmanager
def open_folder(
    path: Path, manifest: Manifest, *, overwrite: bool = False, ranks: Ranks = SINGLE
) -> Iterator[tuple[RunFolder, Manifest | None]]:
    """Open a run's folder for writing, made if need be, and continue what is there.

    Args:
        path: where the run lives.
        manifest: of the run; its configuration must equal that of a run that is already there.
        overwrite: discard the run that is there.
        ranks: the processes that open it together. Those that answer in lockstep with the first one write nothing.

    Returns:
        The folder, and the manifest that was there; None for a new run.

    Raises:
        RunError: if the folder is in use, not writable, damaged, or holds a run of another configuration.
        PeerFailed: if the first of several processes has failed.
    """
    with ExitStack() as held:
        there: list[Manifest | None] = [None]
        ready = partial(_ready, path, manifest, overwrite=overwrite, held=held)
        ranks.all_gather(lambda: there.append(ready()) if ranks.first else None)
        folder = RunFolder(path, _records([path / SAMPLES]))
        ranks.all_gather(lambda: None)  # none appends before all have read
        if ranks.count > 1:
            folder.file = f"samples.rank{ranks.rank}.jsonl"
        if ranks.lockstep and not ranks.first:
            folder.path = None
        yield folder, there[-1]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep a folder, made if need be, for this process alone; a `RunError` where another one has it."""
    from filelock import FileLock, Timeout

    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        try:
            held = FileLock(path / ".lock").acquire(timeout=0)
        except Timeout as error:
            raise RunError(f"{path} is in use by another process; wait for it or choose another --out") from error
    with held:
        yield


def _ready(path: Path, manifest: Manifest, *, overwrite: bool, held: ExitStack) -> Manifest | None:
    """Lock a folder, check it, and gather what killed processes have left; return the manifest that was there."""
    held.enter_context(locked(path))
    if overwrite:
        _discard(path)
    there = _same_config(path, manifest)
    _gather(path)
    if there is None:
        RunFolder(path).write("run.json", manifest.dumps())
    return there


def _discard(path: Path) -> None:
    """Delete the files of a run; a folder without a ``run.json`` of ours loses nothing.

    Raises:
        RunError: if the folder holds samples but no manifest that says whose they are.
    """
    if not (path / "run.json").exists():
        if (path / SAMPLES).exists():
            raise RunError(
                f"{path} has samples but no run.json, so nothing says that they are ours; choose another --out"
            )
        return
    listed = {name for setting in load_manifest(path).settings.values() for name in setting.files}
    made = [path / name for name in listed if Path(name).name == name]
    for file in (*made, *(file for pattern in (*MADE, usage.FILES) for file in path.glob(pattern))):
        if file.is_file():
            file.unlink(missing_ok=True)


def load_folder(path: Path) -> tuple[Manifest, RunFolder]:
    """Read a run's manifest and its records.

    Raises:
        RunError: if there is no run, or it is damaged.
    """
    manifest = load_manifest(path)
    return manifest, RunFolder(path, _records([path / SAMPLES, *_parts(path)]))


def _parts(path: Path) -> list[Path]:
    """Sample files of single ranks, not merged yet."""
    return sorted(path.glob("samples.rank*.jsonl"))


def _gather(path: Path) -> None:
    """Move the lines of all processes to the run's own file, torn last ones cut off.

    A kill on the way leaves lines twice, which does no harm.
    """
    with writing(path):
        for file in filter(Path.exists, (path / SAMPLES, *_parts(path), *path.glob(usage.FILES))):
            whole = file.read_bytes().rfind(b"\n") + 1
            if whole < file.stat().st_size:
                os.truncate(file, whole)
        for part in _parts(path):
            with (path / SAMPLES).open("ab") as gathered, part.open("rb") as lines:
                shutil.copyfileobj(lines, gathered)
                gathered.flush()
                os.fsync(gathered.fileno())
            part.unlink()


def _same_config(path: Path, manifest: Manifest) -> Manifest | None:
    """Return the manifest of the run that is there, if it is of the same configuration; None for a new run."""
    if not (path / "run.json").exists():
        if (path / SAMPLES).exists() or _parts(path):
            raise RunError(f"{path} has samples but no run.json; choose another --out")
        return None
    there = load_manifest(path)
    if differing := there.config.differences(manifest.config):
        raise RunError(
            f"{path} holds a run with other options ({'; '.join(differing)}); "
            "choose another --out, or --overwrite to discard it"
        )
    return there


def _records(paths: Sequence[Path]) -> Records:
    """Read every record of some files, the last one of each sample; a torn last line is none.

    A file that is not there has no records.
    """
    found: Records = {}
    for path in filter(Path.exists, paths):
        for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
            try:
                _keep(found, Record.parse(line, path.parent))
            except ValueError as error:
                reason = f"{path} line {number} is damaged ({reason_of(error)})"
                raise RunError(f"{reason}; delete the line, or run with --overwrite") from error
    return found


def _keep(records: Records, record: Record) -> None:
    records.setdefault(record.key, {})[record.id] = record
