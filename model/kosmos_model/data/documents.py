"""Documents: lessons and texts as the token sequences that training reads (KOSMOS-1 section 2.1, Table 21)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.sample import Sample
from kosmos_model.modeling.tokenizer import BOS, EOS, Tokenizer


@dataclass(frozen=True)
class Document:
    """A token sequence and how much the prediction *of* each of its tokens counts.

    Args:
        kind: the dataset that it comes from.
        tokens: ids, with ``slots`` places for each image.
        weights: one for each token; 0 for what is only given.
        images: in reading order.
    """

    kind: str
    tokens: tuple[int, ...]
    weights: tuple[float, ...]
    images: tuple[Image, ...] = ()

    def __len__(self) -> int:
        return len(self.tokens)


def lesson(samples: Sequence[Sample], tokenizer: Tokenizer, *, kind: str, prompt_weight: float = 1.0) -> Document:
    """Samples with their answers, one a line, exactly as few-shot prompts have them; then ``</s>``.

    Args:
        samples: what is asked, in order; each answer is its sample's ``target``.
        tokenizer: gives ids and the number of slots.
        kind: the dataset that they come from.
        prompt_weight: how much the text of prompts counts; answers and what ends them count 1.
    """
    tokens, weights = [BOS], [0.0]

    def add(ids: Sequence[int], weight: float) -> None:
        tokens.extend(ids)
        weights.extend([weight] * len(ids))

    for index, sample in enumerate(samples):
        if index:
            add(tokenizer.encode("\n"), 1.0)
        for part in sample.prompt.parts:
            if isinstance(part, str):
                add(tokenizer.encode(part), prompt_weight)
            else:
                add(tokenizer.prompt(Prompt(part))[0][1:], 0.0)
        add(tokenizer.encode(f" {sample.target}"), 1.0)
    add([EOS], 1.0)
    images = tuple(image for sample in samples for image in sample.prompt.images)
    return Document(kind, tuple(tokens), tuple(weights), images)


def packed(texts: Iterable[str], tokenizer: Tokenizer, *, kind: str, length: int) -> Iterator[Document]:
    """Texts packed whole, as many as fit, each ``<s> text </s>``: RoBERTa's full sentences (KOSMOS-1 section 3.2).

    A text that does not fit into ``length`` tokens is parted between sentences, into several.
    """
    tokens: list[int] = []
    for text in texts:
        for added in _parted(text, tokenizer, kind=kind, length=length):
            if tokens and len(tokens) + len(added) > length:
                yield _text(tokens, kind)
                tokens = []
            tokens += added
    if tokens:
        yield _text(tokens, kind)


def _parted(text: str, tokenizer: Tokenizer, *, kind: str, length: int) -> Iterator[Sequence[int]]:
    ids = tokenizer.encode(text)
    if len(ids) <= length - 2:
        yield [BOS, *ids, EOS]
    else:
        yield from (document.tokens for document in whole(Prompt(text), tokenizer, kind=kind, length=length))


def _text(tokens: Sequence[int], kind: str) -> Document:
    return Document(kind, tuple(tokens), tuple(float(token != BOS) for token in tokens))


@dataclass(frozen=True)
class _Unit:
    """A sentence and the images before it, which are never parted."""

    tokens: tuple[int, ...]
    weights: tuple[float, ...]
    images: tuple[Image, ...]


def whole(prompt: Prompt, tokenizer: Tokenizer, *, kind: str, length: int) -> Iterator[Document]:
    """Yield a text with images, ``<s> <image> EMB </image> text <image> EMB </image> text </s>``, every text counted.

    Where it is longer than ``length`` tokens it is parted between sentences; only the last part ends in ``</s>``.
    Images that no text follows are left out: nothing is learned from them.
    """
    held: list[_Unit] = []
    for unit in _units(prompt, tokenizer, room=length - 2):
        if held and sum(len(one.tokens) for one in held) + len(unit.tokens) > length - 2:
            yield _joined(held, kind, end=False)
            held = []
        held.append(unit)
    if held:
        yield _joined(held, kind, end=True)


def _joined(units: Sequence[_Unit], kind: str, *, end: bool) -> Document:
    tokens = (BOS, *(token for unit in units for token in unit.tokens), *[EOS] * end)
    weights = (0.0, *(weight for unit in units for weight in unit.weights), *[1.0] * end)
    return Document(kind, tokens, weights, tuple(image for unit in units for image in unit.images))


def _units(prompt: Prompt, tokenizer: Tokenizer, *, room: int) -> Iterator[_Unit]:
    """Yield the sentences of a prompt, each with the images before it; sentences too long for ``room`` are cut up."""
    shown: list[int] = []
    images: list[Image] = []
    for part in prompt.parts:
        if isinstance(part, Image):
            ids = tokenizer.prompt(Prompt(part))[0][1:]
            if len(shown) + len(ids) < room:
                shown += ids
                images.append(part)
            continue
        for sentence in SENTENCE_END.split(part):
            ids = tokenizer.encode(sentence)
            while ids:
                fits = room - len(shown) if len(shown) + len(ids) > room else len(ids)
                yield _Unit((*shown, *ids[:fits]), (*[0.0] * len(shown), *[1.0] * fits), tuple(images))
                ids, shown, images = ids[fits:], [], []


SENTENCE_END = re.compile(r"(?<=[.!?])(?=\s)|(?=\n)")
