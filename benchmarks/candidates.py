"""Raven: which of 6 or 8 images completes a 3 x 3 matrix? The engine against one prompt per candidate, batched.

The other side is stock TorchScale; it encodes each image once and makes logits only where they are needed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from benchmarks.ceiling import ceiling
from benchmarks.models import MODELS, engine, images
from benchmarks.stock import Stock
from benchmarks.timing import one_thread, race
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_model.adapters.kosmos import KosmosModel
from kosmos_tasks.raven_iq import question


def together(subject: KosmosModel, requests: Sequence[LogLikelihood]) -> list[float]:
    """log p("Yes") of each candidate, by the engine."""
    found = dict(engine(subject).answers(requests))
    return [output.logprobs[0] for _, output in sorted(found.items()) if isinstance(output, Likelihoods)]


@torch.inference_mode()
def one_by_one(stock: Stock, requests: Sequence[LogLikelihood]) -> list[float]:
    """The same, a row of a batch for each prompt."""
    different = {image.digest: image for request in requests for image in request.prompt.images}
    pixels = torch.stack([stock.subject.pixels(image) for image in different.values()])
    encoded = dict(zip(different, stock.model.embed_images(pixels), strict=True))
    sequences = [sequence for request in requests for sequence in stock.sequences(request)]
    rows = [encoded[image.digest] for request in requests for image in request.prompt.images]
    return stock.logprobs(sequences, rows, shared=False)


def measure(name: str, *, candidates: int, rounds: int) -> None:
    """Print the ratio for one puzzle."""
    subject = MODELS[name]()
    stock = Stock(subject)
    context, offered = images(8), images(candidates, seed=1)
    requests = [LogLikelihood(question(context, candidate), (" Yes",)) for candidate in offered]
    timed, found, (expected,) = race(
        lambda: together(subject, requests), [lambda: one_by_one(stock, requests)], rounds=rounds, warm=rounds > 1
    )
    apart = max(abs(a - b) for a, b in zip(found, expected, strict=True))
    assert apart < 1e-4, apart
    limit = ceiling(subject.tokenizer, requests)
    share = 100 * timed.ratio / limit.ratio
    print(
        f"{name:5} {candidates} candidates  {timed}  {share:3.0f} % of the ceiling; {limit}; apart {apart:.0e}",
        flush=True,
    )


def main() -> None:
    """Measure models and numbers of candidates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="+", choices=[*MODELS], default=[*MODELS])
    parser.add_argument("--candidates", type=int, nargs="+", default=[6, 8])
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    one_thread()
    for name in asked.model:
        for candidates in asked.candidates:
            measure(name, candidates=candidates, rounds=asked.rounds)


if __name__ == "__main__":
    main()
