"""Recipes: what a training run is made of, each a readable TOML file in this folder, or a user's own.

A recipe that ``extends`` another has its settings but for those that it gives itself, a table as a whole; ``keep``
names the datasets that are left of it. ``$NAME`` is taken from the environment.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from kosmos_eval.errors import KosmosEvalError, UnknownName
from kosmos_eval.files import Json
from kosmos_model.data.datasets import Dataset
from kosmos_model.data.toml import Table, check_names, checked, made, toml
from kosmos_model.modeling.config import PRESETS, KosmosConfig, as_json, from_json

FOLDER = Path(__file__).parent
PATHS = ("tokenizer", "init", "vision_weights")
"""Settings that are paths, relative to the recipe's own file."""
Beta = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class Recipe:
    """A training run (the names of KOSMOS-1 Table 18 where it has one).

    Args:
        name: what the recipe is called.
        model: the preset that is trained.
        shape: settings of it that differ.
        tokenizer: its file, relative to the recipe's.
        steps: how many, unless the command says otherwise.
        datasets: what each step reads.
        init: weights to begin with: a model's folder or a safetensors file; None for fresh ones.
        vision_weights: a folder with the pretrained CLIP that the image encoder begins with; None for none.
        freeze_vision: train only the last layer of the image encoder (KOSMOS-1 section 2.2).
        freeze_vision_steps: after the first of these steps and until the second the image encoder is not trained, and
            an image that comes again is not encoded again.
        muon: at so many times the learning rate matrices are moved by Muon, which learns in fewer steps; 0 is AdamW
            alone.
        learning_rate: the peak learning rate.
        warmup: steps until it is reached; then it falls linearly to 0.
        betas: AdamW's.
        epsilon: AdamW's.
        weight_decay: AdamW's, on matrices only.
        clip: the longest gradient.
        context_length: the longest document, in tokens.
        micro_batch_tokens: tokens computed at once, padding included; the gradients of a step's parts are added up.
        checkpoint_activations: compute the decoder's activations twice rather than keep them.
        compile: compile the image encoder and the decoder's layers.
        shard: under torchrun, share weights, gradients and moments out among the ranks (FSDP2) instead of copying them.
        save_every: steps between checkpoints.
        evaluate_every: steps between evaluations; 0 for none.
        evaluate_limit: samples a task.
        evaluate_budget: the longest that one evaluation may take, such as ``60s``; it lowers the samples, not below 1.
        evaluate: task to its numbers of shots.
    """

    name: str
    model: str
    tokenizer: Path
    steps: PositiveInt
    datasets: tuple[Dataset, ...]
    learning_rate: PositiveFloat
    warmup: NonNegativeInt
    shape: Json = field(default_factory=dict)
    init: Path | None = None
    vision_weights: Path | None = None
    freeze_vision: bool = False
    freeze_vision_steps: tuple[NonNegativeInt, NonNegativeInt] = (0, 0)
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    epsilon: PositiveFloat = 1e-6
    muon: NonNegativeFloat = 0.0
    weight_decay: NonNegativeFloat = 0.01
    clip: PositiveFloat = 1.0
    context_length: PositiveInt = 2048
    micro_batch_tokens: PositiveInt = 8192
    checkpoint_activations: bool = False
    compile: bool = False
    shard: bool = False
    save_every: PositiveInt = 500
    evaluate_every: NonNegativeInt = 0
    evaluate_limit: PositiveInt = 100
    evaluate_budget: str | None = None
    evaluate: Mapping[str, tuple[NonNegativeInt, ...]] = field(default_factory=dict)


def read(name: str) -> Recipe:
    """Return a recipe by its name, or by the path of a TOML file.

    Raises:
        UnknownName: if no recipe has the name, or there is no such setting or model.
        KosmosEvalError: if the file cannot be read or lacks a setting.
    """
    path = _file(name)
    return _recipe(_settings(path, ()), path)


def _file(name: str) -> Path:
    path = Path(name)
    if path.suffix != ".toml":
        path = FOLDER / f"{name}.toml"
        if not path.exists():
            raise UnknownName("recipe", name, (known.stem for known in FOLDER.glob("*.toml")))
    return path


