"""Files that this program writes: replaced as a whole, removed only where it made them, without secrets or formulas."""

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import Any

from kosmos_eval.errors import RunError


def write_text(path: Path, content: str) -> None:
    """Replace a file as a whole or not at all; a full disk or a kill leaves the old one.

    Raises:
        OSError: if it cannot be written.
    """
    write_bytes(path, content.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file as a whole or not at all, like `write_text`."""
    handle, name = mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        mode = path.stat().st_mode if path.exists() else 0o666 & ~_umask()
        part.chmod(mode)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn an `OSError` of writing to a folder into one line for the user."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot write to {folder}: {error.strerror or error}; fix this and rerun, finished samples are kept"
        ) from error


MARKER = ".kosmos-eval"
"""The file in which a folder says what this program has made in it."""


def output_folder(text: str) -> Path:
    """Return the folder that ``--out`` names; an empty name would be the current folder.

    Raises:
        RunError: if it is empty.
    """
    if not text.strip():
        raise RunError("--out is empty; expected the name of a folder")
    return Path(text)


def made_by(folder: Path, command: str) -> frozenset[str]:
    """Return the names of the entries that a command has marked as its own.

    Raises:
        RunError: if the marker is damaged or another command's.
    """
    path = folder / MARKER
    if not path.exists():
        return frozenset()
    try:
        marker = json.loads(path.read_text(encoding="utf-8"))
        owner, names = marker["made_by"], frozenset(map(str, marker["made"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read ({error}); choose another --out") from error
    if owner != command:
        raise RunError(f"{folder} was made by {owner!r}, not {command!r}; choose another --out")
    if odd := [name for name in names if Path(name).name != name or name in ("", "..")]:
        raise RunError(f"{path} names {odd[0]!r}; expected names of entries of {folder}; choose another --out")
    return names


def refuse_foreign(folder: Path, command: str, names: Iterable[str]) -> None:
    """Make sure that a command has made whatever is already there of what it writes.

    Raises:
        RunError: if one of the names is there without the command's mark.
    """
    made = made_by(folder, command)
    for name in names:
        if name not in made and os.path.lexists(folder / name):
            raise RunError(f"{folder / name} was not made by {command!r}; move it away or choose another --out")


def mark_made(folder: Path, command: str, names: Iterable[str]) -> None:
    """Note, right before a command makes some entries of a folder, that they are its own.

    Args:
        folder: made if need be.
        command: such as ``kosmos-eval train``.
        names: of the entries.

    Raises:
        RunError: if one is already there and not the command's, or the folder cannot be written to.
    """
    names = frozenset(names)
    refuse_foreign(folder, command, names)
    made = made_by(folder, command)
    if not names <= made:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / MARKER, json.dumps({"made_by": command, "made": sorted(made | names)}) + "\n")


def clear_made(folder: Path, command: str) -> None:
    """Remove what a command has marked as its own in a folder, and nothing else.

    Raises:
        RunError: if it cannot be removed, or the marker is damaged or another command's.
    """
    with writing(folder):
        for path in (folder / name for name in made_by(folder, command)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        (folder / MARKER).unlink(missing_ok=True)


FORMULA = ("=", "+", "-", "@")
"""What formulas begin with, after blanks of any kind."""


def inert(text: str) -> str:
    """The text as a CSV file has it: with an apostrophe before what could be a formula, or be taken for such a mark.

    >>> inert("=1+1"), inert("'quoted'"), inert("plain")
    ("'=1+1", "''quoted'", 'plain')
    """
    return f"'{text}" if text.startswith("'") or text.strip().startswith(FORMULA) else text


def restored(cell: str) -> str:
    """The text that `inert` was given.

    >>> restored("'=1+1"), restored("''quoted'"), restored("'quoted'")
    ('=1+1', "'quoted'", "'quoted'")
    """
    return cell[1:] if cell.startswith("'") and inert(cell[1:]) == cell else cell


_SECRET_NAME = re.compile(r"(key|token|secret|password|authorization)$", re.IGNORECASE)
_SECRET_IN_TEXT = re.compile(
    r"(?<=://)[^/@\s]+@|(?<![\w-])([\w-]*(?:key|token|secret|password)=)[^&\s]+", re.IGNORECASE
)


def redacted(value: Any, name: str = "") -> Any:
    """A JSON value without keys and tokens, in options or in URLs.

    >>> redacted({"url": "https://me:pw@host/v1?api_key=abc", "api_key": "abc"})
    {'url': 'https://***@host/v1?api_key=***', 'api_key': '***'}
    """
    if isinstance(value, Mapping):
        return {key: redacted(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item, name) for item in value]
    if isinstance(value, str) and value:
        if _SECRET_NAME.search(name):
            return "***"
        return _SECRET_IN_TEXT.sub(lambda found: f"{found[1]}***" if found[1] else "***@", value)
    return value
