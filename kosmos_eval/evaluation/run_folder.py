"""A run's folder: append-only, resumable, never half-written.

``run.json`` says what was asked, ``samples.jsonl`` holds a line for each evaluated sample, ``scores.csv`` the table.
Where several processes evaluate, each appends to a ``samples.rankN.jsonl`` of its own; the first one gathers them into
``samples.jsonl`` when all are done, and the next start does where they were killed.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from kosmos_eval.errors import RunError
from kosmos_eval.evaluation.distributed import ALONE, Ranks
from kosmos_eval.files import redacted, write_text, writing
from kosmos_eval.models import usage
from kosmos_eval.request import Completion, Likelihoods, Output
from kosmos_eval.task import Score

Key = tuple[str, int, str, str]
SAMPLES = "samples.jsonl"


@dataclass(frozen=True)
class Record:
    """One evaluated sample: what was asked (by digest), what came back, how it was marked.

    Args:
        task: the task's name.
        shots: the demonstrations asked for.
        id: the sample's id.
        prompt: digest of everything that was asked: text, images, decoding.
        shown: the demonstrations that fitted into the context.
        outputs: the model's outputs of all stages.
        score: the marks; None where the sample failed.
        error: why it failed; None where it did not.
        variant: how it was asked otherwise than usual, such as ``images=blank``; empty for the usual way.
    """

    task: str
    shots: int
    id: str
    prompt: str
    shown: int = 0
    outputs: tuple[Output, ...] = ()
    score: Score | None = None
    error: str | None = None
    variant: str = ""

    @property
    def key(self) -> Key:
        """What a record is found by; a later one replaces an earlier one."""
        return self.task, self.shots, self.id, self.variant

    def line(self) -> str:
        """The record as one line of JSON, free of raw line breaks of any kind."""
        values = asdict(self)
        if not self.variant:
            del values["variant"]
        return json.dumps(values, ensure_ascii=True)

    @classmethod
    def of(cls, line: str) -> Self:
        """The record of a line.

        Raises:
            ValueError: if the line is not one that `line` wrote.
        """
        try:
            found = json.loads(line)
            outputs = tuple(_output(output) for output in found.pop("outputs"))
            score = found.pop("score")
            return cls(**found, outputs=outputs, score=None if score is None else Score(**score))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(str(error)) from error


def _output(found: dict[str, Any]) -> Output:
    if "text" in found:
        return Completion(**found)
    return Likelihoods(**{name: tuple(values) for name, values in found.items()})


@dataclass
class Run:
    """What is done so far, in memory and, where there is a folder, on disk.

    Open one with `opened`; a `Run()` without a folder keeps everything in memory.

    Args:
        folder: where it lives.
        records: of every sample that was asked.
        file: what this process appends to.
    """

    folder: Path | None = None
    records: dict[Key, Record] = field(default_factory=dict)
    file: str = SAMPLES

    def finished(self, task: str, shots: int, id: str, prompt: str, *, variant: str = "") -> bool:
        """Whether this sample was answered and marked when it was asked exactly this."""
        record = self.record(task, shots, id, variant=variant)
        return record is not None and record.error is None and record.prompt == prompt

    def record(self, task: str, shots: int, id: str, *, variant: str = "") -> Record | None:
        """What is known of a sample; None while it was not asked."""
        return self.records.get((task, shots, id, variant))

    def append(self, record: Record) -> None:
        """Keep a record; on return it is handed to the operating system, so that a killed process loses nothing."""
        self.records[record.key] = record
        if self.folder is not None:
            with writing(self.folder), (self.folder / self.file).open("a", encoding="ascii") as file:
                file.write(record.line() + "\n")

    def gather(self) -> None:
        """Take in what other processes have appended; they must have ended by now."""
        if self.folder is not None:
            _gather(self.folder)
            self.file, self.records = SAMPLES, _records(self.folder / SAMPLES)

    def write(self, name: str, content: str) -> None:
        """Replace a file of the folder as a whole or not at all; without a folder, nothing is written."""
        if self.folder is not None:
            with writing(self.folder):
                write_text(self.folder / name, content)


@contextmanager
def opened(folder: Path, config: Mapping[str, Any], *, fresh: bool = False, ranks: Ranks = ALONE) -> Iterator[Run]:
    """Open a run's folder for writing, made if need be, and continue what is there.

    Args:
        folder: where the run lives.
        config: what ``run.json`` says; its ``options`` must equal those of a run that is already there.
        fresh: discard what is there.
        ranks: the processes that open it together. Those that answer in step with the first one write nothing.

    Raises:
        RunError: if the folder is in use, not writable, damaged, or holds a run with other options.
        Elsewhere: if the first of several processes has failed.
    """
    with ExitStack() as held:
        if ranks.first:
            ranks.together(lambda: _ready(folder, config, fresh=fresh, held=held))
        else:
            ranks.together(lambda: None)
        run = Run(folder, _records(folder / SAMPLES))
        ranks.together(lambda: None)  # none appends before all have read
        if ranks.count > 1:
            run.file = f"samples.rank{ranks.rank}.jsonl"
        if ranks.in_step and not ranks.first:
            run.folder = None
        yield run


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a folder, made if need be, for this process alone; a `RunError` where another one has it."""
    from filelock import FileLock, Timeout

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            held = FileLock(folder / ".lock").acquire(timeout=0)
        except Timeout as error:
            raise RunError(f"{folder} is in use by another process; wait for it or choose another --out") from error
    with held:
        yield


