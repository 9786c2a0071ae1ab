"""The configuration of a run: one value from the command line to ``run.json`` and back, and how the run was made."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kosmos_eval import registry
from kosmos_eval.errors import KosmosEvalError, RunError
from kosmos_eval.evaluation.variant import Variants
from kosmos_eval.files import Json, redacted

if TYPE_CHECKING:
    from pydantic import TypeAdapter

PACKAGES = (
    "kosmos-eval",
    "torch",
    "torchscale",
    "transformers",
    "datasets",
    "pycocoevalcap",
    "pillow",
    "numpy",
    "scipy",
)

Options = Json
"""Options of a task or a model, plain JSON values."""


@dataclass(frozen=True)
class RunConfig:
    """All that decides the result of a run. Two runs of equal configurations have the same scores.

    Args:
        model: as ``--model`` takes it; of a model in memory, its name.
        tasks: task to its options; ``source`` says where its samples come from.
        shots: numbers of demonstrations.
        shots_from: how demonstrations are chosen.
        limit: a seeded subset of at most so many samples a task.
        seed: decides demonstrations, the subset and the bootstrap.
        variants: the variants that are asked beside the default.
        model_options: of the model's factory, those that decide its answers.
        model_fingerprint: digest of weights, tokenizer and preprocessing.
        shots_fingerprint: digest of what chose the demonstrations.
        kind: ``model`` was asked here; ``answers`` of another program were scored here, ``model`` names their file;
            ``live`` was a model in memory.
    """

    model: str = "kosmos-nano"
    tasks: Mapping[str, Options] = field(default_factory=dict)
    shots: tuple[int, ...] = (0,)
    shots_from: str = "random"
    limit: int | None = None
    seed: int = 0
    variants: Variants = field(default_factory=Variants)
    model_options: tuple[str, ...] = ()
    model_fingerprint: str = ""
    shots_fingerprint: str = ""
    kind: Literal["model", "answers", "live"] = "model"

    def differences(self, other: RunConfig) -> list[str]:
        """Return in what another configuration differs, a phrase each; secrets are compared without their values."""
        mine, theirs = to_json(self), to_json(other)
        return [f"{name} was {mine[name]!r}, now {theirs[name]!r}" for name in mine if mine[name] != theirs[name]]

    @property
    def synthetic(self) -> tuple[str, ...]:
        """The tasks whose samples are generated rather than the official benchmark's."""
        sources = {name: options.get("source") for name, options in self.tasks.items()}
        return tuple(name for name, source in sources.items() if source and source.get("kind") == "synthetic")

    @property
    def digest(self) -> str:
        """8 hex digits that tell configurations apart."""
        return sha256(json.dumps(to_json(self), sort_keys=True).encode()).hexdigest()[:8]


FOUND_OUT = ("model_fingerprint", "shots_fingerprint", "kind")
"""Fields of `RunConfig` that the program finds out itself."""


