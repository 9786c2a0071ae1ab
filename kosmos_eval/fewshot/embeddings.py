"""Vectors of images, each computed once and kept on disk by the digests of image and encoder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from kosmos_eval.errors import BadImage, RunError
from kosmos_eval.prompt import Image

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

    Vector = NDArray[float32]

SHARD = 4096
"""Images embedded at a time; each time leaves a file."""


class Encoder(Protocol):
    """An encoder of images as vectors, such that similar images have similar ones."""

    @property
    def name(self) -> str:
        """The encoder's name in reports."""
        ...

    @property
    def fingerprint(self) -> str:
        """A digest of whatever decides the vectors: weights and preprocessing."""
        ...

    def vectors(self, images: Sequence[Image]) -> Sequence[Vector | BadImage]:
        """For each image its vector (D,), or why it has none."""
        ...


def cache_folder() -> Path:
    """Return the folder of embeddings: ``$KOSMOS_EVAL_CACHE``, or ``kosmos-eval`` in the user's cache."""
    own = os.environ.get("KOSMOS_EVAL_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kosmos-eval"


@dataclass
class Embeddings:
    """The vectors of an encoder, of length one.

    Args:
        encoder: makes those that are missing.
        folder: where they are kept; each process adds files of its own, so that several may share it.
        tell: called with how many images were embedded now, and of how many that were asked for.
    """

    encoder: Encoder
    folder: Path = field(default_factory=cache_folder)
    tell: Callable[[int, int], None] = lambda done, total: None
    _known: dict[str, Vector] | None = None

    def of(self, images: Iterable[Image]) -> dict[str, Vector | BadImage]:
        """The vector (D,) of each image that can be read, and why another has none, by digest."""
        found: dict[str, Vector | BadImage] = {}
        for part in _parts(images):
            known = self._read()
            missing = {digest: image for digest, image in part.items() if digest not in known}
            made = self._made(missing) if missing else {}
            found |= {digest: known[digest] if digest in known else made[digest] for digest in part}
        return found

    @property
    def _own(self) -> Path:
        return self.folder / "embeddings" / self.encoder.fingerprint[:16]

    def _read(self) -> dict[str, Vector]:
        """Return the vectors on disk, read once."""
        if self._known is None:
            self._known = {}
            for path in sorted(self._own.glob("*.safetensors")):
                self._known |= _read_file(path)
        return self._known

    def _made(self, images: dict[str, Image]) -> dict[str, Vector | BadImage]:
        import numpy as np

        made: dict[str, Vector | BadImage] = {}
        entries = list(images.items())
        for start in range(0, len(entries), 64):
            self.tell(start, len(entries))
            part = entries[start : start + 64]
            for (digest, _), vector in zip(part, self.encoder.vectors([image for _, image in part]), strict=True):
                made[digest] = vector if isinstance(vector, BadImage) else vector / np.float32(np.linalg.norm(vector))
        self.tell(len(entries), len(entries))
        vectors = {digest: vector for digest, vector in made.items() if not isinstance(vector, BadImage)}
        self._read().update(vectors)
        if vectors:
            _write_file(self._own, vectors)
        return made


def _parts(images: Iterable[Image]) -> Iterator[dict[str, Image]]:
    """Images by digest, so many at a time; of those that cannot be read nothing is known but that."""
    rest = iter(images)
    while chunk := list(islice(rest, SHARD)):
        part: dict[str, Image] = {}
        for image in chunk:
            try:
                part[image.digest] = image
            except BadImage:
                continue
        yield part


def _write_file(folder: Path, vectors: dict[str, Vector]) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    digests = np.frombuffer(bytes.fromhex("".join(vectors)), dtype=np.uint8).reshape(-1, 32)
    part = folder / f".{uuid4().hex}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"digests": digests, "vectors": np.stack(list(vectors.values()))}, part)
        part.replace(folder / f"{uuid4().hex}.safetensors")
    except OSError as error:
        raise RunError(
            f"cannot keep embeddings in {folder}: {error.strerror or error}; name another folder by KOSMOS_EVAL_CACHE"
        ) from error


def _read_file(path: Path) -> dict[str, Vector]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tables = load_file(path)
        digests = tables["digests"]
        return {bytes(digest).hex(): vector for digest, vector in zip(digests, tables["vectors"], strict=True)}
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise RunError(f"the embeddings {path} cannot be read ({error}); delete the file") from error