def _ready(folder: Path, config: Mapping[str, Any], *, fresh: bool, held: ExitStack) -> None:
    """Lock a folder, check it, and gather what killed processes have left."""
    held.enter_context(locked(folder))
    if fresh:
        own = (folder / name for name in (SAMPLES, "run.json", "scores.csv", "report.html"))
        for path in (*own, *_parts(folder), *folder.glob(usage.FILES)):
            path.unlink(missing_ok=True)
    _same_options(folder, config)
    _gather(folder)
    if not (folder / "run.json").exists():
        Run(folder).write("run.json", json.dumps(redacted(config), indent=2, ensure_ascii=False) + "\n")


def load(folder: Path) -> tuple[dict[str, Any], Run]:
    """A run's ``run.json`` and its records, read only.

    Raises:
        RunError: if there is no run, or it is damaged.
    """
    try:
        config = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{folder} holds no readable run.json ({error}); name a folder that `run` made") from error
    if not isinstance(config, dict):
        raise RunError(f"{folder}/run.json holds no object of options; name a folder that `run` made")
    found: dict[Key, Record] = {}
    for path in (folder / SAMPLES, *_parts(folder)):
        found |= _records(path)
    return config, Run(folder, found)


def _parts(folder: Path) -> list[Path]:
    """What processes that were killed, or are at it, have appended beside the run's own file."""
    return sorted(folder.glob("samples.rank*.jsonl"))


def _gather(folder: Path) -> None:
    """Move the lines of all processes to the run's own file, torn last ones cut off.

    A kill on the way leaves lines twice, which does no harm.
    """
    with writing(folder):
        for path in filter(Path.exists, (folder / SAMPLES, *_parts(folder), *folder.glob(usage.FILES))):
            whole = path.read_bytes().rfind(b"\n") + 1
            if whole < path.stat().st_size:
                os.truncate(path, whole)
        for path in _parts(folder):
            with (folder / SAMPLES).open("ab") as gathered, path.open("rb") as part:
                shutil.copyfileobj(part, gathered)
                gathered.flush()
                os.fsync(gathered.fileno())
            path.unlink()


def _same_options(folder: Path, config: Mapping[str, Any]) -> None:
    if not (folder / "run.json").exists():
        if (folder / SAMPLES).exists() or _parts(folder):
            raise RunError(f"{folder} has samples but no run.json; run with --fresh to start over")
        return
    there = load(folder)[0].get("options", {})
    asked = json.loads(json.dumps(redacted(config)))["options"]
    differing = [
        f"{name} was {there.get(name)!r}, now {asked.get(name)!r}"
        for name in sorted({*there, *asked})
        if there.get(name) != asked.get(name)
    ]
    if differing:
        raise RunError(
            f"{folder} holds a run with other options ({'; '.join(differing)}); "
            "choose another --out, or --fresh to discard it"
        )


def _records(path: Path) -> dict[Key, Record]:
    """Every record of a file, the last one of each key; a torn last line is none."""
    if not path.exists():
        return {}
    found: dict[Key, Record] = {}
    for number, line in enumerate(path.read_bytes().decode("ascii", "replace").split("\n")[:-1], start=1):
        try:
            record = Record.of(line)
        except ValueError as error:
            raise RunError(
                f"{path} line {number} is damaged ({error}); delete the line, or run with --fresh"
            ) from error
        found[record.key] = record
    return found
