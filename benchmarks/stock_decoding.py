"""Incremental decoding on stock TorchScale: its cache grows by a copy at every step, and is reordered for beams.

It continues prompts of one length only: padding on the left gives it NaN, and on the right other positions.

Shapes: B prompts, S tokens, K beams, D width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.stock import Stock
from kosmos_eval.request import Generate

Over = Callable[[list[int]], bool]


def encoded(stock: Stock, requests: Sequence[Generate]) -> Mapping[str, Tensor]:
    """The embedding (Q, D) of each distinct image, by digest."""
    different = {image.digest: image for request in requests for image in request.prompt.images}
    pixels = torch.stack([stock.subject.pixels(image) for image in different.values()])
    found = [stock.model.embed_images(part) for part in pixels.split(64)]
    return dict(zip(different, torch.cat(found), strict=True))


def embedded(stock: Stock, requests: Sequence[Generate], images: Mapping[str, Tensor]) -> Tensor:
    """(B, S, D) the prompts of requests, all of one length."""
    ids = [stock.tokenizer.prompt(request.prompt)[0] for request in requests]
    shown = [images[image.digest] for request in requests for image in request.prompt.images]
    return stock.embedded(ids, shown)


class _Incremental:
    """A batch in progress: TorchScale's state of it, and the scores (B, V) of what comes next."""

    def __init__(self, stock: Stock, prompts: Tensor, *, forbidden: Tensor) -> None:
        self.stock, self.forbidden = stock, forbidden
        self.state: dict[Any, Any] = {"is_first_step": True}
        self.scores = self._scored(torch.zeros(prompts.shape[:2], dtype=torch.long), prompts)
        self.state["is_first_step"] = False

    def feed(self, tokens: Tensor) -> None:
        """Add a token (B,) to each row."""
        self.scores = self._scored(tokens[:, None])

    def reorder(self, rows: Tensor) -> None:
        """Continue these rows (B,)."""
        for layer in range(len(self.stock.decoder.layers)):
            for name in ("prev_key", "prev_value"):
                self.state[layer][name] = self.state[layer][name].index_select(0, rows)

    def _scored(self, tokens: Tensor, embeddings: Tensor | None = None) -> Tensor:
        states = self.stock.decoder(
            tokens, token_embeddings=embeddings, incremental_state=self.state, features_only=True
        )[0]
        scores = self.stock.logits(states[:, -1]).log_softmax(-1)
        scores[:, self.forbidden] = -math.inf
        return scores


@torch.inference_mode()
def greedy(stock: Stock, prompts: Tensor, *, tokens: int, forbidden: Tensor, over: Over) -> list[list[int]]:
    """The most probable tokens after each prompt (B, S, D), until a text is over or has so many."""
    batch = _Incremental(stock, prompts, forbidden=forbidden)
    found: list[list[int]] = [[] for _ in prompts]
    done = [False] * len(found)
    while True:
        best = batch.scores.argmax(-1)
        for row, token in enumerate(best.tolist()):
            if not done[row]:
                found[row].append(token)
                done[row] = len(found[row]) == tokens or over(found[row])
        if all(done):
            return found
        batch.feed(best)


@torch.inference_mode()
def beams(stock: Stock, prompts: Tensor, *, width: int, tokens: int, forbidden: Tensor) -> list[list[int]]:
    """The best of K texts after each prompt (B, S, D), all of the same number of tokens."""
    batch, count = _Incremental(stock, prompts, forbidden=forbidden), len(prompts)
    size = batch.scores.shape[-1]
    rows = torch.arange(count).repeat_interleave(width)
    batch.reorder(rows)
    batch.scores = batch.scores[rows]
    sums = torch.full((count, width), -math.inf)
    sums[:, 0] = 0
    texts = torch.empty(count * width, 0, dtype=torch.long)
    while True:
        total = sums[..., None] + batch.scores.view(count, width, size)  # (B, K, V)
        sums, place = total.flatten(1).topk(width)
        parents = (place // size + width * torch.arange(count)[:, None]).flatten()
        texts = torch.cat([texts[parents], (place % size).view(-1, 1)], dim=1)
        if texts.shape[1] == tokens:
            return texts.view(count, width, tokens)[:, 0].tolist()  # the first is the best: all are as long
        batch.reorder(parents)
        batch.feed(texts[:, -1])
