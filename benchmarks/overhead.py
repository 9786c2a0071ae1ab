"""How much of an evaluation is not the model: harness and engine, over many short requests."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.models import MODELS
from benchmarks.timing import one_thread, seconds, timed
from kosmos_eval.evaluate import evaluate
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.runs import opened
from kosmos_eval.sample import Sample
from kosmos_eval.task import Score


@dataclass(frozen=True)
class Sums:
    """Is a sum right? Short questions, as many as one likes."""

    count: int

    def samples(self) -> Sequence[Sample]:
        return [
            Sample(
                str(n),
                Prompt(f"Question: Is {n} + {n % 7} = {n + n % 5}? Answer:"),
                target="yes",
                choices=("yes", "no"),
            )
            for n in range(self.count)
        ]

    def examples(self) -> Sequence[Sample]:
        return self.samples()

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[LogLikelihood]:
        return [LogLikelihood(sample.prompt, (" yes", " no"))]

    def score(self, sample: Sample, outputs: Sequence[Likelihoods]) -> Score:
        return Score({"acc": float(outputs[0].logprobs[0] > outputs[0].logprobs[1])}, "yes")


class Clock:
    """Counts the seconds that a function takes, however often it is called."""

    def __init__(self, run: Callable[..., Any]) -> None:
        self.run, self.total = run, 0.0

    def __call__(self, *given: Any, **named: Any) -> Any:
        start = seconds()
        found = self.run(*given, **named)
        self.total += seconds() - start
        return found


def main() -> None:
    """Print what of an evaluation's time is spent in the decoder's passes, and what is not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=[*MODELS], default="mid")
    parser.add_argument("--requests", type=int, default=5000)
    asked = parser.parse_args()
    one_thread()
    subject = MODELS[asked.model]()
    decoder: Any = subject.model.decoder
    passes, logits = Clock(decoder.hidden), Clock(decoder.logits)
    decoder.hidden, decoder.logits = passes, logits
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder) / "run", {}) as run:
        whole, _ = timed(lambda: evaluate(subject, {"sums": Sums(asked.requests)}, run=run))
    inside = passes.total + logits.total
    rest = whole - inside
    said = f"all else {100 * rest / whole:.1f} % ({1e3 * rest / asked.requests:.2f} ms a request)"
    print(f"{asked.model} {asked.requests} requests in {whole:.1f} s, model {inside:.1f} s, {said}")


if __name__ == "__main__":
    main()
