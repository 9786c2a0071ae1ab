"""The Protocol of a model."""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from kosmos_eval.request import Failure, Output, Request


@runtime_checkable
class Model(Protocol):
    """Whatever answers requests. It sees many at a time, may batch and reorder them, and answers as it goes."""

    @property
    def name(self) -> str:
        """What reports call the model."""
        ...

    @property
    def fingerprint(self) -> str:
        """A digest of whatever decides the answers: weights, tokenizer, preprocessing."""
        ...

    def fits(self, request: Request) -> bool:
        """Whether the prompt and the longest possible answer are within the model's context."""
        ...

    def answers(self, requests: Sequence[Request]) -> Iterator[tuple[int, Output | Failure]]:
        """Answer each request once, in any order, with its index in ``requests``.

        A request that cannot be answered because of itself (an image that does not decode) gives a `Failure`
        and leaves the others alone. A `Generate` gives a `Completion`, a `LogLikelihood` gives `Likelihoods`.
        """
        ...


@runtime_checkable
class Looking(Protocol):
    """A model that says whether it can be asked nothing without an image."""

    @property
    def needs_images(self) -> bool:
        """Whether every prompt must have one."""
        ...


@runtime_checkable
class Adjustable(Protocol):
    """A model with options that decide how it is asked and not what it answers: a run may go on with other ones."""

    @property
    def adjustable(self) -> frozenset[str]:
        """Their names."""
        ...
