"""Eight answers to a question about a picture, scored by a LLaVA of random weights after 4 fixed demonstrations.

The other side is what harnesses do with transformers: a forward pass for each answer, its images encoded anew. It is
run on every few questions, and its time multiplied by as many.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks import llava, shapes
from benchmarks.timing import one_thread, race
from kosmos_eval.models.hf.model import HFModel, load
from kosmos_eval.prompt import Image
from kosmos_eval.request import Likelihoods, LogLikelihood

CHOICES = tuple(f" {colour}" for colour in shapes.COLOURS)


@torch.inference_mode()
def one_by_one(model: HFModel, request: LogLikelihood) -> list[float]:
    """The log-probability of each continuation from a pass of its own."""
    found = []
    for text in request.continuations:
        encoded, (continuation,) = model.encoder.encode_continuations(request.prompt, [text], Image.pixels, end=None)
        ids = [*encoded.ids, *continuation.ids]
        inputs = encoded.with_ids(ids)
        scores = model.engine.network(input_ids=torch.tensor([ids]), **inputs.tokenwise, **inputs.pixels).logits[0]
        said = range(len(encoded.ids) + continuation.start, len(ids))
        found.append(sum(float(scores[place - 1].log_softmax(-1)[ids[place]]) for place in said))
    return found


def measure(size: str, *, count: int, shots: int, every: int, rounds: int) -> None:
    """Print the ratio for one model."""
    with TemporaryDirectory() as folder:
        llava.save(size, Path(folder), shapes.sentences())
        model = load(folder, device="cpu", chat_template="none")
    requests = [LogLikelihood(shapes.prompt(row), CHOICES) for row in shapes.rows(count, shots)]

    def ours() -> list[Likelihoods]:
        model._states.clear()  # nothing is kept from one round to the next
        found = dict(model.answers(requests))
        return [output for _, output in sorted(found.items()) if isinstance(output, Likelihoods)]

    def theirs() -> list[list[float]]:
        return [one_by_one(model, request) for request in requests[::every]]

    timed, found, (expected,) = race(ours, [theirs], rounds=rounds, warm=False)
    pairs = [
        (one, other)
        for output, reference in zip(found[::every], expected, strict=True)
        for one, other in zip(output.logprobs, reference, strict=True)
    ]
    apart = max(abs(one - other) for one, other in pairs)
    assert apart < 1e-5, apart
    timed = replace(timed, theirs=[every * time for time in timed.theirs])
    print(f"{size:5}  {shots} shots, {count} questions of {len(CHOICES)} answers  {timed}; apart {apart:.0e}")


def main() -> None:
    """Measure one size or both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=[*llava.SIZES, "all"], default="all")
    parser.add_argument("--shots", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    one_thread()
    for size, count, every in (("tiny", 40, 2), ("small", 40, 10)):
        if asked.size in (size, "all"):
            measure(size, count=count, shots=asked.shots, every=every, rounds=asked.rounds)


if __name__ == "__main__":
    main()
