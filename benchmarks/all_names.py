"""ImageNet, the log-likelihood of all 1,000 names: the engine against one sequence per name on stock TorchScale.

The other side sorts the sequences by length, batches them by 64, encodes each image once and makes logits only where
they are needed.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch

from benchmarks.ceiling import ceiling
from benchmarks.models import MODELS, NAMES, digits, engine
from benchmarks.stock import Stock, batches
from benchmarks.timing import one_thread, race
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood

BATCH = 64


def measure(name: str, *, rounds: int, parts: int) -> None:
    """Print the ratio for one model and one image."""
    subject = MODELS[name]()
    (image,) = digits(1)
    names = tuple(f" {each}" for each in NAMES)
    request = LogLikelihood(Prompt(image, "The photo of the"), names, terminated=True)
    stock = Stock(subject)
    sequences = stock.sequences(request)
    cut = batches(sequences, BATCH)

    def ours() -> Likelihoods:
        ((_, found),) = engine(subject).answers([request])
        assert isinstance(found, Likelihoods)
        return found

    def theirs(part: int) -> dict[int, float]:
        with torch.inference_mode():
            images = stock.encoded(request)
        found: dict[int, float] = {}
        for indices in cut[part::parts]:
            found |= zip(indices, stock.logprobs([sequences[index] for index in indices], images), strict=True)
        return found

    timed, found, expected = race(
        ours, [partial(theirs, part) for part in range(parts)], rounds=rounds, warm=name == "nano"
    )
    merged = {index: value for part in expected for index, value in part.items()}
    reference = [merged[index] for index in range(len(names))]
    apart = max(abs(a - b) for a, b in zip(found.logprobs, reference, strict=True))
    assert apart < 1e-4, apart
    assert max(range(len(names)), key=found.logprobs.__getitem__) == max(range(len(names)), key=reference.__getitem__)
    limit = ceiling(subject.tokenizer, [request])
    print(f"{name:5}  {timed}  {100 * timed.ratio / limit.ratio:3.0f} % of the ceiling; {limit}; apart {apart:.0e}")


def main() -> None:
    """Measure one model or both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=[*MODELS, "all"], default="all")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    one_thread()
    if asked.model in ("nano", "all"):
        measure("nano", rounds=asked.rounds, parts=1)
    if asked.model in ("mid", "all"):
        measure("mid", rounds=1, parts=4)


if __name__ == "__main__":
    main()
