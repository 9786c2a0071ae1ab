"""Batches: the documents of a step, cut into micro-batches that the model reads at once.

Shapes: B documents of a micro-batch, S tokens of the longest, I images of it in reading order, U different ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.utils.data
from torch import Tensor
from torch.utils.data import DataLoader

from kosmos_eval.errors import BadData, BadImage, KosmosEvalError
from kosmos_eval.files import Json
from kosmos_eval.prompt import Image
from kosmos_model.data.datasets import Dataset, documents, running
from kosmos_model.data.documents import Document
from kosmos_model.data.files import skip
from kosmos_model.data.formats import Skipped
from kosmos_model.modeling.image import to_tensor
from kosmos_model.modeling.tokenizer import BOS, EOS, PAD, Tokenizer


@dataclass(frozen=True)
class MicroBatch:
    """Documents padded on the right; each different image is there once.

    Args:
        tokens: (B, S) ids.
        weights: (B, S) how much the prediction of each token counts.
        kinds: (B,) the number of each document's dataset.
        pixels: (U, 3, H, W) the different images.
        shown: (I,) which of them each image is.
    """

    tokens: Tensor
    weights: Tensor
    kinds: Tensor
    pixels: Tensor
    shown: Tensor

    def to(self, device: torch.device) -> MicroBatch:
        """Return the micro-batch on a device."""
        return MicroBatch(*(getattr(self, name).to(device, non_blocking=True) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Plan:
    """The settings that decide the batches of a run.

    Args:
        datasets: what a step reads.
        seed: decides the documents of each step.
        context_length: the longest document, in tokens.
        micro_batch_tokens: the most tokens of a micro-batch, padding included, unless one document is longer.
        image_size: side of the images, in pixels.
        rank: which share of each batch is read here.
        ranks: how many shares there are.
    """

    datasets: tuple[Dataset, ...]
    seed: int
    context_length: int
    micro_batch_tokens: int
    image_size: int
    rank: int = 0
    ranks: int = 1


class Batches(torch.utils.data.Dataset[list[MicroBatch]]):
    """The batch of each step, a pure function of its number."""

    def __init__(self, plan: Plan, tokenizer: Tokenizer) -> None:
        self.plan, self.tokenizer = plan, tokenizer

    def __getitem__(self, step: int) -> list[MicroBatch]:
        """Return the micro-batches of a step, shortest documents first.

        Raises:
            BadData: if a dataset is empty.
        """
        plan, begun = self.plan, step
        found: list[Entry] = []
        drawn: list[Entry] = []
        for number, dataset in running(plan.datasets, step):
            which = {"seed": plan.seed, "step": step, "length": plan.context_length}
            if not dataset.paths:
                made = documents(dataset, self.tokenizer, **which)
                drawn += ((document, dataset.emphasis, number) for document in made)
                continue
            # a share of files is a document at least: of few tokens there are few shares, dealt out in a ring
            shares = min(plan.ranks, max(1, dataset.tokens // plan.context_length))
            place = (plan.rank - begun) % plan.ranks
            begun += shares
            if place < shares:
                made = documents(dataset, self.tokenizer, **which, rank=place, ranks=shares)
                found += ((document, dataset.emphasis, number) for document in made)
        found += balance(drawn, plan.ranks)[plan.rank]
        found.sort(key=lambda entry: len(entry[0]))
        return [micro_batch(chosen, image_size=plan.image_size) for chosen in _cut(found, plan.micro_batch_tokens)]


Entry = tuple[Document, float, int]
NOTHING: Entry = (Document("", (BOS, EOS), (0.0, 0.0)), 0.0, 0)
"""A document that teaches nothing, for a rank that has read its share."""


IMAGE_TOKENS = 50
"""The number of tokens that cost as much to compute as one image does to encode; about so many of nano's."""


def balance(entries: Sequence[Entry], ranks: int) -> list[list[Entry]]:
    """Documents shared out, the dearest first, each to the rank with the least to compute."""
    shares: list[list[Entry]] = [[] for _ in range(ranks)]
    loads = [0] * ranks
    costs = [len(document) + IMAGE_TOKENS * len(document.images) for document, *_ in entries]
    for cost, entry in sorted(zip(costs, entries, strict=True), key=lambda priced: -priced[0]):
        idlest = loads.index(min(loads))
        shares[idlest].append(entry)
        loads[idlest] += cost
    return shares


def _cut(entries: Sequence[Entry], micro_batch_tokens: int) -> Iterator[list[Entry]]:
    """Neighbours of rising length, as many as fit when padded to the longest."""
    chosen: list[Entry] = []
    for entry in entries:
        if chosen and len(entry[0]) * (len(chosen) + 1) > micro_batch_tokens:
            yield chosen
            chosen = []
        chosen.append(entry)
    if chosen:
        yield chosen


def micro_batch(entries: Sequence[Entry], *, image_size: int) -> MicroBatch:
    """Documents with the emphasis and the number of their datasets as tensors.

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
    return MicroBatch(
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


def in_step(parts: Sequence[MicroBatch], number: int, *, image_size: int) -> list[MicroBatch]:
    """Return so many micro-batches, each with an image (maybe not shown): ranks that compute together need the same."""
    more = [micro_batch([NOTHING], image_size=image_size) for _ in range(number - len(parts))]
    unseen = torch.zeros(1, 3, image_size, image_size)
    return [one if len(one.pixels) else replace(one, pixels=unseen) for one in (*parts, *more)]


def loader(batches: Batches, steps: range, *, workers: int) -> DataLoader[list[MicroBatch]]:
    """Return the batches of some steps in order, drawn ahead by ``workers`` processes (0: in this one)."""
    ahead: Json = {"prefetch_factor": 2, "persistent_workers": True} if workers else {}
    own = torch.Generator()  # else it would draw from the random state of the run
    return DataLoader(batches, batch_size=None, sampler=steps, num_workers=workers, generator=own, **ahead)


def prefetch(batches: DataLoader[list[MicroBatch]]) -> Iterator[list[MicroBatch]]:
    """Yield the batches of a loader; errors that the user can fix are one line, whichever process they happened in.

    Raises:
        BadData: if a dataset is empty or cannot be read.
    """
    try:
        yield from batches
    except KosmosEvalError as error:
        line = str(error).strip().splitlines()[-1]  # the loader puts a traceback before it
        raise BadData(line.removeprefix(f"{type(error).__module__}.{type(error).__qualname__}: ")) from error