@dataclass(frozen=True)
class Environment:
    """The program and the machine of a run.

    Args:
        versions: package to version; of a user's file, a digest.
        git: the commit of this program's sources, with ``-dirty`` where they differ from it.
        hardware: machine and system.
        command: the command line.
        processes: how many processes shared the run.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    git: str = ""
    hardware: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    processes: int = 1

    @classmethod
    def now(cls, tasks: Iterable[str], *, command: Iterable[str] = (), processes: int = 1) -> Environment:
        """Return the environment of this process, with the packages that offer the tasks."""
        offered = {name: found for task in tasks for name, found in registry.versions("task", task).items()}
        known = {name: found for name in PACKAGES if (found := _version(name))}
        return cls(
            versions={"python": platform.python_version()} | known | offered,
            git=_commit(),
            hardware={"machine": platform.machine(), "system": platform.platform(terse=True)},
            command=tuple(command),
            processes=processes,
        )


@dataclass(frozen=True)
class Earlier:
    """The environment of the first samples of a run that was resumed in another one."""

    samples: int
    versions: Mapping[str, str]
    git: str = ""


@dataclass(frozen=True)
class SettingSummary:
    """A finished setting.

    Args:
        samples: how many there were.
        of: how many the split has.
        data: digest of ids, prompts with the content of their images, and references.
        scores: digest of what was scored; where the samples still have it, the scores in ``scores.csv`` are theirs.
        files: the files that it gave beside the table.
    """

    samples: int
    of: int
    data: str
    scores: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskSummary:
    """The facts about a task that reports need, so that they need not make it again.

    Args:
        metric: the headline metric.
        split: the split that was evaluated.
        default_options: True where every option but the source has its default.
    """

    metric: str = ""
    split: str = ""
    default_options: bool = True


@dataclass(frozen=True)
class Manifest:
    """The content of ``run.json``.

    Args:
        config: what decides the result.
        model_name: how reports call the model.
        environment: how the run was made.
        started: when.
        finished: when; None while samples are missing.
        model_spec: as ``--model`` took it, also where the run knows the model by another name.
        model_spec_options: every option that the model was made with.
        model_notes: short phrases that a report shows about the model's answers.
        tasks: what reports need of the tasks.
        settings: the finished settings, by `SettingKey` as text.
        earlier: environments of earlier parts of the run.
    """

    config: RunConfig
    model_name: str
    environment: Environment
    started: str
    finished: str | None = None
    model_spec: str = ""
    model_spec_options: tuple[str, ...] = ()
    model_notes: tuple[str, ...] = ()
    tasks: Mapping[str, TaskSummary] = field(default_factory=dict)
    settings: Mapping[str, SettingSummary] = field(default_factory=dict)
    earlier: tuple[Earlier, ...] = ()

    def resumed_from(self, then: Manifest, samples: int) -> tuple[Manifest, str]:
        """Return this manifest as the continuation of an earlier one, and a line of what is another version now.

        Args:
            then: the manifest that was there.
            samples: how many samples were answered by then.
        """
        differ = list(changed(then.environment, self.environment))
        made = replace(self, started=then.started, earlier=then.earlier)
        if not differ or not samples:
            return made, ""
        before = Earlier(samples, then.environment.versions, then.environment.git)
        said = "; ".join(f"{name} was {was}, is {now}" for name, was, now in differ)
        kept = f"what was answered before is kept, {samples} in all; --overwrite asks again"
        return replace(made, earlier=(*then.earlier, before)), f"resumed with other versions ({said}): {kept}"

    def done(self, *, notes: Iterable[str], settings: Mapping[str, SettingSummary]) -> Manifest:
        """Return the manifest of the finished run."""
        return replace(self, finished=timestamp(), model_notes=tuple(notes), settings=settings)

    def dumps(self) -> str:
        """Return the text of ``run.json``, without secrets."""
        return json.dumps(to_json(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def changed(then: Environment, now: Environment) -> list[tuple[str, str | None, str | None]]:
    """Return names of packages and the commit, where they differ, with what they were and are."""
    names = {**then.versions, **now.versions}
    pairs = [(name, then.versions.get(name), now.versions.get(name)) for name in names]
    return [(name, was, is_now) for name, was, is_now in [*pairs, ("git", then.git, now.git)] if was != is_now]


def load_manifest(folder: Path) -> Manifest:
    """Read the ``run.json`` of a run's folder.

    Raises:
        RunError: if there is none, or it is damaged; in one line that names file and field.
    """
    path = folder / "run.json"
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"{folder} holds no readable run.json ({reason}); name a folder that `run` made") from error
    try:
        found = json.loads(content, parse_constant=_refuse_constant)
        if isinstance(found, dict) and "options" in found and "config" not in found:
            raise RunError(f"{folder} was made by an earlier version of this program; run it again")
        manifest: Manifest = _adapter(Manifest).validate_python(found)
        return manifest
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged ({reason_of(error)}); name a folder that `run` made") from error


def load_config(path: Path) -> RunConfig:
    """Read a configuration from a TOML file, for ``run --config``.

    Raises:
        KosmosEvalError: if the file cannot be read, or a field is unknown or of another type.
    """
    import tomllib

    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        known = [field.name for field in fields(RunConfig) if field.name not in FOUND_OUT]
        if unknown := found.keys() - set(known):
            raise KosmosEvalError(f"{path} has an unknown field {min(unknown)!r}; expected {', '.join(known)}")
        config: RunConfig = _adapter(RunConfig).validate_python(found)
        return config
    except OSError as error:
        raise KosmosEvalError(f"cannot read {path}: {error.strerror or error}; name a TOML file") from error
    except ValueError as error:
        raise KosmosEvalError(f"{path} is no configuration of a run ({reason_of(error)})") from error


def to_json(value: RunConfig | Manifest) -> Json:
    """Return a configuration as plain JSON values without secrets."""
    kind: Any = type(value)
    found: Json = redacted(_adapter(kind).dump_python(value, mode="json"))
    return found


def reason_of(error: BaseException) -> str:
    """Return why a value was refused, on one line: of pydantic's errors the first, with its field."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return " ".join(str(error).split())[:200]
    first = errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    field = f"field {place}: " if place else ""
    return f"{field}{first['msg'][0].lower()}{first['msg'][1:]}"[:200]


def timestamp() -> str:
    """Return the time as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _commit() -> str:
    """Return the commit of these sources; empty where they are in no repository."""
    git = ("git", "-C", str(Path(__file__).parent))
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", Path(__file__).name], check=True, capture_output=True)
        named = [*git, "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty"]
        return subprocess.run(named, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
