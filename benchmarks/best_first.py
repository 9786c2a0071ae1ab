"""ImageNet, the best of 1,000 names, certified: the engine's search against scoring every name behind a cached context.

The other side is OpenFlamingo's way, built well: the context of an image is computed once and its keys and values are
cached, names are sorted by length and batched by 64 behind it, and logits are made only where they are needed. Both
sides use this package's attention, and both encode each image once. With ``--against tree`` it is the engine itself,
asked for all names.

What is shown are handwritten digits, and ten of the ``known`` names are theirs. None of the ``imagenet`` names is: to
kosmos-nano they are all about as unlikely as to random weights, and a mean over many tokens hardly excludes any.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.models import KNOWN, MODELS, NAMES, digits, engine, untrained
from benchmarks.stock import batches
from benchmarks.timing import one_thread, race
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_model.adapters.kosmos import KosmosModel
from kosmos_model.engine import best_first_runner
from kosmos_model.engine.best_first import BestFirstSearch, Floats
from kosmos_model.engine.encoding import continuation_tree
from kosmos_model.engine.token_tree import Ints
from kosmos_model.modeling.tokenizer import EOS

BATCH = 64
SETS = {"known": KNOWN, "imagenet": NAMES}
RULES: dict[str, Literal["sum", "mean per token"]] = {"sum": "sum", "mean": "mean per token"}


class Counted(BestFirstSearch):
    """A search that counts the nodes of all."""

    nodes = 0

    def update(self, rows: Ints, nodes: Ints, *, found: tuple[Ints, Ints, Floats, NDArray[np.bool_]]) -> None:
        """Count what was computed, and go on."""
        Counted.nodes += int((nodes >= 0).sum())
        super().update(rows, nodes, found=found)


@torch.inference_mode()
def behind_a_cache(subject: KosmosModel, request: LogLikelihood) -> list[float]:
    """The log-probability of every continuation of a prompt, whose own tokens are computed once."""
    model, tokenizer = subject.model, subject.tokenizer
    ids, images = tokenizer.prompt(request.prompt)
    embedded = model.embed_images(torch.stack([subject.pixels(image) for image in images]))
    context = model.embed(torch.tensor([ids]), embedded)
    cache = model.decoder.cache(context, capacity=len(ids))
    first = model.decoder.logits(model.decoder.hidden(context, cache=cache)[:, -1]).log_softmax(-1)
    names = [
        [*tokenizer.prompt(request.prompt + text)[0][len(ids) :], *[EOS] * request.terminated]
        for text in request.continuations
    ]
    found = torch.zeros(len(names))
    for indices in batches([(name, 0) for name in names], BATCH):
        longest = max(len(names[index]) for index in indices)
        tokens = torch.zeros(len(indices), longest, dtype=torch.long)
        for row, index in zip(tokens, indices, strict=True):
            row[: len(names[index])] = torch.tensor(names[index])
        lengths = torch.tensor([len(names[index]) for index in indices])
        zeros = torch.zeros(len(indices), dtype=torch.long)
        rows = cache.select(zeros, torch.arange(len(ids)).expand(len(indices), -1), spare=longest - 1)
        states = model.decoder.hidden(model.decoder.embed_tokens(tokens[:, :-1]), cache=rows)
        row, place = torch.nonzero(torch.arange(1, longest) < lengths[:, None], as_tuple=True)
        after = model.decoder.logits(states[row, place]).log_softmax(-1)
        sums = first[0, tokens[:, 0]].index_add(0, row, after.gather(1, tokens[row, place + 1][:, None])[:, 0])
        found[indices] = sums
    return found.tolist()


def agree(requests: Sequence[LogLikelihood], found: Sequence[Likelihoods], expected: Sequence[list[float]]) -> None:
    """Assert that the best are the best, exactly, and that the others are bounded."""
    for request, likelihoods, reference in zip(requests, found, expected, strict=True):
        divisors = likelihoods.tokens if request.by != "sum" else [1] * len(reference)
        scores = [value / divisor for value, divisor in zip(reference, divisors, strict=True)]
        order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
        for index, at_most in enumerate(likelihoods.at_most or [False] * len(scores)):
            apart = likelihoods.logprobs[index] - reference[index]
            assert apart > -1e-4 if at_most else abs(apart) < 1e-4
        for index in order[: request.best]:
            exact = not (likelihoods.at_most and likelihoods.at_most[index])
            assert exact or scores[index] < scores[order[(request.best or 1) - 1]] + 1e-4


def every(subject: KosmosModel, requests: Sequence[LogLikelihood]) -> list[list[float]]:
    """The log-probability of every continuation, by the engine's tree of all of them."""
    found = dict(engine(subject).answers([replace(request, best=None) for request in requests]))
    return [list(output.logprobs) for _, output in sorted(found.items()) if isinstance(output, Likelihoods)]


def measure(subject: KosmosModel, names: Sequence[str], *, by: str, images: int, rounds: int, tree: bool) -> None:
    """Print what the best one and the best five cost, by one rule."""
    texts = tuple(f" {each}" for each in names)
    prompts = [Prompt(image, "The photo of the") for image in digits(images)]
    for best in (1, 5):
        requests = [LogLikelihood(p, texts, terminated=True, best=best, by=RULES[by]) for p in prompts]

        def ours(asked: list[LogLikelihood] = requests) -> dict[int, object]:
            Counted.nodes = 0
            return dict(engine(subject).answers(asked))

        def theirs(asked: list[LogLikelihood] = requests) -> list[list[float]]:
            return every(subject, asked) if tree else [behind_a_cache(subject, request) for request in asked]

        timed, found, (expected,) = race(ours, [theirs], rounds=rounds, warm=rounds > 1)
        likelihoods = [found[index] for index in range(images)]
        agree(requests, [each for each in likelihoods if isinstance(each, Likelihoods)], expected)
        _, after = continuation_tree(subject.tokenizer, prompts[0], texts, terminated=True)
        nodes = f"{Counted.nodes / images:,.0f} of {len(after.tree):,} nodes an image"
        print(f"top {best} by {RULES[by]:14} {timed}  {nodes}", flush=True)


def main() -> None:
    """Measure one model."""
    models = {**MODELS, "untrained": untrained}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=[*models], default="nano")
    parser.add_argument("--names", choices=[*SETS], default="known")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rules", nargs="+", choices=[*RULES], default=[*RULES])
    parser.add_argument("--against", choices=["cache", "tree"], default="cache")
    asked = parser.parse_args()
    one_thread()
    best_first_runner.BestFirstSearch = Counted  # type: ignore[misc]
    subject, tree = models[asked.model](), asked.against == "tree"
    print(f"{asked.model}, {asked.names} names, against {asked.against}", flush=True)
    for by in asked.rules:
        measure(subject, SETS[asked.names], by=by, images=asked.images, rounds=asked.rounds, tree=tree)


if __name__ == "__main__":
    main()
