"""TorchScale as it is, with the weights of one of our models: the side that the engine is measured against.

Shapes: B batch, S tokens, D width, V vocabulary.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from kosmos_eval.request import LogLikelihood
from kosmos_model.adapters.kosmos import KosmosModel
from kosmos_model.engine.encoding import continuation_tree
from kosmos_model.modeling.tokenizer import EOS

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # torch.jit.script, somewhere below torchscale
    from torchscale.architecture.decoder import Decoder
    from torchscale.component.embedding import TextEmbedding


class Stock:
    """A stock TorchScale decoder; images come in as embeddings.

    Args:
        subject: whose weights and tokenizer it has.
    """

    def __init__(self, subject: KosmosModel) -> None:
        self.subject, self.model, self.tokenizer = subject, subject.model, subject.tokenizer
        ours = subject.model.decoder
        self.decoder = Decoder(ours.args, TextEmbedding(ours.embed_tokens.num_embeddings, ours.embed_dim)).eval()
        self.decoder.load_state_dict(ours.state_dict())

    def embedded(self, ids: Sequence[Sequence[int]], images: Sequence[Tensor]) -> Tensor:
        """Token ids, padded on the right, and the embeddings (Q, D) of all their images in order -> (B, S, D)."""
        padded = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.long)
        for row, sequence in zip(padded, ids, strict=True):
            row[: len(sequence)] = torch.tensor(sequence)
        return self.model.embed(padded, torch.stack(list(images)) if images else None)

    def hidden(self, embeddings: Tensor) -> Tensor:
        """(B, S, D) -> (B, S, D); padding on the right, where causality hides it."""
        tokens = torch.zeros(embeddings.shape[:2], dtype=torch.long)
        states: Tensor = self.decoder(tokens, None, token_embeddings=embeddings, features_only=True)[0]
        return states

    def logits(self, states: Tensor) -> Tensor:
        """(N, D) -> (N, V)"""
        found: Tensor = self.decoder.output_projection(states)
        return found

    def encoded(self, request: LogLikelihood) -> list[Tensor]:
        """The embeddings (Q, D) of a prompt's images, in order; each distinct one is encoded once."""
        different = {image.digest: image for image in request.prompt.images}
        if not different:
            return []
        pixels = torch.stack([self.subject.pixels(image) for image in different.values()])
        found = dict(zip(different, self.model.embed_images(pixels), strict=True))
        return [found[image.digest] for image in request.prompt.images]

    def sequences(self, request: LogLikelihood) -> list[tuple[list[int], int]]:
        """For each continuation the ids of prompt and continuation, and where the continuation begins."""
        found = []
        for text in request.continuations:
            start, _ = continuation_tree(self.tokenizer, request.prompt, (text,), terminated=request.terminated)
            ids = [*self.tokenizer.prompt(request.prompt + text)[0], *[EOS] * request.terminated]
            found.append((ids, start))
        return found

    @torch.inference_mode()
    def logprobs(
        self, sequences: Sequence[tuple[list[int], int]], images: Sequence[Tensor], *, shared: bool = True
    ) -> list[float]:
        """Summed log-probabilities of continuations, a sequence for each, in one batch.

        Args:
            sequences: ids, and where what is scored begins.
            images: embeddings (Q, D) in reading order, of each sequence or of all one after the other.
            shared: which of both.
        """
        states = self.hidden(
            self.embedded([ids[:-1] for ids, _ in sequences], [*images] * (len(sequences) if shared else 1))
        )
        rows = [row for row, (ids, start) in enumerate(sequences) for _ in range(start, len(ids))]
        places = [place - 1 for ids, start in sequences for place in range(start, len(ids))]
        targets = torch.tensor([token for ids, start in sequences for token in ids[start:]])
        table = self.logits(states[rows, places]).log_softmax(-1)  # logits only where needed
        found = table.gather(1, targets[:, None]).flatten()
        sums = torch.zeros(len(sequences)).index_add(0, torch.tensor(rows), found)
        return [float(total) for total in sums]


def batches(sequences: Sequence[tuple[list[int], int]], size: int) -> list[list[int]]:
    """Indices of sequences, sorted by length and cut into batches."""
    order = sorted(range(len(sequences)), key=lambda index: -len(sequences[index][0]))
    return [order[start : start + size] for start in range(0, len(order), size)]
