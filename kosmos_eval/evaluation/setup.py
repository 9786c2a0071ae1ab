"""From what a user names to what is evaluated: tasks, models, and the configuration that a run's folder keeps."""

import json
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from inspect import Parameter, signature
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from kosmos_eval import registry
from kosmos_eval.errors import KosmosEvalError, ModelError, PlugInError, UnknownName
from kosmos_eval.evaluation.chain_of_thought import ChainOfThought
from kosmos_eval.evaluation.plan import Variants
from kosmos_eval.fewshot.retrieval import rices
from kosmos_eval.fewshot.selection import Choice, FixedShots, Progress, RandomShots, Shots, silent
from kosmos_eval.files import redacted
from kosmos_eval.model import Model
from kosmos_eval.registry import named
from kosmos_eval.source import Source, resolved
from kosmos_eval.task import Task, info

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

RATIONALE = ("rationale", "rationale_tokens")
"""Options that every task has beside its own."""


def build_tasks(
    names: Sequence[str],
    source: Source,
    *,
    splits: str | None = None,
    options: Sequence[str] = (),
    without: Sequence[str] = (),
) -> dict[str, Task]:
    """Make tasks by name.

    Args:
        names: the tasks.
        source: where their rows come from; its split is replaced by what ``splits`` says.
        splits: one split for all, or ``task=split`` separated by commas.
        options: ``task.option=value`` each; a value is JSON where it parses as such, a string otherwise.
        without: those of the tasks that are not made, though splits and options may name them.

    Raises:
        UnknownName: if a task or an option of one does not exist.
    """
    chosen = _splits(splits, names)
    given: dict[str, dict[str, Any]] = {}
    for option in options:
        path, value = _pair(option, form="TASK.OPTION=VALUE")
        task, _, name = path.partition(".")
        if task not in names:
            raise UnknownName("evaluated task", task, names)
        given.setdefault(task, {})[name] = value
    return {
        name: build_task(name, replace(source, split=chosen.get(name, chosen.get("*"))), given.get(name, {}))
        for name in names
        if name not in without
    }


def build_task(name: str, source: Source, options: Mapping[str, Any] | None = None) -> Task:
    """Make one task by name, its hub revision resolved.

    Raises:
        UnknownName: if it or one of its options does not exist.
        PlugInError: if it takes no source.
    """
    factory = named("task", name)
    if source.kind == "hub":
        hub = info(factory).hub
        if not hub:
            raise KosmosEvalError(f"{name}: no hub data set is known for this task; use --data with the official files")
        source = resolved(source, hub)
    known = signature(factory).parameters
    given = dict(options or {})
    reasoned = {option: given.pop(option) for option in RATIONALE if option in given and option not in known}
    if "rationale_tokens" in reasoned and "rationale" not in reasoned:
        raise KosmosEvalError(f"{name} has rationale_tokens without a rationale; give {name}.rationale too")
    _check_options(f"option of {name}", factory, given, ("source",), more=RATIONALE)
    _check_options(f"option of {name}", ChainOfThought, reasoned, ("task",))
    if "source" not in known:
        raise PlugInError(f"task {name!r} takes no source; give it a field: source: Source = Source()")
    try:
        task = factory(source=source, **given)
    except TypeError as error:  # an abstract method is missing
        raise PlugInError(f"task {name!r} cannot be made: {error}; kosmos_eval/task.py says what a task has") from error
    if not isinstance(task, Task):
        raise PlugInError(f"task {name!r} is a {type(task).__name__}; expected a subclass of kosmos_eval.Task")
    return ChainOfThought(task, **reasoned) if reasoned else task


def build_shots(counts: Sequence[int], spec: str, *, device: str = "auto", progress: Progress = silent) -> Shots:
    """How many demonstrations are shown, and which: the way that ``--shots-from`` names.

    Args:
        counts: numbers of demonstrations; where all are zero, nothing is chosen.
        spec: ``random``, ``fixed``, ``rices``, ``rices:ENCODER:PATH``.
        device: where an encoder of images computes.
        progress: told of images that are embedded now.

    Raises:
        UnknownName: if there is no such way, or no such encoder.
    """
    if not any(counts):
        return Shots(tuple(counts))
    simple: dict[str, Choice] = {choice.name: choice for choice in (RandomShots(), FixedShots())}
    if spec in simple:
        return Shots(tuple(counts), simple[spec])
    if spec.partition(":")[0] != "rices":
        raise UnknownName("way to choose demonstrations", spec, [*simple, "rices"])
    return Shots(tuple(counts), rices(spec, device=device, progress=progress))