def _settings(path: Path, heirs: tuple[Path, ...]) -> Table:
    """Return the settings of a file over those of the recipe that it extends; ``heirs`` extend this one."""
    values = toml(path, "recipe")
    for name in re.findall(r"\$\{?(\w+)", json.dumps(values)):
        if name not in os.environ:
            raise KosmosEvalError(f"{path} needs the environment's {name}, which is not set; its head says what it is")
    values |= {
        name: path.parent / Path(os.path.expandvars(str(values[name]))).expanduser() for name in PATHS if name in values
    }
    base = values.pop("extends", None)
    if base is not None:
        if path in heirs:
            raise KosmosEvalError(f"{path} extends itself; name another recipe")
        values = {**_settings(_file(str(base)), (*heirs, path)), **values}
    return values


def _recipe(values: Table, path: Path) -> Recipe:
    kept = checked(list[str] | None, values.pop("keep", None), path, "keep")
    datasets = checked(dict[str, Table], values.pop("datasets", {}), path, "datasets")
    check_names(Recipe, values, path)
    if not datasets:
        raise KosmosEvalError(f"{path} has no dataset to train on; give it [datasets.NAME] with source and tokens")
    for kind in kept or ():
        if kind not in datasets:
            raise UnknownName(f"dataset ({path})", kind, datasets)
    chosen = tuple(
        made(Dataset, {"kind": kind, **dataset}, path, "datasets", kind)
        for kind, dataset in datasets.items()
        if kept is None or kind in kept
    )
    recipe = made(Recipe, {**values, "name": path.stem, "datasets": chosen}, path)
    if recipe.model not in PRESETS:
        raise UnknownName("model preset", recipe.model, PRESETS)
    _together(recipe, path)
    shaped(recipe)
    return recipe


def _together(recipe: Recipe, path: Path) -> None:
    if recipe.muon and recipe.shard:
        raise KosmosEvalError(f"{path} asks for both muon and shard, but Muon needs whole matrices; leave one out")
    after, until = recipe.freeze_vision_steps
    if after > until:
        raise KosmosEvalError(
            f"{path} has freeze_vision_steps = [{after}, {until}]; expected two steps, [AFTER, UNTIL]"
        )
    if any(recipe.freeze_vision_steps) and recipe.shard:
        why = "an image that is new to one rank is known to another, and they would wait for each other"
        raise KosmosEvalError(f"{path} asks for both freeze_vision_steps and shard, but {why}; leave one out")


def shaped(recipe: Recipe) -> KosmosConfig:
    """Return the shapes of the model that a recipe trains.

    Raises:
        UnknownName: if it gives a setting that no model has.
        ModelError: if the settings do not fit each other.
    """
    return from_json({**as_json(PRESETS[recipe.model]), **recipe.shape})


NEUTRAL = frozenset(
    {"steps", "save_every", "micro_batch_tokens", "shard", "tokenizer", "init", "vision_weights"}
    | {known.name for known in dataclasses.fields(Recipe) if known.name.startswith("evaluate")}
)
"""Settings that may change while a run lasts: they decide no loss, or none that is still to come."""


def identity(recipe: Recipe) -> Json:
    """Return the settings that decide the losses of a recipe, as plain values."""
    values = json.loads(json.dumps(dataclasses.asdict(recipe), default=str))
    return {name: value for name, value in values.items() if name not in NEUTRAL}


def completed(state: Json) -> Json:
    """Return an `identity` as it was once written, with the defaults of settings that are newer."""
    datasets = [{**_defaults(Dataset), **dataset} for dataset in state["datasets"]]
    return {**_defaults(Recipe), **state, "datasets": datasets}


def _defaults(made: type) -> Json:
    given = {
        known.name: known.default if known.default_factory is dataclasses.MISSING else known.default_factory()
        for known in dataclasses.fields(made)
        if known.name not in NEUTRAL
    }
    plain = {name: value for name, value in given.items() if value is not dataclasses.MISSING}
    found: Json = json.loads(json.dumps(plain, default=str))
    return found
