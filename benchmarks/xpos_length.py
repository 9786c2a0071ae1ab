"""Loss beyond the trained length, xPos against absolute positions (KOSMOS-1 section 2.2).

Two decoders of kosmos-nano's size read the same documents of the same length, which differ in nothing but how a place
is known: by xPos, or by the sinusoids of KOSMOS-2's public weights. Then both read documents one, two and four times
as long. The text is what the synthetic recipes write of their training sides for training, and of another seed for
reading.

    python -m benchmarks.xpos_length [--steps 900] [--out results/xpos_length.csv]
"""

from __future__ import annotations

import csv
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from math import isnan, nan
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.timing import one_thread, seconds
from kosmos_eval.metrics.statistics import mean
from kosmos_model.data.batches import Batches, MicroBatch, Plan
from kosmos_model.data.datasets import Dataset
from kosmos_model.modeling import checkpoint
from kosmos_model.modeling.config import POSITIONS, PRESETS
from kosmos_model.modeling.kosmos import Kosmos
from kosmos_model.modeling.tokenizer import NANO, Tokenizer
from kosmos_model.training.recipes import Recipe
from kosmos_model.training.setup import Options
from kosmos_model.training.train import train

LENGTH = 64
"""The trained length, in tokens."""
TIMES = (1, 2, 4)
READ = 30_000
"""Tokens that are read at each length."""
SEEDS = {"train": 0, "read": 1}

TEXT = Dataset("text", "kosmos_tasks.lessons.scenes:sentences", tokens=1024)
DECODER = replace(PRESETS["kosmos-nano"], vision_layers=1, vision_width=24, vision_ffn=24)
"""The text alone is read, so the image encoder is next to nothing."""


@dataclass(frozen=True)
class Line:
    """The loss of one kind of positions at one length.

    Args:
        positions: how a place is known.
        length: of the documents, in tokens at most.
        times: how often the trained length.
        documents: how many were read.
        tokens: how many were predicted.
        loss: nats per token, the mean over documents.
        low: lower end of its 95 % interval.
        high: upper end of its 95 % interval.
        beyond: the loss of those tokens alone whose place no training document had; nan where there is none.
    """

    positions: str
    length: int
    times: int
    documents: int
    tokens: int
    loss: float
    low: float
    high: float
    beyond: float


def trained(positions: str, *, steps: int, folder: Path) -> Kosmos:
    """A decoder trained on documents of `LENGTH` tokens."""
    PRESETS[positions] = replace(DECODER, positions=positions)
    recipe = Recipe(
        positions, positions, NANO, steps, (TEXT,), context_length=LENGTH, learning_rate=2e-3, warmup=steps // 10
    )
    options = Options(device="cpu", seed=SEEDS["train"], workers=0)
    model, _ = checkpoint.load(train(recipe, folder / positions, options))
    return model


def documents(length: int, tokenizer: Tokenizer) -> Iterator[MicroBatch]:
    """Documents of up to ``length`` tokens, about `READ` in all."""
    plan = Plan((replace(TEXT, tokens=READ),), SEEDS["read"], length, 4096, DECODER.image_size)
    return iter(Batches(plan, tokenizer)[0])


@torch.inference_mode()
def read(model: Kosmos, *, times: int) -> Line:
    """What a decoder loses on documents ``times`` as long as those it was trained on."""
    losses: list[float] = []
    beyond: list[float] = []
    tokens = 0
    for part in documents(times * LENGTH, Tokenizer.read(NANO, slots=DECODER.latents)):
        counted = part.weights[:, 1:] > 0
        each = torch.zeros(counted.shape)
        each[counted] = model.token_losses(part.tokens, None, part.weights)
        losses += (each.sum(1) / counted.sum(1)).tolist()
        beyond += each[:, LENGTH - 1 :][counted[:, LENGTH - 1 :]].tolist()
        tokens += int(counted.sum())
    loss, far = mean(losses, seed=0), sum(beyond) / len(beyond) if beyond else nan
    low, high = loss.low or nan, loss.high or nan
    return Line(model.config.positions, times * LENGTH, times, len(losses), tokens, loss.value, low, high, far)


def show(lines: Sequence[Line], *, steps: int) -> None:
    """Print what was found as a table."""
    table = Table(title=f"nats per token after {steps} steps on documents of {LENGTH} tokens")
    for name in ("positions", "length", "loss", "95 % interval", f"beyond {LENGTH}"):
        table.add_column(name, justify="left" if name == "positions" else "right")
    for line in lines:
        interval = f"{line.low:.3f} – {line.high:.3f}"
        far = "" if isnan(line.beyond) else f"{line.beyond:.3f}"
        table.add_row(line.positions, f"{line.times} x {LENGTH}", f"{line.loss:.3f}", interval, far)
    Console().print(table)


def write(lines: Sequence[Line], path: Path) -> None:
    """Write what was found as a CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow([field.name for field in fields(Line)])
        rows.writerows([f"{cell:.4f}" if isinstance(cell, float) else cell for cell in astuple(line)] for line in lines)


def main() -> None:
    """The command."""
    parser = ArgumentParser(prog="python -m benchmarks.xpos_length")
    parser.add_argument("--steps", type=int, default=700, help="of each training; a step reads 1,024 tokens")
    parser.add_argument("--out", type=Path, default=Path("results/xpos_length.csv"), help="gets a line for each row")
    options = parser.parse_args()
    one_thread()
    with TemporaryDirectory() as folder:
        models = [trained(name, steps=options.steps, folder=Path(folder)) for name in POSITIONS]
    lines = [read(model, times=times) for model in models for times in TIMES]
    write(lines, options.out)
    show(lines, steps=options.steps)
    print(f"{seconds():.0f} CPU seconds; {options.out}")


if __name__ == "__main__":
    main()
