"""The records of official files, checked: whatever is not as it should be is named by its place, in a line."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from kosmos_eval.errors import BadData
from kosmos_eval.files import regular
from kosmos_eval.source import Row

Columns = Mapping[str, Callable[[Any], object]]
"""A function for each column that converts its value, or raises a `ValueError` with what it expects."""
Value = TypeVar("Value")


def string(value: object) -> str:
    """Return a column of text, which may be empty."""
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def text(value: object) -> str:
    """Return a column of text; a `ValueError` where it is none, or blank."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("some text")
    return value


def texts(count: int) -> Callable[[object], list[str]]:
    """Return a column of so many texts."""

    def checked(value: object) -> list[str]:
        if not isinstance(value, list) or len(value) != count:
            raise ValueError(f"a list of {count} texts")
        return [text(each) for each in value]

    return checked


def number(value: object) -> int:
    """Return a column of whole numbers, which may be written as text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    raise ValueError("a whole number")


def identity(value: object) -> str:
    """Return a column of names or numbers that tell records apart."""
    return str(number(value)) if isinstance(value, int) else text(value)


def one_of(*values: object, labels: Sequence[object] = ()) -> Callable[[object], object]:
    """Return a column of these values, kept as ``labels`` if given."""

    def checked(value: object) -> object:
        if not any(value is each or (value == each and type(value) is type(each)) for each in values):
            raise ValueError(f"one of {', '.join(map(repr, values))}")
        return (labels or values)[values.index(value)]

    return checked


def each(name: str) -> Callable[[object], list[str]]:
    """Return a column of lists of objects, of which one text is wanted: ``[{"answer": "a cup", ...}, ...]``."""

    def checked(value: object) -> list[str]:
        if not isinstance(value, list) or not all(isinstance(entry, Mapping) for entry in value):
            raise ValueError(f"a list of objects with {name!r}")
        found = [entry.get(name) for entry in value]
        if not all(isinstance(said, str) for said in found):
            raise ValueError(f"a text as {name!r} of each")
        return found

    return checked


def columns(row: object, wanted: Columns, *, place: str) -> Row:
    """Return the wanted columns of a row, each as its function gives it.

    Raises:
        BadData: naming ``place`` and the column that is missing or is not what its function expects.
    """
    if not isinstance(row, Mapping):
        raise BadData(f"{place} is {str(row)[:60]!r}; expected an object with {', '.join(wanted)}")
    found = {}
    for name, convert in wanted.items():
        if name not in row:
            there = ", ".join(map(str, row)) or "nothing"
            raise BadData(f"{place} has no {name!r}, only {there}; expected the official format")
        try:
            found[name] = convert(row[name])
        except ValueError as error:
            raise BadData(f"{place} has {name!r} {str(row[name])[:60]!r}; expected {error}") from error
    return found


def listed(content: object, *, named_by: str | Path) -> list[object]:
    """Return a list of records from a JSON file.

    Raises:
        BadData: if it is none, or empty.
    """
    if not isinstance(content, list) or not content:
        raise BadData(f"{named_by} holds {str(content)[:60]!r}; expected a list of records")
    return content


def some(rows: Iterable[Value], *, named_by: str | Path) -> list[Value]:
    """Return the rows of a file.

    Raises:
        BadData: if there are none.
    """
    found = list(rows)
    if not found:
        raise BadData(f"{named_by} holds no rows; get the file again")
    return found


def distinct(rows: Iterable[Row], name: str, *, named_by: str | Path) -> list[Row]:
    """Return the rows of a file, of which no two are the same by a column.

    Raises:
        BadData: naming the one that stands twice, or if there are none.
    """
    found = some(rows, named_by=named_by)
    seen = set()
    for row in found:
        if row[name] in seen:
            raise BadData(f"{name} {row[name]} stands twice in {named_by}; get the official file again")
        seen.add(row[name])
    return found


def content(file: Path, *, newline: str | None = None) -> str:
    """Return the text of a file, without a byte order mark.

    Raises:
        BadData: if it cannot be read, or is not UTF-8.
    """
    try:
        regular(file)
        with file.open(encoding="utf-8-sig", newline=newline) as opened:
            return opened.read()
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"{file} cannot be read ({error}); get the file again") from error


def lines(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the lines of a file that are not blank, each with its place in words."""
    for place, line in enumerate(content(file).split("\n"), start=1):
        if line.strip():
            yield f"line {place} of {file}", line


def json_lines(file: Path) -> Iterator[tuple[str, object]]:
    """Yield the values of a file with a JSON value a line, each with its place in words.

    Raises:
        BadData: if the file cannot be read, or a line is no JSON.
    """
    for place, line in lines(file):
        try:
            yield place, json.loads(line)
        except ValueError as error:
            raise BadData(f"{place} is not JSON: {line[:60]!r}; get the file again") from error


def csv_rows(file: Path) -> Iterator[tuple[str, Row]]:
    """Yield the rows of a CSV file by the names in its first line, each with its place; cells left out are empty.

    Raises:
        BadData: if the file cannot be read, or a row has more cells than there are names.
    """
    reader = csv.DictReader(StringIO(content(file, newline=""), newline=""), restval="")
    try:
        for row in reader:
            place = f"line {reader.line_num} of {file}"
            if None in row:
                raise BadData(f"{place} has more cells than the {len(row) - 1} of the first line; get the file again")
            yield place, dict(row)
    except csv.Error as error:
        raise BadData(f"line {reader.line_num + 1} of {file} is not CSV ({error}); get the file again") from error
