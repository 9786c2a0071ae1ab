"""Tasks and models by name: entry points of installed packages, or a user's single file.

>>> @register("always_right")
... class AlwaysRight: ...
>>> named("task", "always_right") is AlwaysRight
True
>>> del TASKS["always_right"]
"""

import importlib.util
import sys
from collections.abc import Callable, Iterable
from hashlib import sha256
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, TypeVar

from kosmos_eval.errors import PlugInError, UnknownName

Maker = Callable[..., Any]
"""A class or function that makes a task, a model or an encoder; or the function of a command."""

Factory = TypeVar("Factory", bound=Maker)
Kind = Literal["task", "model", "command", "encoder"]

USER = "kosmos_eval_user_"
"""The prefix of the names of modules that users' files become."""

TASKS: dict[str, Maker] = {}
MODELS: dict[str, Maker] = {}
_REGISTERED: dict[Kind, dict[str, Maker]] = {"task": TASKS, "model": MODELS, "command": {}, "encoder": {}}


def register(name: str) -> Callable[[Factory], Factory]:
    """Name a task: a factory that takes ``source`` and the task's options."""
    return _registrar(TASKS, name)


def register_model(name: str) -> Callable[[Factory], Factory]:
    """Name a model: a factory that takes what follows the colon of ``--model NAME:REST``, and options."""
    return _registrar(MODELS, name)


def _registrar(registered: dict[str, Maker], name: str) -> Callable[[Factory], Factory]:
    def add(factory: Factory) -> Factory:
        registered[name] = factory
        return factory

    return add


def names(kind: Kind) -> list[str]:
    """Every name that `named` knows, sorted; nothing is imported."""
    return sorted({*_REGISTERED[kind], *(point.name for point in _points(kind))})


def named(kind: Kind, name: str) -> Maker:
    """The factory of a task, a model or an encoder of images, or the function of a command.

    Raises:
        UnknownName: with the closest known name.
        PlugInError: if the plug-in that offers it does not import.
    """
    if name in _REGISTERED[kind]:
        return _REGISTERED[kind][name]
    found = [point for point in _points(kind) if point.name == name]
    if not found:
        raise UnknownName(kind, name, names(kind))
    if len({point.value for point in found}) > 1:
        packages = ", ".join(sorted(map(_package, found)))
        raise PlugInError(f"{kind} {name!r} is offered by several packages ({packages}); uninstall all but one")
    factory = _loaded(kind, found[0])
    _REGISTERED[kind][name] = factory
    return factory


def load_file(path: Path) -> list[str]:
    """Import a user's file, whose decorators register what it defines.

    Returns:
        The names of the tasks that it registered; it may register models too.

    Raises:
        PlugInError: if the file is missing, does not import or registers nothing.
    """
    if not path.is_file():
        raise PlugInError(f"{path} is not a file; expected a Python file that registers a task or a model")
    before = {**TASKS, **MODELS}
    module_name = f"{USER}{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise PlugInError(f"{path} is not a Python file; expected one that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise PlugInError(f"{path} does not import: {_reason(error)}") from error
    after = {**TASKS, **MODELS}
    added = [name for name in after if after[name] is not before.get(name)]
    if not added:
        raise PlugInError(f"{path} registers nothing; decorate its task with @register('name')")
    return [name for name in added if name in TASKS]


def versions(kind: Kind, name: str) -> dict[str, str]:
    """The package that offers something by name, with its version; of a user's file a digest of what it says."""
    module = sys.modules.get(_REGISTERED[kind][name].__module__) if name in _REGISTERED[kind] else None
    if module is not None and module.__name__.startswith(USER) and module.__file__:
        file = Path(module.__file__)
        return {file.name: sha256(file.read_bytes()).hexdigest()[:16]}
    return {point.dist.name: point.dist.version for point in _points(kind) if point.name == name and point.dist}


def _points(kind: Kind) -> Iterable[EntryPoint]:
    return entry_points(group=f"kosmos_eval.{kind}s")


def _loaded(kind: Kind, point: EntryPoint) -> Maker:
    try:
        factory: Maker = point.load()
    except (Exception, SystemExit) as error:
        raise PlugInError(
            f"{kind} {point.name!r} of package {_package(point)} does not import ({point.value}): {_reason(error)}"
        ) from error
    return factory


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "an unknown package"


def _reason(error: BaseException) -> str:
    """Return the error on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
