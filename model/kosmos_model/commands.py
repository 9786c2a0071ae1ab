"""The commands that the bundled model adds to ``kosmos-eval``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from kosmos_eval.files import output_folder


def train(  # noqa: PLR0913 - the options that its users see
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or the path of a TOML file.")] = "nano",
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=output_folder, metavar="FOLDER", help="Default: results/train/RECIPE."),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Instead of the recipe's.")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", help="As many steps as fit into this time.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, ...")] = "auto",
    init: Annotated[
        Path | None, typer.Option("--init", help="Weights to begin with: a model's folder or its safetensors.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Decides weights and data.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start over, and replace what training has made in the folder.")
    ] = False,
) -> None:
    """Train a bundled model; the same command again goes on where it was interrupted."""
    from kosmos_model.training import recipes
    from kosmos_model.training.setup import Options
    from kosmos_model.training.train import train as trained

    chosen = recipes.read(recipe)
    if init is not None:
        chosen = replace(chosen, init=init)
    folder = out or Path("results/train") / chosen.name
    options = Options(steps=steps, minutes=minutes, device=device, seed=seed, overwrite=overwrite)
    trained(chosen, folder, options)
