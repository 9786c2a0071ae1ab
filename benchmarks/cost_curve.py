"""What scoring costs as names and demonstrations grow: in step with distinct tokens, not with tokens asked."""

from __future__ import annotations

import argparse
import statistics

from benchmarks.ceiling import ceiling
from benchmarks.models import MODELS, NAMES, digits, engine, images
from benchmarks.timing import one_thread, timed
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import LogLikelihood
from kosmos_model.adapters.kosmos import KosmosModel


def measure(subject: KosmosModel, *, names: int, shots: int, rounds: int) -> None:
    """Print one point of the curve: one image, named after some demonstrations."""
    shown = [Prompt(image, "The photo of the", f" {NAMES[number]}") for number, image in enumerate(images(shots))]
    prompt = Prompt.join([*shown, Prompt(*digits(1), "The photo of the")], separator="\n")
    requests = [LogLikelihood(prompt, tuple(f" {name}" for name in NAMES[:names]), terminated=True)]
    spent = [timed(lambda: list(engine(subject).answers(requests)))[0] for _ in range(1 + rounds)][1:]
    limit, seconds = ceiling(subject.tokenizer, requests), statistics.median(spent)
    micro = 1e6 * seconds / limit.distinct
    print(
        f"{names:5} names {shots:2} shots {1e3 * seconds:8.1f} ms {micro:6.1f} us a distinct token; {limit}", flush=True
    )


def main() -> None:
    """Print the curve of one model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=[*MODELS], default="nano")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    one_thread()
    subject = MODELS[asked.model]()
    for names in (1, 10, 100, 1000):
        measure(subject, names=names, shots=0, rounds=asked.rounds)
    for shots in (0, 1, 2, 4, 8, 16):
        measure(subject, names=100, shots=shots, rounds=asked.rounds)


if __name__ == "__main__":
    main()
