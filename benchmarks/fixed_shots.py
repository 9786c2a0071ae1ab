"""Questions about images with the same 8 demonstrations each, answered greedily: demonstrations are computed once.

The other sides compute every prompt from its beginning, its images too, sorted by length and batched: stock TorchScale,
and the engine on prompts whose images are all different files. They are run on every few prompts, and their time is
multiplied by as many. Answers of kosmos-nano end by themselves; random weights never end, and are cut at 3 tokens.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from random import Random

import torch

from benchmarks.ceiling import ceiling
from benchmarks.models import MODELS, engine, images
from benchmarks.stock import Stock
from benchmarks.stock_decoding import embedded, encoded, greedy
from benchmarks.timing import one_thread, race
from kosmos_eval.prompt import Image, Part, Prompt
from kosmos_eval.request import Completion, Generate
from kosmos_model.adapters.kosmos import KosmosModel
from kosmos_model.modeling.tokenizer import EOS

BATCH = 32


def asked(number: int, shots: int, tokens: int) -> list[Generate]:
    """Questions of some lengths about images of their own."""
    random, pictures = Random(0), images(number + shots)

    def question() -> str:
        size = random.choice(("small", "large", "small red", "large blue"))
        return f"Question: What color is the {size} {random.choice(('circle', 'square'))}? Answer:"

    shown = Prompt.join([Prompt(image, question(), " blue") for image in pictures[number:]], separator="\n")
    separator = "\n" if shots else ""
    return [Generate(Prompt(shown, separator, image, question()), tokens, stop=("\n",)) for image in pictures[:number]]


def unshared(requests: Sequence[Generate]) -> list[Generate]:
    """The same requests with every picture a file of its own: bytes after the end of a PNG mean nothing."""
    number = count()

    def own(part: Part) -> Part:
        return Image(part.encoded() + str(next(number)).encode()) if isinstance(part, Image) else part

    return [replace(request, prompt=Prompt(*map(own, request.prompt.parts))) for request in requests]


def answered(subject: KosmosModel, requests: Sequence[Generate]) -> list[str]:
    """What the engine says."""
    found = dict(engine(subject).answers(requests))
    return [output.text for _, output in sorted(found.items()) if isinstance(output, Completion)]


def from_scratch(stock: Stock, requests: Sequence[Generate], forbidden: torch.Tensor) -> list[str]:
    """What stock TorchScale says, prompts of one length together."""
    lengths: dict[int, list[int]] = defaultdict(list)
    for index, request in enumerate(requests):
        lengths[len(stock.tokenizer.prompt(request.prompt)[0])].append(index)
    texts = [""] * len(requests)
    with torch.inference_mode():
        pictures = encoded(stock, requests)
    for indices in lengths.values():
        for start in range(0, len(indices), BATCH):
            part = indices[start : start + BATCH]
            found = greedy(
                stock,
                embedded(stock, [requests[index] for index in part], pictures),
                tokens=requests[0].max_tokens,
                forbidden=forbidden,
                over=lambda text: text[-1] == EOS or "\n" in stock.tokenizer.decode(text),
            )
            for index, text in zip(part, found, strict=True):
                texts[index] = stock.tokenizer.decode(text).split("\n")[0]
    return texts


def measure(name: str, *, questions: int, shots: int, every: int, rounds: int) -> None:
    """Print the ratios for one model."""
    subject = MODELS[name]()
    size = subject.model.config.vocab_size
    subject.tokenizer.unspoken = (*subject.tokenizer.unspoken, *range(len(subject.tokenizer), size))
    forbidden = torch.tensor(subject.tokenizer.unspoken)
    stock = Stock(subject)
    requests = asked(questions, shots, 10 if name == "nano" else 3)
    some = unshared(requests[::every])
    limit = ceiling(subject.tokenizer, requests)
    for label, theirs in (
        ("stock TorchScale", lambda: from_scratch(stock, some, forbidden)),
        ("engine, nothing shared", lambda: answered(subject, some)),
    ):
        timed, found, (expected,) = race(
            lambda: answered(subject, requests), [theirs], rounds=rounds, warm=name == "nano"
        )
        assert found[::every] == expected, sum(a == b for a, b in zip(found[::every], expected, strict=True))
        timed = replace(timed, theirs=[every * time for time in timed.theirs])
        print(f"{name:5}  {shots} shots, {questions} questions, against {label:22}  {timed}; {limit}")


def main() -> None:
    """Measure one model or both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=[*MODELS, "all"], default="all")
    parser.add_argument("--shots", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5, help="of the small model; the other has one")
    given = parser.parse_args()
    one_thread()
    if given.model in ("nano", "all"):
        measure("nano", questions=512, shots=given.shots, every=8, rounds=given.rounds)
    if given.model in ("mid", "all"):
        measure("mid", questions=128, shots=given.shots, every=16, rounds=1)


if __name__ == "__main__":
    main()
