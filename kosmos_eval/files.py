"""Safe files: atomic writes, removal of what we made alone, redacted secrets, no formulas, no pipes or devices."""

import json
import os
import re
import shutil
import stat
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from kosmos_eval.errors import RunError

Json = Mapping[str, Any]
"""An object of JSON values."""


def write_text(path: Path, content: str) -> None:
    """Replace a file as a whole or not at all; a full disk or a kill leaves the old one.

    Raises:
        OSError: if it cannot be written.
    """
    write_bytes(path, content.encode("utf-8"))


def write_output(path: Path, content: str) -> None:
    """Write a file that the user has named, and its folder if need be, like `write_text`.

    Raises:
        RunError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, content)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}; name another file") from error


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


def regular(path: str | Path) -> os.stat_result:
    """Return the state of a regular file; a pipe or device is refused, because reading it might never end.

    Raises:
        OSError: if there is none, or it is something else.
    """
    found = Path(path).stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(0, "it is a folder, a pipe or a device; expected a regular file", str(path))
    return found


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
"""Characters that formulas begin with, after white space of any kind."""


def inert(text: str) -> str:
    """Return a text for a CSV file: an apostrophe stands before a possible formula, and before an apostrophe.

    >>> inert("=1+1"), inert("'quoted'"), inert("plain")
    ("'=1+1", "''quoted'", 'plain')
    """
    return f"'{text}" if text.startswith("'") or text.strip().startswith(FORMULA) else text


def restored(cell: str) -> str:
    """Return the text that `inert` was given.

    >>> restored("'=1+1"), restored("''quoted'"), restored("'quoted'")
    ('=1+1', "'quoted'", "'quoted'")
    """
    return cell[1:] if cell.startswith("'") and inert(cell[1:]) == cell else cell


_HIDDEN = "***"
_SECRET = r"(?:[\w.-]*(?:key|token|secret|passw(?:or)?d|passphrase|authorization|credentials?|signature)|sig|pwd)"
_CERTAIN = r"(?:[\w-]*(?:api|access|secret|private|auth)[-_ ]?(?:key|token)|[\w-]*passw(?:or)?d|[\w-]*authorization)"
_NAME = re.compile(rf"\s*[-\"']*{_SECRET}[\"']?\s*", re.IGNORECASE)
_OPTION = re.compile(rf"\A(\s*{_SECRET})\s*[=:].*", re.IGNORECASE | re.DOTALL)
_PATTERNS = (
    re.compile(r"(\b(?:bearer|basic(?= \S*(?-i:[A-Z\d=]))) +)[^\s\"',;]+", re.IGNORECASE),
    re.compile(rf"((?<![\w.-]){_SECRET}[\"']?\s?=\s?[\"']?)[^\s&\"']+", re.IGNORECASE),
    re.compile(rf"((?<![\w-]){_CERTAIN}[\"']?\s?:\s?[\"']?(?:(?:bearer|basic|token) +)?)[^\s&\"']+", re.IGNORECASE),
    re.compile(r"(\b)(?:sk-|hf_|gsk_|xai-|nvapi-|gh[ps]_|AIza)[\w-]{20,}"),
)
"""Secrets in a text; the first group is the text before a secret, which stays."""

_URL = re.compile(r"(?<=://)\S+")
SURE = 6
"""The length of the shortest known secret: local servers accept ``EMPTY`` or ``test`` as a key."""

ENVIRONMENT = ("OPENAI_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "MLFLOW_TRACKING_PASSWORD")
"""Variables that hold secrets of the libraries that are used."""

_known: dict[str, None] = {}


def register_secret(secret: str) -> None:
    """Hide a secret in everything that `redacted` returns from now on, also URL-encoded or in base 64."""
    if len(secret := secret.strip()) < SURE:
        return
    data = secret.encode("utf-8", "surrogatepass")
    spelled = {secret, quote(data, safe=""), quote_plus(data), repr(secret)[1:-1], ascii(secret)[1:-1]}
    for before in range(3):  # a colon and a user may stand before it, at any place of base 64's groups of three
        inner = b64encode(bytes(before) + data)[(0, 2, 3)[before] : (before + len(data)) * 8 // 6].decode()
        if len(inner) >= SURE:
            spelled |= {inner, inner.replace("+", "-").replace("/", "_")}
    _known.update(dict.fromkeys(spelled))


def register_environment() -> None:
    """Hide the secrets of the environment."""
    for name in ENVIRONMENT:
        register_secret(os.environ.get(name, ""))


def redacted(value: object, name: str = "") -> Any:
    """Return a JSON value or a text without secrets: those of options, headers and URLs, and all known ones.

    >>> redacted({"url": "https://me:p@w@host/v1?api_key=abc", "API-KEY": "abc"})
    {'url': 'https://***@host/v1?api_key=***', 'API-KEY': '***'}
    >>> redacted(["--model-option", "api_key = a b c"]), redacted("Authorization: Bearer abc")
    (['--model-option', 'api_key=***'], 'Authorization: Bearer ***')
    """
    if isinstance(value, Mapping):
        return {_text(key) if isinstance(key, str) else key: redacted(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [
            redacted(_OPTION.sub(rf"\1={_HIDDEN}", item) if isinstance(item, str) else item, name) for item in value
        ]
    if _NAME.fullmatch(name) and isinstance(value, str | int) and not isinstance(value, bool) and value != "":
        return _HIDDEN
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    text = _URL.sub(lambda found: _url(found[0]), without_known(text))
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\1{_HIDDEN}", text)
    return text


def without_known(text: str, *, shortest: int = SURE) -> str:
    """Return a text without the known secrets of at least some length; other text stays as it is."""
    for secret in sorted(_known, key=len, reverse=True):
        if len(secret) >= shortest:
            text = text.replace(secret, _HIDDEN)
    return text


def user_info(url: str) -> tuple[str, str]:
    """Split what follows ``://`` into user and password, which may hold ``@`` and ``/``, and the rest.

    >>> user_info("me:p@s/s@host/v1"), user_info("host:80/v1?to=a@b")
    (('me:p@s/s', 'host/v1'), ('', 'host:80/v1?to=a@b'))
    """
    plain = re.match(r"(?:[\w.-]+|\[[\da-fA-F:.]*\])(?::\d{0,5})?(?:/[^@?#]*)?[?#]", url)
    info, at, rest = url.rpartition("@")
    return ("", url) if plain or not at else (info, rest)


def _url(url: str) -> str:
    """Return the part after ``://`` without user and password, and without the values of secret parameters."""
    info, rest = user_info(url)
    begin = f"{_HIDDEN}@" if info or rest != url else ""

    def shown(found: re.Match[str]) -> str:
        return f"{found[1]}={_HIDDEN}" if _NAME.fullmatch(unquote(found[1][1:])) else found[0]

    return begin + re.sub(r"([?&;#][^=&\s\"']+)=([^&\s\"'<>]+)", shown, rest)
