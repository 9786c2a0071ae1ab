"""Batches: the documents of a step, cut into parts that the model reads at once.

Shapes: B documents of a part, S tokens of the longest, I images of the part in reading order, U different ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from kosmos_eval.errors import BadData, BadImage, KosmosEvalError
from kosmos_eval.prompt import Image
from kosmos_model.data.documents import Document
from kosmos_model.data.files import skip
from kosmos_model.data.formats import Skipped
from kosmos_model.data.streams import Stream, documents, running
from kosmos_model.modeling.image import to_tensor
from kosmos_model.modeling.tokenizer import BOS, EOS, PAD, Tokenizer


@dataclass(frozen=True)
class Part:
    """Documents padded on the right; each different image is there once.

    Args:
        tokens: (B, S) ids.
        weights: (B, S) how much the prediction of each token counts.
        kinds: (B,) the number of each document's stream.
        pixels: (U, 3, H, W) the different images.
        shown: (I,) which of them each image is.
    """

    tokens: Tensor
    weights: Tensor
    kinds: Tensor
    pixels: Tensor
    shown: Tensor

    def to(self, device: torch.device) -> Part:
        """The part on a device."""
        return Part(*(getattr(self, name).to(device, non_blocking=True) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Plan:
    """What decides the batches of a run.

    Args:
        streams: what a step reads.
        seed: decides the documents of each step.
        length: the longest document, in tokens.
        part_tokens: the most tokens of a part, padding included, unless one document is longer.
        image_size: side of the images, in pixels.
        rank: which share of each batch is read here.
        ranks: how many shares there are.
    """

    streams: tuple[Stream, ...]
    seed: int
    length: int
    part_tokens: int
    image_size: int
    rank: int = 0
    ranks: int = 1


class Batches(Dataset[list[Part]]):
    """The batch of each step, a pure function of its number."""

    def __init__(self, plan: Plan, tokenizer: Tokenizer) -> None:
        self.plan, self.tokenizer = plan, tokenizer

    def __getitem__(self, step: int) -> list[Part]:
        """The parts of a step, shortest documents first.

        Raises:
            BadData: if a stream is empty.
        """
        plan, begun = self.plan, step
        found: list[Entry] = []
        drawn: list[Entry] = []
        for number, stream in running(plan.streams, step):
            which = {"seed": plan.seed, "step": step, "length": plan.length}
            if not stream.paths:
                made = documents(stream, self.tokenizer, **which)
                drawn += ((document, stream.emphasis, number) for document in made)
                continue
            # a share of files is a document at least: of few tokens there are few shares, dealt out in a ring
            shares = min(plan.ranks, max(1, stream.tokens // plan.length))
            place = (plan.rank - begun) % plan.ranks
            begun += shares
            if place < shares:
                made = documents(stream, self.tokenizer, **which, rank=place, ranks=shares)
                found += ((document, stream.emphasis, number) for document in made)
        found += dealt(drawn, plan.ranks)[plan.rank]
        found.sort(key=lambda entry: len(entry[0]))
        return [part(chosen, image_size=plan.image_size) for chosen in _cut(found, plan.part_tokens)]


Entry = tuple[Document, float, int]
NOTHING: Entry = (Document("", (BOS, EOS), (0.0, 0.0)), 0.0, 0)
"""A document that teaches nothing, for a rank that has read its share."""


IMAGE_TOKENS = 50
"""How many tokens cost as much to compute as one image does to encode; about so many of nano's."""


def dealt(entries: Sequence[Entry], ranks: int) -> list[list[Entry]]:
    """Documents shared out, the dearest first, each to the rank with the least to compute."""
    shares: list[list[Entry]] = [[] for _ in range(ranks)]
    loads = [0] * ranks
    costs = [len(document) + IMAGE_TOKENS * len(document.images) for document, *_ in entries]
    for cost, entry in sorted(zip(costs, entries, strict=True), key=lambda priced: -priced[0]):
        idlest = loads.index(min(loads))
        shares[idlest].append(entry)
        loads[idlest] += cost
    return shares


def _cut(entries: Sequence[Entry], part_tokens: int) -> Iterator[list[Entry]]:
    """Neighbours of rising length, as many as fit when padded to the longest."""
    chosen: list[Entry] = []
    for entry in entries:
        if chosen and len(entry[0]) * (len(chosen) + 1) > part_tokens:
            yield chosen
            chosen = []
        chosen.append(entry)
    if chosen:
        yield chosen


def part(entries: Sequence[Entry], *, image_size: int) -> Part:
    """Documents with the emphasis and the number of their streams as tensors.

    A document with an image that cannot be decoded counts nothing; the log names the image.
    """
    longest = max(len(document) for document, _, _ in entries)
    tokens = torch.full((len(entries), longest), PAD)
    weights = torch.zeros(len(entries), longest)
    images = dict.fromkeys(image for document, _, _ in entries for image in document.images)
    seen = {image: _pixels(image, image_size) for image in images}
    places = {image: place for place, image in enumerate(images)}
    shown: list[int] = []
    for row, (document, emphasis, _) in enumerate(entries):
        tokens[row, : len(document)] = torch.tensor(document.tokens)
        if all(seen[image] is not None for image in document.images):
            weights[row, : len(document)] = emphasis * torch.tensor(document.weights)
        shown += [places[image] for image in document.images]
    blank = torch.zeros(3, image_size, image_size)
    return Part(
        tokens,
        weights,
        torch.tensor([number for _, _, number in entries]),
        torch.stack([blank if pixels is None else pixels for pixels in seen.values()]) if seen else blank[None][:0],
        torch.tensor(shown, dtype=torch.long),
    )


def _pixels(image: Image, side: int) -> Tensor | None:
    try:
        return to_tensor(image.pixels(), side)
    except BadImage as error:
        skip(Skipped(image.name, str(error)))
        return None


def in_step(parts: Sequence[Part], number: int, *, image_size: int) -> list[Part]:
    """So many parts, each with an image, be it one that is not shown: ranks that compute together need the same."""
    more = [part([NOTHING], image_size=image_size) for _ in range(number - len(parts))]
    unseen = torch.zeros(1, 3, image_size, image_size)
    return [one if len(one.pixels) else replace(one, pixels=unseen) for one in (*parts, *more)]


def loader(batches: Batches, steps: range, *, workers: int) -> DataLoader[list[Part]]:
    """The batches of some steps in order, drawn ahead by ``workers`` processes (0: in this one)."""
    ahead: dict[str, Any] = {"prefetch_factor": 2, "persistent_workers": True} if workers else {}
    own = torch.Generator()  # else it would draw from the random state of the run
    return DataLoader(batches, batch_size=None, sampler=steps, num_workers=workers, generator=own, **ahead)


def drawn(batches: DataLoader[list[Part]]) -> Iterator[list[Part]]:
    """What a loader draws; what the user can mend is said in one line, whichever process it happened in.

    Raises:
        BadData: if a stream is empty or cannot be read.
    """
    try:
        yield from batches
    except KosmosEvalError as error:
        line = str(error).strip().splitlines()[-1]  # the loader puts a traceback before it
        raise BadData(line.removeprefix(f"{type(error).__module__}.{type(error).__qualname__}: ")) from error
