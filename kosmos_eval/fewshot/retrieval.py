"""Demonstrations by the similarity of their images to the sample's: RICES (Yang et al. 2021, PICa), as Flamingo has it.

The most similar demonstration stands last, next to the question (Flamingo, Alayrac et al. 2022, appendix A.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from kosmos_eval.errors import BadImage, KosmosEvalError
from kosmos_eval.fewshot.embeddings import Embeddings, Encoder, cache_folder
from kosmos_eval.fewshot.selection import Progress, chooses_itself, related, silent, too_few
from kosmos_eval.registry import named
from kosmos_eval.sample import Sample

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

    from kosmos_eval.fewshot.embeddings import Vector

FIRST = 256
"""Candidates put in order at first; where none of them may be shown, ever more."""


@dataclass(frozen=True)
class Index:
    """The pictures of a pool.

    Args:
        pool: the demonstrations.
        vectors: (N, D) one of length one for each; zeros for those with an image that does not decode.
        digests: of the images of each; empty for those.
    """

    pool: Sequence[Sample]
    vectors: NDArray[float32]
    digests: Sequence[tuple[str, ...]]

    def nearest(self, query: Vector) -> Iterator[int]:
        """Indices into the pool, the most similar first, the earlier of equals first."""
        import numpy as np

        likeness = self.vectors @ query
        done, size = 0, FIRST
        while done < len(likeness):
            least = np.partition(likeness, -size)[-size] if size < len(likeness) else likeness.min()
            near = np.flatnonzero(likeness >= least)
            ordered = near[np.argsort(-likeness[near], kind="stable")].tolist()
            yield from (index for index in ordered[done:] if self.digests[index])
            done, size = len(ordered), 8 * size


@dataclass
class RicesShots:
    """Demonstrations whose images look like the sample's; where there are several, by the mean of their vectors.

    Args:
        encoder: makes vectors of images.
        name: what to call this way of choosing.
        embeddings: where the vectors are kept; by default on disk.
    """

    encoder: Encoder
    name: str = "rices"
    embeddings: Embeddings | None = None
    _indexes: dict[str, Index] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._embeddings = self.embeddings or Embeddings(self.encoder, cache_folder())

    @property
    def seeded(self) -> bool:
        """No: what is most similar is so whatever the seed."""
        return False

    @property
    def fingerprint(self) -> str:
        """That of the encoder."""
        return self.encoder.fingerprint

    def prepare(self, samples: Sequence[Sample], pool: Sequence[Sample], *, task: str) -> None:
        """Embed all images of the task.

        Raises:
            KosmosEvalError: if it has none, or chooses its own demonstrations.
        """
        if not pool:
            raise chooses_itself(task, self.name)
        if not samples[0].prompt.images or not pool[0].prompt.images:
            raise KosmosEvalError(
                f"{task} has no images to compare, which --shots-from {self.name} chooses by; use random or fixed"
            )
        self._index(pool, task)
        self._embeddings.of(chain.from_iterable(sample.prompt.images for sample in samples))

    def draw(self, sample: Sample, pool: Sequence[Sample], count: int, *, seed: int, task: str) -> list[Sample]:
        """The most similar ones that may be shown, the most similar last; neither seed nor order decides anything.

        Raises:
            BadImage: if an image of the sample does not decode.
            KosmosEvalError: if it has none, or the pool too few.
        """
        if count == 0:
            return []
        index = self._index(pool, task)
        own = [image.digest for image in sample.prompt.images]
        if not own:
            raise KosmosEvalError(f"{task}: sample {sample.id} has no image, which --shots-from {self.name} goes by")
        query = _mean([_whole(vector) for vector in self._embeddings.of(sample.prompt.images).values()])
        found: list[Sample] = []
        for place in index.nearest(query):
            if set(own).isdisjoint(index.digests[place]) and not related(sample, shot := pool[place]):
                found.append(shot)
            if len(found) == count:
                return found[::-1]
        raise too_few(sample, pool, count, len(found), task=task)

    def note(self, samples: Sequence[Sample], pool: Sequence[Sample], count: int, *, seed: int, task: str) -> str:
        """The encoder that compared the images, for reports."""
        return f"RICES by {self.encoder.name}"

    def _index(self, pool: Sequence[Sample], task: str) -> Index:
        if task not in self._indexes or self._indexes[task].pool is not pool:
            self._indexes[task] = _indexed(pool, self._embeddings)
        return self._indexes[task]


def _indexed(pool: Sequence[Sample], embeddings: Embeddings) -> Index:
    import numpy as np

    found = embeddings.of(chain.from_iterable(shot.prompt.images for shot in pool))
    vectors, digests = [], []
    width = next((len(vector) for vector in found.values() if not isinstance(vector, BadImage)), 1)
    for shot in pool:
        try:
            own = tuple(image.digest for image in shot.prompt.images)
            vectors.append(_mean([_whole(found[digest]) for digest in own]) if own else np.zeros(width, np.float32))
            digests.append(own)
        except BadImage:
            vectors.append(np.zeros(width, np.float32))
            digests.append(())
    return Index(pool, np.stack(vectors), digests)


def _whole(vector: Vector | BadImage) -> Vector:
    if isinstance(vector, BadImage):
        raise vector
    return vector


def _mean(vectors: Sequence[Vector]) -> Vector:
    import numpy as np

    mean: Vector = np.mean(vectors, axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def rices(spec: str, *, device: str = "auto", progress: Progress = silent) -> RicesShots:
    """RICES by ``rices`` (as the bundled model sees images) or ``rices:ENCODER:PATH``, such as ``rices:clip:PATH``.

    Args:
        spec: as ``--shots-from`` has it.
        device: where the encoder computes.
        progress: told of images that are embedded now.

    Raises:
        KosmosEvalError: if there is no such encoder.
    """
    name, _, path = (spec.partition(":")[2] or "kosmos").partition(":")
    encoder: Encoder = named("encoder", name)(path, device=device)
    label = f"images embedded by {encoder.name}"
    return RicesShots(encoder, spec, Embeddings(encoder, tell=lambda done, total: progress(label, done, total)))