def build_model(spec: str, *, device: str = "auto", options: Sequence[str] = ()) -> Model:
    """Make a model from ``NAME`` or ``NAME:REST``, such as ``hf:PATH``.

    Args:
        spec: the registered name, and what its factory takes after the colon.
        device: passed on to factories that take one.
        options: ``option=value`` each, passed on to the factory.

    Raises:
        UnknownName: if no such model or option exists.
        ModelError: if it cannot be loaded.
    """
    name, _, rest = spec.partition(":")
    factory = named("model", name)
    given = dict(_pair(option, form="OPTION=VALUE") for option in options)
    _check_options(f"option of {name}", factory, given, ("device",))
    if "device" in signature(factory).parameters:
        given["device"] = device
    needed = [p.name for p in signature(factory).parameters.values() if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
    if bool(rest) != bool(needed) and (rest or _required(factory)):
        form = f"{name}:{needed[0].upper()}" if needed else name
        raise ModelError(f"--model {spec} is not complete; expected {form}")
    model: Model = factory(rest, **given) if rest else factory(**given)
    return model


def configuration(
    model_spec: str,
    model: Model,
    tasks: Mapping[str, Task],
    *,
    shots: Sequence[int] | Shots,
    limit: int | None,
    seed: int,
    ways: Variants | None = None,
) -> dict[str, Any]:
    """What ``run.json`` says: options that decide the result, and the versions it was made with."""
    plan = Shots.of(shots)
    return {
        "options": {
            "model": model_spec,
            "model_fingerprint": model.fingerprint,
            "tasks": {name: task.options() for name, task in tasks.items()},
            "shots": list(plan.counts),
            "shots_from": plan.choice.name,
            **({"shots_fingerprint": plan.choice.fingerprint} if plan.choice.fingerprint else {}),
            "limit": limit,
            "seed": seed,
            **({"ways": asdict(ways)} if ways not in (None, Variants()) else {}),
        },
        "model_name": model.name,
        **provenance(tasks),
    }


def provenance(tasks: Iterable[str]) -> dict[str, Any]:
    """What ``run.json`` says of how something is made: versions, also of the tasks; commit, machine, time."""
    offered = {name: found for task in tasks for name, found in registry.versions("task", task).items()}
    return {
        "versions": {"python": platform.python_version()}
        | {name: found for name in PACKAGES if (found := _version(name))}
        | offered,
        "git": _commit(),
        "hardware": {"machine": platform.machine(), "system": platform.platform(terse=True)},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def default_folder(config: Mapping[str, Any]) -> Path:
    """``results/runs/`` and a name by model and options, so that the same command finds its run again."""
    options = json.dumps(redacted(config["options"]), sort_keys=True)
    name = "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in str(config["model_name"]))
    return Path("results") / "runs" / f"{name}-{sha256(options.encode()).hexdigest()[:8]}"


def _splits(splits: str | None, names: Sequence[str]) -> dict[str, str]:
    if splits is None:
        return {}
    if "=" not in splits:
        return {"*": splits}
    chosen = {name: split for name, _, split in (part.partition("=") for part in splits.split(","))}
    for name in chosen:
        if name not in names:
            raise UnknownName("evaluated task", name, names)
    return chosen


def _pair(option: str, *, form: str) -> tuple[str, Any]:
    name, equals, text = option.partition("=")
    if not equals or not name:
        raise KosmosEvalError(f"option {redacted([option])[0]!r} is not of the form {form}")
    try:
        value = json.loads(text)
    except ValueError:
        return name, text
    return name, tuple(value) if isinstance(value, list) else value


def _check_options(
    kind: str, factory: Any, given: Mapping[str, Any], own: Sequence[str], more: Sequence[str] = ()
) -> None:
    """Refuse options that a factory does not have, and values that are not of their annotated type."""
    known = [f.name for f in fields(factory)] if is_dataclass(factory) else list(signature(factory).parameters)
    annotated = get_type_hints(factory)
    for name, value in given.items():
        if name not in known or name in own:
            raise UnknownName(kind, name, [*(other for other in known if other not in own), *more])
        wanted = annotated.get(name, Any)
        allowed = get_args(wanted) if get_origin(wanted) is Literal else None
        fits = value in allowed if allowed else wanted in (Any, float) or _is_of(value, wanted)
        if not fits:
            expected = (
                f"one of {', '.join(map(repr, allowed))}" if allowed else getattr(wanted, "__name__", str(wanted))
            )
            raise KosmosEvalError(f"{kind} {name!r} is {redacted(value, name)!r}; expected {expected}")


def _is_of(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, type):
        return isinstance(value, wanted) and (wanted is bool) == isinstance(value, bool)
    return not isinstance(wanted, UnionType) or any(_is_of(value, one) for one in get_args(wanted))


def _required(factory: Any) -> bool:
    return any(
        p.default is Parameter.empty and p.kind is Parameter.POSITIONAL_OR_KEYWORD
        for p in signature(factory).parameters.values()
    )


def _commit() -> str:
    """The commit of these sources, with ``-dirty`` where they differ from it; empty where they are in no repository."""
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
