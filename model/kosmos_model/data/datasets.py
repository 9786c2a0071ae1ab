"""Datasets: where documents come from, and how many tokens of each kind a step reads.

A dataset names a function ``(seed) -> iterator`` of lessons (sequences of samples), prompts or texts as
``package.module:function``; or with ``paths`` the kind of corpus that the files are (`kosmos_model.data.corpora`).
What a step reads is a function of the recipe, the seed and the number of the step (and of the files), so a run that is
resumed reads on where it was, and any step can be looked at by itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain
from typing import Any

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from kosmos_eval.errors import BadData, PlugInError
from kosmos_eval.prompt import Prompt
from kosmos_eval.sample import Sample
from kosmos_model.data import files
from kosmos_model.data.corpora import SOURCES
from kosmos_model.data.documents import Document, lesson, packed, whole
from kosmos_model.modeling.tokenizer import Tokenizer

Item = Sequence[Sample] | Prompt | str
Source = Callable[[int], Iterator[Item]]


@dataclass(frozen=True)
class Dataset:
    """One kind of training data.

    Args:
        kind: what reports call it.
        source: ``package.module:function``, a function of a seed that yields lessons, prompts or texts; with
            ``paths`` what the rows of the files are: ``text``, ``pairs``, ``mmc4``, ``obelics`` or such a function.
        tokens: how many a step reads, image slots included; whole documents, so a few more.
        emphasis: how much its losses count against those of other datasets.
        prompt_weight: how much the text of prompts counts against answers; the paper's loss is on all text.
        after: steps that are taken before its first.
        until: its last step; None for the run's.
        alone: while it runs, nothing is read but this and what is alone too.
        paths: files, patterns or folders of shards; ``~`` and ``$VARIABLES`` stand for what they are.
        images: the folder that names of images are relative to.
        columns: what columns are called in these files, where it is not what public data sets call them.
    """

    kind: str
    source: str
    tokens: PositiveInt
    emphasis: NonNegativeFloat = 1.0
    prompt_weight: NonNegativeFloat = 1.0
    after: NonNegativeInt = 0
    until: NonNegativeInt | None = None
    alone: bool = False
    paths: list[str] = field(default_factory=list)
    images: str | None = None
    columns: dict[str, str] = field(default_factory=dict)

    def runs(self, step: int) -> bool:
        """Return whether a step (from 0) reads it."""
        return self.after <= step and (self.until is None or step < self.until)


def running(datasets: Sequence[Dataset], step: int) -> list[tuple[int, Dataset]]:
    """Return the datasets that a step reads, each with its number among all."""
    found = [(number, dataset) for number, dataset in enumerate(datasets) if dataset.runs(step)]
    return [entry for entry in found if entry[1].alone] or found


def resolve(source: str) -> Any:
    """Return the function that ``package.module:function`` names.

    Raises:
        PlugInError: if it does not import or is not there.
    """
    module, _, name = source.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise PlugInError(f"dataset {source!r} cannot be loaded ({error}); expected package.module:function") from error


def seed_of(*names: object) -> int:
    """Return a seed that differs wherever one of the names does."""
    return int.from_bytes(sha256(repr(names).encode()).digest()[:8], "big")


def documents(
    dataset: Dataset, tokenizer: Tokenizer, *, seed: int, step: int, length: int, rank: int = 0, ranks: int = 1
) -> Iterator[Document]:
    """Yield the documents that a step reads from a dataset; of files, one rank's share of them.

    Args:
        dataset: where from, and how many tokens.
        tokenizer: gives ids and slots.
        seed: the run's.
        step: the number of the step.
        length: the longest document, in tokens; longer lessons are left out, longer texts and prompts parted.
        rank: whose share of the files.
        ranks: how many shares there are; no two have a document in common, and together they are the step's.

    Raises:
        BadData: if there is none.
    """
    if dataset.paths:
        yield from _of_files(dataset, tokenizer, share=(step, rank, ranks), seed=seed, length=length)
        return
    source: Source = resolve(dataset.source)
    items = source(seed_of(seed, step, dataset.kind))
    first = next(items, None)
    if first is None:
        raise BadData(f"dataset {dataset.kind} ({dataset.source}) is empty; expected lessons or texts without end")
    made = _tokenised(chain([first], items), dataset, tokenizer, length)
    yield from _up_to(dataset.tokens, made, dataset, length)


def _of_files(
    dataset: Dataset, tokenizer: Tokenizer, *, share: tuple[int, int, int], seed: int, length: int
) -> Iterator[Document]:
    step, rank, ranks = share
    reading = SOURCES.get(dataset.source) or resolve(dataset.source)
    corpus = files.opened(reading, tuple(dataset.paths), dataset.images, tuple(dataset.columns.items()))
    order = corpus.order(seed_of(seed, dataset.kind))
    rate = _bytes_per_token(dataset, corpus, tokenizer, length)
    size = max(1, round(MARGIN * dataset.tokens * rate / ranks))
    begin = (step * ranks + rank) * size
    made = _tokenised(corpus.items(order, begin, begin + size), dataset, tokenizer, length)
    yield from _up_to(dataset.tokens / ranks, made, dataset, length)


_RATES: dict[tuple[object, ...], float] = {}
MARGIN = 1.05
"""The factor by which a share of files holds more than it should need, so that nearly all last for their tokens."""


def _bytes_per_token(dataset: Dataset, corpus: files.Corpus, tokenizer: Tokenizer, length: int) -> float:
    """Return how many bytes of its files a token takes; measured once a process, on rows from all over them."""
    key = (dataset.source, corpus, tokenizer, length)
    if key not in _RATES:
        read = tokens = 0.0
        for size, items in corpus.sampled():
            tokens += sum(len(document) for document in _tokenised(iter(items), dataset, tokenizer, length))
            read += size
        if not tokens:
            raise BadData(
                f"dataset {dataset.kind} has no usable row in {', '.join(dataset.paths)}; the log says what was skipped"
            )
        _RATES[key] = read / tokens
    return _RATES[key]


PATIENCE = 1000
"""The most documents that are too long at the beginning of a dataset: one without end may have no other."""


def _up_to(tokens: float, made: Iterator[Document], dataset: Dataset, length: int) -> Iterator[Document]:
    read = 0
    for number, document in enumerate(made):
        if len(document) > length:
            if not read and number == PATIENCE:
                break
            continue
        yield document
        read += len(document)
        if read >= tokens:
            return
    if not read:
        raise BadData(
            f"dataset {dataset.kind} ({dataset.source}) has no document of at most {length} tokens; "
            "shorten them or raise the recipe's context_length"
        )


def _tokenised(items: Iterator[Item], dataset: Dataset, tokenizer: Tokenizer, length: int) -> Iterator[Document]:
    for item in items:
        if isinstance(item, str):
            texts = chain([item], (text for text in items if isinstance(text, str)))
            yield from packed(texts, tokenizer, kind=dataset.kind, length=min(length, dataset.tokens))
        elif isinstance(item, Prompt):
            yield from whole(item, tokenizer, kind=dataset.kind, length=length)
        else:
            yield lesson(item, tokenizer, kind=dataset.kind, prompt_weight=dataset.prompt_weight)
