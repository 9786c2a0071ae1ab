"""Looking words up with embeddings scaled by sqrt(width) and without: why `scale_embedding` is on in our presets.

Sub-LN writes every attention output with a deviation of about one; unscaled embeddings have 1 / sqrt(width), so in the
residual stream words are soon lost, and with them what stood by what. Two decoders of kosmos-nano's size read the same
lessons ``red cat``, ``blue dog``, ``red`` of which only what was seen before counts, and tell their loss as they go.

    python -m benchmarks.embedding_scale [--steps 1200]
"""

from __future__ import annotations

import csv
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from benchmarks.timing import one_thread, seconds
from kosmos_model.data.datasets import Dataset
from kosmos_model.modeling.config import PRESETS
from kosmos_model.modeling.tokenizer import NANO
from kosmos_model.training.log import LOSSES
from kosmos_model.training.recipes import Recipe
from kosmos_model.training.setup import Options
from kosmos_model.training.train import train

EVERY = 100
"""Steps whose mean loss is told."""
DECODER = replace(PRESETS["kosmos-nano"], vision_layers=1, vision_width=24, vision_ffn=24)
"""The text alone is read, so the image encoder is next to nothing."""


def trained(*, scaled: bool, steps: int, folder: Path) -> list[float]:
    """The losses of a training, step by step, in nats a token."""
    name = "scaled" if scaled else "unscaled"
    PRESETS[name] = replace(DECODER, scale_embedding=scaled)
    dataset = Dataset("pairs", "kosmos_tasks.lessons.lookups:pairs", tokens=600, prompt_weight=0.0)
    recipe = Recipe(name, name, NANO, steps, (dataset,), learning_rate=1e-3, warmup=steps // 10)
    train(recipe, folder / name, Options(device="cpu", workers=0))
    with (folder / name / LOSSES).open(encoding="utf-8") as file:
        return [float(row["pairs"]) for row in csv.DictReader(file)]


def main() -> None:
    """The command."""
    parser = ArgumentParser(prog="python -m benchmarks.embedding_scale")
    parser.add_argument("--steps", type=int, default=1200, help="of each training; a step reads 600 tokens")
    options = parser.parse_args()
    one_thread()
    with TemporaryDirectory() as folder:
        unscaled, scaled = (
            trained(scaled=scaled, steps=options.steps, folder=Path(folder)) for scaled in (False, True)
        )
    table = Table(title="nats a token of what was seen before, mean of the steps before")
    for column in ("step", "unscaled", "scaled"):
        table.add_column(column, justify="right")
    for end in range(EVERY, options.steps + 1, EVERY):
        means = (f"{sum(losses[end - EVERY : end]) / EVERY:.3f}" for losses in (unscaled, scaled))
        table.add_row(str(end), *means)
    Console().print(table)
    print(f"{seconds():.0f} CPU seconds")


if __name__ == "__main__":
    main()
