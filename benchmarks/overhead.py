"""How much of an evaluation is not the model: harness and engine, over many short requests."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from benchmarks.models import MODELS
from benchmarks.timing import one_thread, seconds, timed
from kosmos_eval.evaluation.evaluator import evaluate
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.sample import Sample
from kosmos_eval.task import Score, Task
from kosmos_model.engine.layers import Layers


@dataclass(frozen=True)
class Sums(Task):
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


@contextmanager
def clocked(owner: type, name: str, spent: list[float]) -> Iterator[None]:
    """Note the seconds of every call of a method."""
    method = getattr(owner, name)

    @wraps(method)
    def noted(*given: Any, **named: Any) -> Any:
        start = seconds()
        try:
            return method(*given, **named)
        finally:
            spent.append(seconds() - start)

    setattr(owner, name, noted)
    try:
        yield
    finally:
        setattr(owner, name, method)


def main() -> None:
    """Print what of an evaluation's time is spent in the decoder's passes, and what is not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=[*MODELS], default="mid")
    parser.add_argument("--requests", type=int, default=5000)
    asked = parser.parse_args()
    one_thread()
    subject = MODELS[asked.model]()
    spent: list[float] = []
    with ExitStack() as stack:
        out = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "run"
        for name in ("__init__", "hidden", "logits"):  # its weights are laid out once
            stack.enter_context(clocked(Layers, name, spent))
        whole, _ = timed(lambda: evaluate(subject, {"sums": Sums(asked.requests)}, out=out))
    inside = sum(spent)
    rest = whole - inside
    said = f"all else {100 * rest / whole:.1f} % ({1e3 * rest / asked.requests:.2f} ms a request)"
    print(f"{asked.model} {asked.requests} requests in {whole:.1f} s, model {inside:.1f} s, {said}")


if __name__ == "__main__":
    main()
