"""Requests answered together: one tree of all their tokens, each computed once (KOSMOS-1 section 4).

Answers are those of each request alone, up to the rounding of floating-point sums.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from kosmos_eval.errors import BadImage
from kosmos_eval.model import Work
from kosmos_eval.models.decoding import Search, Trie
from kosmos_eval.prompt import Image
from kosmos_eval.request import Completion, Failure, Generate, LogLikelihood, Output, Request
from kosmos_model.engine.batched_search import Decoding
from kosmos_model.engine.best_first import TrieIndex, trie_index
from kosmos_model.engine.best_first_runner import BestFirstRunner
from kosmos_model.engine.decode_step import DecodeStep
from kosmos_model.engine.encoding import ContinuationTree, choices, continuation_tree, prompt_ids
from kosmos_model.engine.image_cache import ImageCache
from kosmos_model.engine.layers import Layers
from kosmos_model.engine.prefill import Budget, EmbeddingTable, prefill
from kosmos_model.engine.scoring import Scores
from kosmos_model.engine.token_tree import Ints, Tree, attach
from kosmos_model.modeling.kosmos import Kosmos
from kosmos_model.modeling.tokenizer import EOS, PromptTokenizer

Answer = tuple[int, Output]

WINDOW = 16_384  # sequences planned together, at most: prompts, or continuations of them


@dataclass(frozen=True)
class EncodedRequest:
    """A request of a window: its prompt's tokens, as far as all that follows has them in common, and what follows."""

    index: int
    request: Request
    ids: list[int]
    continuations: ContinuationTree | None = None
    trie_index: TrieIndex | None = None
    choices: Trie | None = None


