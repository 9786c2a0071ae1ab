"""Files that this program writes: replaced as a whole, without secrets, CSV text without formulas."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import Any

from kosmos_eval.errors import RunError

Json = Mapping[str, Any]
"""An object of JSON values."""


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
