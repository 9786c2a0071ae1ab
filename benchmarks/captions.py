"""Captions of 64 tokens, 8 images by beams of 5 and 32 greedily: the engine against stock TorchScale's own decoding.

The end of text is forbidden on both sides, so that every caption has 64 tokens whatever the weights. No token is shared
here, and both sides multiply alike: the ceiling is the time of stock TorchScale over the time that our products of
weights would take alone, at the rate of a large product of matrices on the same core.
"""

from __future__ import annotations

import argparse
from statistics import median

import torch

from benchmarks.models import MODELS, engine, images
from benchmarks.stock import Stock
from benchmarks.stock_decoding import beams, embedded, encoded, greedy
from benchmarks.timing import one_thread, race
from benchmarks.timing import timed as clocked
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Completion, Generate
from kosmos_model.engine.engine import Engine
from kosmos_model.modeling.tokenizer import EOS

TOKENS = 64


def measure(name: str, *, count: int, width: int, rounds: int) -> None:
    """Print the ratio for one model, so many images and so many beams."""
    subject = MODELS[name]()
    size = subject.model.config.vocab_size
    subject.tokenizer.unspoken = (*subject.tokenizer.unspoken, EOS, *range(len(subject.tokenizer), size))
    forbidden = torch.tensor(subject.tokenizer.unspoken)
    stock = Stock(subject)
    requests = [Generate(Prompt(image, "An image of"), TOKENS, beams=width) for image in images(count)]
    engines: list[Engine] = []

    def ours() -> list[str]:
        engines.append(engine(subject))
        found = dict(engines[-1].answers(requests))
        return [output.text for _, output in sorted(found.items()) if isinstance(output, Completion)]

    def theirs() -> list[str]:
        with torch.inference_mode():
            prompts = embedded(stock, requests, encoded(stock, requests))
        if width > 1:
            found = beams(stock, prompts, width=width, tokens=TOKENS, forbidden=forbidden)
        else:
            found = greedy(stock, prompts, tokens=TOKENS, forbidden=forbidden, over=lambda text: False)
        return [stock.tokenizer.decode(text) for text in found]

    timed, found, (expected,) = race(ours, [theirs], rounds=rounds, warm=name == "nano")
    same = sum(a == b for a, b in zip(found, expected, strict=True))
    assert same == count, f"{same} of {count} texts are the same"
    kind = f"beams of {width}" if width > 1 else "greedy"
    products = engines[-1].work.flops / product_rate()
    ceiling = f"ceiling {median(timed.theirs) / products:.1f} x"
    print(f"{name:5}  {count:3} images, {kind:10}  {timed}; {count * TOKENS} tokens, the same texts: {ceiling}")


def product_rate(side: int = 1024) -> float:
    """Operations a CPU second of a large product of matrices, the best of some."""
    factor = torch.randn(side, side)
    return 2 * side**3 / min(clocked(lambda: factor @ factor)[0] for _ in range(10))


def main() -> None:
    """Measure one model or both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=[*MODELS, "all"], default="all")
    parser.add_argument("--rounds", type=int, default=5, help="of the small model; a third of them of the other")
    asked = parser.parse_args()
    one_thread()
    for name in MODELS:
        if asked.model in (name, "all"):
            rounds = asked.rounds if name == "nano" else max(1, asked.rounds // 3)
            measure(name, count=8, width=5, rounds=rounds)
            measure(name, count=32, width=1, rounds=rounds)


if __name__ == "__main__":
    main()