class Engine:
    """A model that answers many requests at once.

    Args:
        model: in evaluation mode, on its device.
        tokenizer: of the model.
        pixels: an image -> (3, H, W) as the model sees it; it raises `BadImage`.
        budget: of one batch.
        images: embeddings held at once; a window has no more distinct images unless one request has.
    """

    def __init__(
        self,
        model: Kosmos,
        tokenizer: PromptTokenizer,
        *,
        pixels: Callable[[Image], Tensor],
        budget: Budget,
        images: int = 4096,
    ) -> None:
        self.model, self.tokenizer, self.budget, self.images = model, tokenizer, budget, images
        weight = model.decoder.embed_tokens.weight
        self.image_cache = ImageCache(
            lambda batch: model.embed_images(batch.to(weight.device, weight.dtype)), pixels=pixels, capacity=images
        )
        self.work = Work()
        self._forbidden = torch.tensor(tokenizer.unspoken, dtype=torch.long, device=weight.device)

    def answers(self, requests: Sequence[Request]) -> Iterator[tuple[int, Output | Failure]]:
        """Answer each request once, in any order, with its index."""
        window: dict[int, Request] = {}
        images: dict[str, Image] = {}
        sequences = 0
        for index, request in enumerate(requests):
            try:
                own = {image.digest: image for image in request.prompt.images}
            except BadImage as error:
                yield index, Failure(str(error))
                continue
            more = len(request.continuations) if isinstance(request, LogLikelihood) and not request.best else 1
            if window and (sequences + more > WINDOW or len(images.keys() | own.keys()) > self.images):
                yield from self._window(window, images)
                window, images, sequences = {}, {}, 0
            sequences += more
            window[index] = request
            images |= own
        if window:
            yield from self._window(window, images)

    def _window(
        self, requests: Mapping[int, Request], images: Mapping[str, Image]
    ) -> Iterator[tuple[int, Output | Failure]]:
        with torch.inference_mode():
            embedded, failed = self.image_cache.embeddings(images)
        self.work.images_encoded = self.image_cache.encoded
        first = self.model.decoder.embed_tokens.num_embeddings
        slots = {digest: first + number * self.tokenizer.slots for number, digest in enumerate(embedded)}
        asked: list[EncodedRequest] = []
        for index, request in requests.items():
            broken = [failed[image.digest] for image in request.prompt.images if image.digest in failed]
            if broken:
                yield index, Failure(str(broken[0]))
            elif isinstance(request, Generate) and request.choices == ():
                yield index, Failure("there are no choices to choose from")
            elif isinstance(request, Generate) and request.max_tokens < 1 and not request.choices:
                yield index, Completion("", finished=False, logprob=0.0)
            else:
                asked.append(self._asked(index, request, slots))
        if asked:
            weight = self.model.decoder.embed_tokens.weight
            table = torch.cat(list(embedded.values())) if embedded else weight.new_empty(0, weight.shape[1])
            yield from _without_gradients(self._planned(asked, EmbeddingTable(self.model.decoder, table)))

    def _asked(self, index: int, request: Request, slots: Mapping[str, int]) -> EncodedRequest:
        ids = prompt_ids(self.tokenizer, request.prompt, slots=slots)
        self.work.images_asked += len(request.prompt.images)
        if isinstance(request, LogLikelihood):
            root, after = continuation_tree(
                self.tokenizer, request.prompt, request.continuations, terminated=request.terminated
            )
            leaves = after.tree.leaves[after.tree.leaves >= 0]
            self.work.tokens_asked += root * len(request.continuations) + int((after.tree.depths[leaves] + 1).sum())
            return EncodedRequest(
                index, request, ids[:root], continuations=after, trie_index=trie_index(request, after)
            )
        self.work.tokens_asked += len(ids)
        if not request.choices:
            return EncodedRequest(index, request, ids)
        root, trie = choices(self.tokenizer, request.prompt, request.choices)
        return EncodedRequest(index, request, ids[:root], choices=trie)

    def _planned(self, asked: Sequence[EncodedRequest], embeddings: EmbeddingTable) -> Iterator[tuple[int, Output]]:
        prompts = Tree.build([one.ids for one in asked])
        scored = [
            (one.index, one.continuations, int(leaf))
            for one, leaf in zip(asked, prompts.leaves, strict=True)
            if one.continuations and not one.trie_index
        ]
        after = [one for _, one, _ in scored]
        tree, roots, starts = attach(prompts, [leaf for _, _, leaf in scored], [one.tree for one in after])
        scores = Scores(after, roots=roots, starts=starts)
        owners: dict[Search, int] = {}
        starting: dict[int, list[Search]] = defaultdict(list)
        best_first = BestFirstRunner(self._layers)
        for one, leaf in zip(asked, tree.leaves.tolist(), strict=True):
            if isinstance(one.request, Generate):
                search = Search(one.request, decode=self.tokenizer.decode, ends=(EOS,), choices=one.choices)
                owners[search] = one.index
                starting[leaf].append(search)
            elif one.trie_index:
                best_first.add(leaf, one.trie_index, wanted=one.request.best or 1, index=one.index)
        continued = np.array(sorted({*starting, *best_first.leaves}), dtype=np.int64)
        decodings = self._decodings(tree, continued, {search.request.beams for search in owners})
        yield from ((scored[number][0], output) for number, output in scores.without_tokens())
        for batch in prefill(
            self._layers, tree, embeddings, budget=self.budget, scored=scores.nodes, continued=continued
        ):
            yield from ((scored[number][0], output) for number, output in scores.fill(self._layers, batch))
            yield from best_first.run(batch)
            started = [(node, one) for node in continued[batch.within(continued)].tolist() for one in starting[node]]
            for width, decoding in decodings.items():
                over = decoding.run(batch, [(node, one) for node, one in started if one.request.beams == width])
                yield from ((owners[search], self._completion(search)) for search in over)
        for decoding in decodings.values():
            yield from ((owners[search], self._completion(search)) for search in decoding.finish())
        for part in best_first.fallback(most=WINDOW):
            yield from self._planned([replace(one, trie_index=None) for one in asked if one.index in part], embeddings)

    def _decodings(self, tree: Tree, continued: Ints, widths: Iterable[int]) -> dict[int, Decoding]:
        """Return where searches run, by their width."""
        return {
            width: Decoding(
                DecodeStep(self._layers), tree, continued, width=width, forbidden=self._forbidden, budget=self.budget
            )
            for width in sorted(widths)
        }

    @cached_property
    def _layers(self) -> Layers:
        return Layers(self.model.decoder, self.work)

    def _completion(self, search: Search) -> Completion:
        found = search.completion()
        self.work.tokens_asked += search.request.beams * (found.tokens - 1)  # the last is not fed again
        return found


def _without_gradients(steps: Iterator[Answer]) -> Iterator[Answer]:
    """Take each step in inference mode, but leave it while the caller holds the answer."""
    while True:
        with torch.inference_mode():
            try:
                step = next(steps)
            except StopIteration:
                return
        yield step
