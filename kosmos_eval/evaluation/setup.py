"""From names to what is evaluated: tasks, models, and the way to choose demonstrations."""

import json
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import cache
from inspect import Parameter, signature
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from kosmos_eval.errors import KosmosEvalError, ModelError, PlugInError, UnknownName
from kosmos_eval.evaluation.chain_of_thought import ChainOfThought
from kosmos_eval.evaluation.run_config import RunConfig, TaskSummary
from kosmos_eval.fewshot.retrieval import rices
from kosmos_eval.fewshot.selection import Choice, FixedShots, Progress, RandomShots, Shots, silent
from kosmos_eval.files import Json, redacted
from kosmos_eval.model import Model
from kosmos_eval.registry import Maker, named
from kosmos_eval.source import Source, resolved
from kosmos_eval.task import Task, info

RATIONALE = ("rationale", "rationale_tokens")
"""Options that every task has beside its own."""


def load_tasks(
    names: Sequence[str],
    source: Source | None = None,
    *,
    splits: str | None = None,
    options: Sequence[str] = (),
    without: Sequence[str] = (),
) -> dict[str, Task]:
    """Make tasks by name.

    Args:
        names: the tasks.
        source: where their samples come from, by default their synthetic splits; its split is replaced by what
            ``splits`` says.
        splits: one split for all, or ``task=split`` separated by commas.
        options: ``task.option=value`` each; a value is JSON where it parses as such, a string otherwise.
        without: those of the tasks that are not made, though splits and options may name them.

    Raises:
        UnknownName: if a task or an option of one does not exist.
    """
    chosen = _splits(splits, names)
    given: dict[str, dict[str, object]] = {}
    for option in options:
        path, value = _pair(option, form="TASK.OPTION=VALUE")
        task, _, name = path.partition(".")
        if task not in names:
            raise UnknownName("evaluated task", task, names)
        given.setdefault(task, {})[name] = value
    return {
        name: load_task(name, replace(source or Source(), split=chosen.get(name, chosen.get("*"))), given.get(name, {}))
        for name in names
        if name not in without
    }


def load_task(name: str, source: Source, options: Json | None = None) -> Task:
    """Make one task by name, its hub revision resolved.

    Raises:
        UnknownName: if it or one of its options does not exist.
        PlugInError: if it takes no source.
    """
    factory = _with_defaults(named("task", name), Task)
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
        raise PlugInError(f"task {name!r} is a {type(task).__name__}; expected `class ...(kosmos_eval.Task)`")
    return ChainOfThought(task, **reasoned) if reasoned else task


def load_shots(counts: Sequence[int], spec: str, *, device: str = "auto", progress: Progress = silent) -> Shots:
    """Return the numbers of demonstrations with the choice that ``--shots-from`` names.

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


def load_model(spec: str, *, device: str = "auto", options: Sequence[str] = ()) -> Model:
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
    factory = _with_defaults(named("model", name), Model)
    given = dict(_pair(option, form="OPTION=VALUE") for option in options)
    _check_options(f"option of {name}", factory, given, ("device",))
    if "device" in signature(factory).parameters:
        given["device"] = device
    needed = [p for p in signature(factory).parameters.values() if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
    if bool(rest) != bool(needed) and (rest or any(p.default is Parameter.empty for p in needed)):
        form = f"{name}:{needed[0].name.upper()}" if needed else name
        raise ModelError(f"--model {spec} is not complete; expected {form}")
    model: Model = factory(rest, **given) if rest else factory(**given)
    return model


def default_folder(config: RunConfig, model_name: str) -> Path:
    """Return a folder under ``results/runs`` by model and configuration, so that the same command finds its run."""
    name = "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in model_name)
    return Path("results") / "runs" / f"{name}-{config.digest}"


@cache
def _with_defaults(factory: Maker, base: type) -> Maker:
    """Return a factory; a class whose author left the base class out gets its defaults."""
    if not isinstance(factory, type) or issubclass(factory, base):
        return factory
    own = {"__doc__": factory.__doc__, "__module__": factory.__module__}
    made: Maker = type(base)(factory.__name__, (factory, base), own)
    return made


def task_options(task: Task) -> Json:
    """Return a task's options as JSON values, with the folder of its files as an absolute path."""
    options = dict(task.options())
    source = options.get("source")
    if isinstance(source, dict) and source.get("root"):
        options["source"] = {**source, "root": str(Path(source["root"]).resolve())}
    return options


def summarise_task(task: Task) -> TaskSummary:
    """Return what reports need of a task."""
    return TaskSummary(
        metric=task.info.metric, split=str(getattr(task, "split", "")), default_options=_has_default_options(task)
    )


def tasks_of(config: RunConfig, *, data: Path | None = None) -> dict[str, Task]:
    """Make the tasks of a configuration again.

    Args:
        config: the configuration.
        data: where the official files lie now, if they have moved.

    Raises:
        KosmosEvalError: if a task, or an option of it, no longer exists.
    """
    return {name: _task_of(name, options, data) for name, options in config.tasks.items()}


def _task_of(name: str, given: Json, data: Path | None) -> Task:
    options = {option: tuple(value) if isinstance(value, list) else value for option, value in given.items()}
    source = dict(options.pop("source", {}))
    root = source.pop("root", None)
    return load_task(name, Source(root=data or Path(root) if root else None, **source), options)


def _has_default_options(task: Task) -> bool:
    """Return whether every option but the source has its default."""
    if not is_dataclass(task):
        return True
    return all(
        getattr(task, option.name)
        == (option.default if option.default_factory is MISSING else option.default_factory())
        for option in fields(task)
        if option.name != "source" and (option.default is not MISSING or option.default_factory is not MISSING)
    )


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


def _pair(option: str, *, form: str) -> tuple[str, object]:
    name, equals, text = option.partition("=")
    if not equals or not name:
        raise KosmosEvalError(f"option {redacted([option])[0]!r} is not of the form {form}")
    try:
        value = json.loads(text)
    except ValueError:
        return name, text
    return name, tuple(value) if isinstance(value, list) else value


def _check_options(kind: str, factory: Maker, given: Json, own: Sequence[str], more: Sequence[str] = ()) -> None:
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


def _is_of(value: object, wanted: object) -> bool:
    if isinstance(wanted, type):
        return isinstance(value, wanted) and (wanted is bool) == isinstance(value, bool)
    return not isinstance(wanted, UnionType) or any(_is_of(value, one) for one in get_args(wanted))
