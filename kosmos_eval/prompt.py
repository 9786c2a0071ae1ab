"""Prompts: text and images interleaved, in canonical form.

Text alone is the plain case, not another path. Two prompts that a model would see as the same are equal.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.errors import BadImage
from kosmos_eval.files import Json, regular

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

MOST_BYTES = 256_000_000
"""The largest file that is read as an image."""


@dataclass(frozen=True)
class Image:
    """One picture: a file's path or the encoded bytes themselves, decoded only when asked for.

    Args:
        source: the path or the bytes.
        within: the folders that the file must lie in, links followed; empty for anywhere.

    >>> Image("cat.jpg") == Image(Path("cat.jpg"))
    True
    """

    source: str | bytes
    within: tuple[str, ...] = field(default=(), compare=False)

    def __init__(self, source: str | Path | bytes, *, within: tuple[str, ...] = ()) -> None:
        object.__setattr__(self, "source", str(source) if isinstance(source, Path) else source)
        object.__setattr__(self, "within", within)

    @classmethod
    def of(cls, cell: Json) -> Image:
        """Return the image in a cell of a `datasets.Image(decode=False)` column: ``{"bytes": ..., "path": ...}``."""
        return cls(cell["bytes"] if cell.get("bytes") is not None else str(cell["path"]))

    @classmethod
    def drawn(cls, pixels: Pixels) -> Image:
        """Return the image of pixels made in memory, kept as PNG."""
        buffer = io.BytesIO()
        pixels.save(buffer, "PNG")
        return cls(buffer.getvalue())

    def inside(self, folders: tuple[str, ...]) -> Image:
        """Return the image, which can only be read if its file, if it has one, lies in one of these folders."""
        return Image(self.source, within=folders) if isinstance(self.source, str) else self

    @property
    def name(self) -> str:
        """The image's name in messages: its path, or its digest if it has none."""
        return self.source if isinstance(self.source, str) else f"image {self.digest[:12]}"

    @property
    def digest(self) -> str:
        """Sha256 of the encoded content, in hex, so that a replaced file is another image.

        Raises:
            BadImage: if the file cannot be read.
        """
        if isinstance(self.source, bytes):
            return self._bytes_digest
        with self._file(self.source) as (path, stat):
            return _file_digest(path, stat.st_mtime_ns, stat.st_size)

    @cached_property
    def _bytes_digest(self) -> str:
        return hashlib.sha256(self.encoded()).hexdigest()

    def encoded(self) -> bytes:
        """Return the encoded bytes, as stored.

        Raises:
            BadImage: if the file cannot be read, is too large, or lies outside the folders that must hold it.
        """
        if isinstance(self.source, bytes):
            return self.source
        with self._file(self.source) as (path, _):
            return Path(path).read_bytes()

    @contextmanager
    def _file(self, source: str) -> Iterator[tuple[str, os.stat_result]]:
        """Check a file before it is read; yield its path, links followed, and its state."""
        try:
            path = os.path.realpath(source)
            if self.within and not any(Path(path).is_relative_to(folder) for folder in self.within):
                place = f"outside {self.within[0]}; expected a file in it, or --allow-outside"
                raise BadImage(f"image {source} lies {place}")
            stat = regular(path)
            if stat.st_size > MOST_BYTES:
                raise BadImage(f"image {source} has {stat.st_size:,} bytes; expected at most {MOST_BYTES:,}")
            yield path, stat
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = getattr(error, "strerror", None) or error
            raise BadImage(f"cannot read image {source}: {reason}") from error

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of `pixels`, from the header alone.

        Raises:
            BadImage: as `pixels` does, but for what a header does not tell.
        """
        with self._opened() as opened:
            width, height = opened.size
            return (height, width) if _orientation(opened) > 4 else (width, height)

    def pixels(self, *, draft: int | None = None) -> Pixels:
        """Decode to RGB, upright as EXIF says, transparency on a white ground, 16 bits brought to 8.

        Args:
            draft: where the format allows (JPEG), decode at a reduced size of at least this many pixels a side.

        Raises:
            BadImage: if the image is truncated, of an unknown format, or larger than Pillow's safety limit.
        """
        with self._opened() as opened:
            if draft is not None:
                opened.draft("RGB", (draft, draft))
            return _on_white(_upright(opened))

    @contextmanager
    def _opened(self) -> Iterator[Pixels]:
        import PIL.Image

        with warnings.catch_warnings():
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
            try:
                with PIL.Image.open(io.BytesIO(self.encoded())) as opened:
                    yield opened
            except PIL.UnidentifiedImageError as error:
                raise BadImage(f"{self.name} cannot be decoded: it is of no format that Pillow knows") from error
            except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
                raise BadImage(f"{self.name} is too large to decode safely: {error}") from error
            except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
                raise BadImage(f"{self.name} cannot be decoded: {error}") from error

    def __repr__(self) -> str:
        return f"Image({self.source!r})" if isinstance(self.source, str) else f"Image(<{self.digest[:12]}>)"


def _upright(opened: Pixels) -> Pixels:
    """Return the picture as viewers and browsers show it; Pillow itself turns TIFF alone."""
    from PIL.Image import Transpose as To

    flips = None, To.FLIP_LEFT_RIGHT, To.ROTATE_180, To.FLIP_TOP_BOTTOM
    turn = (*flips, To.TRANSPOSE, To.ROTATE_270, To.TRANSVERSE, To.ROTATE_90)[_orientation(opened) - 1]
    return opened if turn is None else opened.transpose(turn)


def _orientation(opened: Pixels) -> int:
    """Return EXIF's orientation, 1 (upright) to 8; 1 if it has none that can be read."""
    try:
        found = opened.getexif().get(0x0112, 1) if "exif" in opened.info else 1
    except (struct.error, SyntaxError, ValueError, TypeError):
        return 1
    return found if found in range(1, 9) else 1


