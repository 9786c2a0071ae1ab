"""Settings in files: plain values made into the dataclass that they describe, each of its type."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from kosmos_eval.errors import KosmosEvalError, UnknownName

T = TypeVar("T")
Table = dict[str, Any]
"""A table of a TOML file."""


def toml(path: Path, what: str) -> Table:
    """Return the values of a TOML file, which messages call ``what``.

    Raises:
        KosmosEvalError: if it cannot be read or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise KosmosEvalError(f"cannot read the {what} {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise KosmosEvalError(f"{path} is no TOML: {error}") from error


def made(kind: type[T], values: Table, path: Path, *table: str) -> T:
    """Return the dataclass that a table of a TOML file describes.

    Args:
        kind: the dataclass; its annotations say what a value may be.
        values: name to value.
        path: the file, for messages.
        table: the names that lead to the table in it.

    Raises:
        UnknownName: if there is a value that the dataclass has no field for.
        KosmosEvalError: if one is missing or invalid.
    """
    check_names(kind, values, path, *table)
    right: T = checked(kind, values, path, *table)
    return right


def check_names(kind: type, values: Table, path: Path, *table: str) -> None:
    """Make sure that a dataclass has a field for each value of a table.

    Raises:
        UnknownName: if there is none.
    """
    fields = [known.name for known in dataclasses.fields(kind)]
    for name in values:
        if name not in fields:
            raise UnknownName(f"setting of {'.'.join(table)} ({path})" if table else f"setting ({path})", name, fields)


def checked(kind: Any, value: object, path: Path, *names: str) -> Any:
    """Return a value of the type asked for: lists become tuples and text paths, where the type says so.

    Raises:
        KosmosEvalError: if it is invalid, with the first reason.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        found = {".".join(map(str, (*names, *one["loc"]))): one for one in error.errors(include_url=False)}
        missing = [name for name, one in found.items() if one["type"] == "missing"]
        if missing:
            raise KosmosEvalError(f"{path} lacks {', '.join(missing)}") from error
        name, one = next(iter(found.items()))
        raise KosmosEvalError(f"{path} has {name} = {one['input']!r}: {one['msg']}") from error
