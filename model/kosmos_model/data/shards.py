"""Shards: the files of a corpus, their sizes and parts, their bytes unpacked."""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from glob import glob
from os.path import expandvars
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from kosmos_eval.errors import BadData

PACKED = (".gz", ".zst", ".zip")
LINES = (".jsonl", ".ndjson", ".json", ".txt")
PART_BYTES = 2**20
"""The size of a part on disk, unless the format has its own (Parquet: a row group)."""

Content = mmap.mmap | bytes


@dataclass(frozen=True)
class Shard:
    """One file of a corpus.

    Args:
        path: where it is.
        size: in bytes, as stored.
        parts: how many parts it is read in.
    """

    path: Path
    size: int
    parts: int

    def begin(self, part: int) -> int:
        """Return the byte at which a part begins, counted as if all parts were about as long."""
        return self.size * part // self.parts


@lru_cache(maxsize=32)
def shards(paths: tuple[str, ...]) -> tuple[Shard, ...]:
    """Return the shards that paths name, in the order of their names.

    Args:
        paths: files, patterns such as ``$DATA/laion/*.tar``, or folders, of which every file of a known format counts.

    Raises:
        BadData: if a path names none, or a file whose format is not known.
    """
    found: dict[Path, None] = {}
    for name in paths:
        named = sorted(_files(Path(expandvars(name)).expanduser()))
        if not named:
            raise BadData(f"{name} names no file of training data; expected a file, a pattern or a folder of shards")
        found |= dict.fromkeys(named)
    for path in found:
        if not known(path):
            raise BadData(f"{path} has no known format; expected .jsonl, .txt, .json, .parquet or .tar (.gz .zst .zip)")
    sizes = {path: path.stat().st_size for path in found}
    return tuple(Shard(path, size, _parts(path, size)) for path, size in sizes.items() if size)


def _files(path: Path) -> Iterable[Path]:
    if path.is_dir():
        return (file for file in path.rglob("*") if file.is_file() and known(file))
    return (Path(name) for name in glob(str(path), recursive=True) if Path(name).is_file())  # noqa: PTH207


def ending(path: Path) -> str:
    """Return the ending that names the format of a shard, without that of its compression.

    >>> ending(Path("c4.00000-of-01024.json.gz"))
    '.json'
    """
    return Path(path.stem).suffix if path.suffix in PACKED else path.suffix


def known(path: Path) -> bool:
    """Return whether a file has a format that can be read."""
    return ending(path) in (*LINES, ".tar") or path.suffix == ".parquet"


def _parts(path: Path, size: int) -> int:
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return max(1, int(pq.read_metadata(path).num_row_groups))
        except (OSError, pa.ArrowException):
            return 1
    return -(-size // PART_BYTES)


@lru_cache(maxsize=32)
def content(path: Path, changed_ns: int) -> tuple[Content, str | None]:
    """Return the bytes of a shard, unpacked into a temporary file where it is packed; and where that broke off.

    Raises:
        OSError: if there is no such file, or it may not be read.
        BadData: if what unpacks it is not installed.
    """
    if path.suffix not in PACKED:
        with path.open("rb") as file:
            return _mapped(file), None
    damage = None
    with TemporaryFile() as spool:
        try:
            with _unpacked(path) as packed:
                while read := packed.read1(2**16):
                    spool.write(read)
        except _damages() as error:
            damage = f"damaged after {spool.tell()} unpacked bytes ({str(error) or type(error).__name__})"
        spool.flush()
        return _mapped(spool), damage


def _mapped(file: IO[bytes]) -> Content:
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if file.seek(0, 2) else b""


@contextmanager
def _unpacked(path: Path) -> Iterator[Any]:
    if path.suffix == ".gz":
        import gzip

        with gzip.open(path) as file:
            yield file
    elif path.suffix == ".zip":
        import zipfile

        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
            yield file
    else:
        try:
            import zstandard
        except ImportError as error:
            raise BadData(f"{path} needs zstandard; pip install 'kosmos-eval[train]'") from error
        unpacker = zstandard.ZstdDecompressor(max_window_size=2**31)
        with path.open("rb") as stored, unpacker.stream_reader(stored, read_across_frames=True) as file:
            yield file


def _damages() -> tuple[type[Exception], ...]:
    """Return the errors that unpackers raise for a damaged file."""
    import sys
    import zipfile

    zstandard = sys.modules.get("zstandard")
    own = (zstandard.ZstdError,) if zstandard else ()
    return (EOFError, OSError, zlib.error, zipfile.BadZipFile, IndexError, *own)