def _on_white(opened: Pixels) -> Pixels:
    if opened.mode.startswith("I"):
        return opened.convert("I").point(lambda value: value * (1 / 257)).convert("L").convert("RGB")
    if opened.mode not in ("RGBA", "LA", "PA") and "transparency" not in opened.info:
        return opened.convert("RGB")
    import PIL.Image

    layer = opened.convert("RGBA")
    ground = PIL.Image.new("RGBA", layer.size, "white")
    return PIL.Image.alpha_composite(ground, layer).convert("RGB")


@lru_cache(maxsize=200_000)
def _file_digest(path: str, changed_ns: int, size: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


Part = str | Image


@dataclass(frozen=True, init=False)
class Prompt:
    """Text and images in reading order; neighbouring texts are merged and empty ones vanish.

    >>> Prompt("What is ", "this?") == Prompt("What is this?")
    True
    """

    parts: tuple[Part, ...]

    def __init__(self, *parts: Part | Prompt) -> None:
        merged: list[Part] = []
        for part in _flat(parts):
            if isinstance(part, str) and merged and isinstance(merged[-1], str):
                merged[-1] += part
            elif part != "":
                merged.append(part)
        object.__setattr__(self, "parts", tuple(merged))

    @classmethod
    def join(cls, prompts: Iterable[Part | Prompt], *, separator: str = "") -> Prompt:
        """Return the prompts one after the other, with a separator between them."""
        joined: list[Part | Prompt] = []
        for prompt in prompts:
            joined += [separator, prompt] if joined else [prompt]
        return cls(*joined)

    def __add__(self, other: Part | Prompt) -> Prompt:
        return Prompt(self, other)

    @property
    def images(self) -> tuple[Image, ...]:
        """The images, in reading order."""
        return tuple(part for part in self.parts if isinstance(part, Image))

    def text(self, placeholder: str = "<image>") -> str:
        """Return the prompt as a string, with a placeholder for each image."""
        return "".join(part if isinstance(part, str) else placeholder for part in self.parts)

    def within(self, folders: tuple[str, ...]) -> Prompt:
        """Return the prompt with images that can only be read if their files lie in one of these folders."""
        parts = (part if isinstance(part, str) else part.inside(folders) for part in self.parts)
        return Prompt(*parts) if folders and self.images else self

    @property
    def digest(self) -> str:
        """16 hex digits over the text and the content of every image."""
        total = hashlib.sha256()
        for part in self.parts:
            kind, content = ("t", part) if isinstance(part, str) else ("i", part.digest)
            data = content.encode("utf-8", "surrogatepass")
            total.update(f"{kind}{len(data)}:".encode() + data)
        return total.hexdigest()[:16]


def _flat(parts: Iterable[Part | Prompt]) -> Iterator[Part]:
    for part in parts:
        if isinstance(part, Prompt):
            yield from part.parts
        else:
            yield part
