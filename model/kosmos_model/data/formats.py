"""Rows of a shard, whatever its format: JSON lines, text, Parquet, WebDataset tar, COCO captions json.

A shard is read in parts, none of which needs the others. What cannot be read is given as `Skipped`, with its name, and
the rest goes on. Nothing is ever unpickled.

Formats by ending, each but Parquet also compressed (``.gz``, ``.zst``, ``.zip``):

- ``.jsonl``, ``.ndjson``, ``.json``: an object a line (the Pile, C4, mmc4);
- ``.txt``: documents with blank lines between them;
- ``.parquet``: a row each (LAION, COYO, OBELICS, what img2dataset writes, what ``kosmos-eval clean`` writes);
- ``.tar``: WebDataset samples: files that share a name up to its first dot;
- ``.json`` with ``annotations``: COCO captions.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from kosmos_eval.files import Json
from kosmos_model.data import shards
from kosmos_model.data.shards import Content, ending


@dataclass(frozen=True)
class Row:
    """One row as stored.

    Args:
        id: the shard and the place in it.
        values: column, or ending of a tar member, to value.
    """

    id: str
    values: Json


@dataclass(frozen=True)
class Skipped:
    """Something that could not be read: where it is, and why not."""

    where: str
    why: str


def rows(path: Path, part: int, parts: int) -> Iterator[Row | Skipped]:
    """Yield the rows of part ``part`` of ``parts``; the parts together have every row once.

    A file that cannot be read, or only up to where it is damaged, is told of by its last part.
    """
    if path.suffix == ".parquet":
        yield from _parquet(path, part, parts)
        return
    try:
        content, damage = shards.content(path, path.stat().st_mtime_ns)
    except OSError as error:
        content, damage = b"", str(error)
    if content:
        if ending(path) == ".tar":
            found, torn = _members(path, path.stat().st_mtime_ns)
            damage = damage or torn
            for key, members in found[len(found) * part // parts : len(found) * (part + 1) // parts]:
                yield _sample(f"{path}/{key}", content, members)
        elif ending(path) == ".json" and (captions := _coco(path, path.stat().st_mtime_ns)) is not None:
            listed = captions[len(captions) * part // parts : len(captions) * (part + 1) // parts]
            yield from (Row(f"{path}#{caption.get('id')}", caption) for caption in listed)
        else:
            yield from _lines(path, content, part, parts)
    if damage and part == parts - 1:
        yield Skipped(str(path), damage)


def _lines(path: Path, content: Content, part: int, parts: int) -> Iterator[Row | Skipped]:
    """Yield the rows that begin in a part: JSON objects a line, or texts with blank lines between."""
    start, stop = len(content) * part // parts, len(content) * (part + 1) // parts
    text = ending(path) == ".txt"
    for position, found in (_paragraphs if text else _filled)(content, start, stop):
        where = f"{path}@{position}"
        try:
            values = {"text": found.decode()} if text else json.loads(found)
        except ValueError as error:
            yield Skipped(where, f"no {'UTF-8' if text else 'JSON'}: {error}")
            continue
        yield Row(where, values) if isinstance(values, dict) else Skipped(where, "no JSON object")


def _split(content: Content, start: int) -> Iterator[tuple[int, bytes]]:
    """Lines from the first that begins at ``start`` or later; then the empty one at the end."""
    position = (content.find(b"\n", start - 1) + 1 or len(content)) if start else 0
    while position < len(content):
        end = content.find(b"\n", position) + 1 or len(content)
        yield position, content[position:end]
        position = end
    yield len(content), b""


def _filled(content: Content, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    for position, line in _split(content, start):
        if position >= stop:
            return
        if line.strip():
            yield position, line


def _paragraphs(content: Content, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """Runs of lines; each belongs to where the blank line before it is, and the first to the beginning."""
    begun = None if start else 0
    run: list[bytes] = []
    for position, line in _split(content, start):
        if line.strip():
            if begun is not None:
                run.append(line)
            continue
        if run and begun is not None:
            yield begun, b"".join(run).strip()
        if position >= stop:
            return
        begun, run = position, []


def _parquet(path: Path, part: int, parts: int) -> Iterator[Row | Skipped]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            groups = range(file.num_row_groups * part // parts, file.num_row_groups * (part + 1) // parts)
            for group in groups:
                try:
                    listed = file.read_row_group(group).to_pylist()
                except (OSError, pa.ArrowException) as error:
                    yield Skipped(f"{path}:{group}", f"row group cannot be read: {str(error).splitlines()[0]}")
                    continue
                yield from (Row(f"{path}:{group}#{number}", values) for number, values in enumerate(listed))
    except (OSError, pa.ArrowException) as error:
        if part == parts - 1:
            yield Skipped(str(path), f"no readable Parquet: {str(error).splitlines()[0]}")


Members = dict[str, tuple[int, int]]


@lru_cache(maxsize=64)
def _members(path: Path, changed_ns: int) -> tuple[list[tuple[str, Members]], str | None]:
    """Return the samples of a tar: key, and ending to place and size; and where the tar breaks off."""
    content, _ = shards.content(path, changed_ns)
    found: list[tuple[str, Members]] = []
    damage = None
    try:
        content.seek(0)  # type: ignore[union-attr]
        with tarfile.open(fileobj=content, mode="r:") as archive:  # type: ignore[call-overload]
            for member in archive:
                folder, slash, name = member.name.rpartition("/")
                stem, _, kind = name.partition(".")
                if not member.isfile() or not stem:
                    continue
                key = folder + slash + stem
                if not found or found[-1][0] != key:
                    found.append((key, {}))
                found[-1][1][kind.lower()] = (member.offset_data, member.size)
            if archive.offset >= len(content):
                damage = f"tar is damaged: it breaks off after {len(found)} samples"
    except (tarfile.TarError, OSError, EOFError) as error:
        damage = f"tar is damaged after {len(found)} samples ({error})"
    return found, damage


def _sample(where: str, content: Content, members: Members) -> Row | Skipped:
    values = {kind: content[offset : offset + size] for kind, (offset, size) in members.items()}
    for kind, (_, size) in members.items():
        if len(values[kind]) < size:
            return Skipped(where, f"{kind} is cut short: {len(values[kind])} of {size} bytes")
    return Row(where, values)


@lru_cache(maxsize=2)
def _coco(path: Path, changed_ns: int) -> list[Json] | None:
    """Return the captions of a COCO file and the names of their images, in its order; None for a file of JSON lines."""
    content, _ = shards.content(path, changed_ns)
    first = content.find(b"\n") + 1 or len(content)
    try:
        json.loads(content[:first])
        if content[first:].strip():
            return None
    except ValueError:
        pass
    try:
        whole = json.loads(content[:])
        names = {image["id"]: image["file_name"] for image in whole["images"]}
        return [{**row, "file_name": names[row["image_id"]]} for row in whole["annotations"]]
    except (ValueError, KeyError, TypeError):
        return None
