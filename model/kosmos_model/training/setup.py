"""The start of a training: a fresh model, given weights, or the latest checkpoint of its folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from kosmos_eval.errors import ModelError
from kosmos_model.data.corpora import SOURCES
from kosmos_model.data.datasets import resolve
from kosmos_model.data.shards import shards
from kosmos_model.modeling import checkpoint
from kosmos_model.modeling.config import KosmosConfig, as_json
from kosmos_model.modeling.distributed import Ranks, shard
from kosmos_model.modeling.kosmos import Kosmos, build
from kosmos_model.modeling.tokenizer import Tokenizer
from kosmos_model.modeling.vision import freeze_all_but_last_layer, load_clip
from kosmos_model.training import checkpoints, recipes
from kosmos_model.training.checkpoints import TrainState
from kosmos_model.training.optim import optimiser
from kosmos_model.training.recipes import Recipe


@dataclass(frozen=True)
class Options:
    """Options of a run of a recipe.

    Args:
        steps: how many; None for the recipe's.
        minutes: a time budget that decides the steps instead, once the first have been measured.
        device: auto, cpu, cuda, ...
        seed: decides weights and data.
        overwrite: start over, and replace what training has made in the folder before.
        workers: processes that draw batches ahead; 0 draws them in this one.
    """

    steps: int | None = None
    minutes: float | None = None
    device: str = "auto"
    seed: int = 0
    overwrite: bool = False
    workers: int = 1


@dataclass
class Run:
    """The objects that a run changes."""

    model: Kosmos
    tokenizer: Tokenizer
    optimiser: torch.optim.AdamW
    state: TrainState


def setup(recipe: Recipe, folder: Path, options: Options, *, ranks: Ranks) -> Run:
    """Return the state before the next step: fresh, or the latest checkpoint's.

    Raises:
        BadData: if a dataset's files are not there.
        PlugInError: if its function is not there.
        ModelError: if the tokenizer, the weights to begin with or the checkpoint are not of this model.
        RunError: if the checkpoint is of another recipe or seed.
    """
    for dataset in recipe.datasets:
        if dataset.paths:
            shards(tuple(dataset.paths))
        if dataset.source not in SOURCES:
            resolve(dataset.source)
    config = recipes.shaped(recipe)
    tokenizer = _tokenizer(recipe, config)
    identity = {**recipes.identity(recipe), "config": as_json(config), "seed": options.seed}
    saved = None if options.overwrite else checkpoints.latest(folder)
    if saved is None:
        state = TrainState(0, options.steps or (recipe.steps if options.minutes is None else None), identity)
    else:
        state = checkpoints.read(saved, identity=identity)
        state = replace(state, steps=options.steps or state.steps)
    model = build(config, seed=options.seed)
    _fill(model, recipe, saved)
    model.to(ranks.device).train()
    model.decoder.checkpoint_activations = recipe.checkpoint_activations
    if recipe.freeze_vision:
        freeze_all_but_last_layer(model.vision)
    if recipe.compile:
        model.vision.compile()
        for layer in model.decoder.layers:
            layer.compile(dynamic=True)
    if recipe.shard and ranks.ranks > 1:
        shard(model)
    adam = optimiser(model, recipe)
    if saved is not None:
        checkpoints.restore(saved, model, adam)
    return Run(model, tokenizer, adam, state)


def _tokenizer(recipe: Recipe, config: KosmosConfig) -> Tokenizer:
    tokenizer = Tokenizer.read(recipe.tokenizer, slots=config.latents)
    if len(tokenizer) != config.vocab_size:
        raise ModelError(
            f"{recipe.tokenizer} has {len(tokenizer)} pieces, but {recipe.model} {config.vocab_size}; "
            "name the tokenizer of the preset in the recipe"
        )
    return tokenizer


def _fill(model: Kosmos, recipe: Recipe, saved: Path | None) -> None:
    """Fill in the weights of a checkpoint, else those that the recipe begins with; else leave the fresh ones."""
    given = saved or recipe.init
    if given is not None:
        path = given / checkpoint.WEIGHTS if given.is_dir() else given
        checkpoint.fill(model, checkpoint.read_weights(path), source=path)
    elif recipe.vision_weights is not None:
        load_clip(model.vision, recipe.vision_weights)
