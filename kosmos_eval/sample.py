"""Samples: what a benchmark asks, and what it counts as right."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, overload

from kosmos_eval.errors import BadData
from kosmos_eval.files import Json
from kosmos_eval.prompt import Prompt
from kosmos_eval.source import Row


@dataclass(frozen=True)
class Sample:
    """One item of a benchmark.

    Args:
        id: unique within its split.
        prompt: the question as asked, without its answer.
        target: the answer that a demonstration shows after the prompt.
        references: every answer that counts, as the benchmark's metric wants them.
        choices: the answers to choose from, where the task is closed-ended.
        group: samples of one group share an image; demonstrations never come from it and intervals are clustered by it.
        kind: what a breakdown of the scores is by, such as the answer type; empty for none.
        extra: whatever else the task needs to score the sample.
    """

    id: str
    prompt: Prompt
    target: str = ""
    references: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    group: str = ""
    kind: str = ""
    extra: Json = field(default_factory=dict)

    @property
    def outline(self) -> "Sample":
        """The sample without prompt and extras: small, and enough to aggregate scores."""
        return replace(self, prompt=Prompt(), extra={})

    @property
    def shown(self) -> Prompt:
        """The sample as a demonstration: prompt, a space, the answer."""
        return Prompt(self.prompt, " ", self.target)


class Samples(Sequence[Sample]):
    """The rows of a `datasets.Dataset` as samples, each made when it is looked at.

    >>> Samples([{"n": 1}, {"n": 2}], lambda row: Sample(str(row["n"]), Prompt("?")))[1].id
    '2'
    """

    def __init__(self, rows: Any, make: Callable[[Any], Sample]) -> None:
        self.rows, self.make = rows, make

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """The sample at an index, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        return self._made(self.rows[index])

    def __iter__(self) -> Iterator[Sample]:
        return (self._made(row) for row in self.rows)

    def _made(self, row: Row) -> Sample:
        try:
            return self.make(row)
        except KeyError as error:
            there = ", ".join(map(str, row))
            raise BadData(
                f"a row has no column {error}, only {there}; expected the columns of the official data"
            ) from error


def subset(samples: Sequence[Sample], limit: int | None, *, seed: int, task: str) -> Sequence[Sample]:
    """A seeded choice of ``limit`` samples in their own order; the choices of growing limits are nested."""
    if limit is None or limit >= len(samples):
        return samples
    order = list(range(len(samples)))
    Random(f"{seed}/{task}/limit").shuffle(order)
    return [samples[index] for index in sorted(order[:limit])]
