"""A model: two methods to write, and defaults for the rest; and a count of what it computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kosmos_eval.request import Failure, Output, Request


@dataclass
class Work:
    """Counts of a model's work; they only grow.

    Args:
        tokens_asked: as many as go through a model that answers every request by itself, continuation by continuation.
        tokens_computed: as many as went through this one.
        images_asked: images of all prompts.
        images_encoded: images that went through the image encoder.
        flops: floating-point operations of weights with tokens and images, a multiply-add as two; 0 if not known.
    """

    tokens_asked: int = 0
    tokens_computed: int = 0
    images_asked: int = 0
    images_encoded: int = 0
    flops: float = 0.0


class Model(ABC):
    """A model answers requests. It sees many at a time, may batch and reorder them, and answers as it goes.

    Attributes:
        name: what reports call the model.
        fingerprint: a digest of what decides the answers: weights, tokenizer, preprocessing.
        requires_images: True where every prompt must have an image.
        runtime_options: names of options that decide how fast the model answers and not what: a run may go on with
            other values.
        notes: short phrases that a report shows about the model's answers.
        work: what the model has computed so far; None where it does not count.
    """

    if TYPE_CHECKING:  # a subclass may have a field, an attribute or a property

        @property
        def name(self) -> str: ...
        @property
        def fingerprint(self) -> str: ...
        @property
        def requires_images(self) -> bool: ...
        @property
        def runtime_options(self) -> frozenset[str]: ...
        @property
        def notes(self) -> Sequence[str]: ...
        @property
        def work(self) -> Work | None: ...
    else:
        requires_images = False
        runtime_options = frozenset()
        notes = ()
        work = None

    @abstractmethod
    def fits(self, request: Request) -> bool:
        """Return whether the prompt and the longest possible answer are within the model's context."""

    @abstractmethod
    def answers(self, requests: Sequence[Request]) -> Iterator[tuple[int, Output | Failure]]:
        """Answer each request once, in any order, with its index in ``requests``.

        A request that cannot be answered because of itself (an image that does not decode) gives a `Failure`
        and leaves the others alone. A `Generate` gives a `Completion`, a `LogLikelihood` gives `Likelihoods`.
        """
