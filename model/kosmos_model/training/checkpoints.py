"""Checkpoints of a run: folders ``step-N`` with the model and the optimiser, from which it can go on.

Only safetensors and JSON are written, the same whether weights are shared out among ranks or not. A folder appears
whole or not at all, and the one before goes only then. Random states are not kept: each step has its own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kosmos_eval.errors import ModelError, RunError
from kosmos_eval.files import Json, made_by, mark_made
from kosmos_model.modeling import checkpoint
from kosmos_model.modeling.config import as_json, from_json
from kosmos_model.modeling.distributed import Ranks, full_parameters, full_tensor, shard_like
from kosmos_model.modeling.kosmos import Kosmos
from kosmos_model.modeling.tokenizer import Tokenizer
from kosmos_model.training.recipes import completed

MADE_BY = "kosmos-eval train"
MODEL, STEPS = "model", "step-[0-9]*"
OPTIMISER, STATE = "optimiser.safetensors", "state.json"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class TrainState:
    """The progress of a run.

    Args:
        step: steps done, which is also the number of the next one; it decides the next batch.
        steps: how many there will be; None while a time budget is not yet measured.
        identity: whatever must be the same for the run to go on: the recipe and the seed, as plain values.
    """

    step: int
    steps: int | None
    identity: Json


def save(
    folder: Path,
    state: TrainState,
    model: Kosmos,
    optimiser: torch.optim.AdamW,
    *,
    tokenizer: Tokenizer,
    ranks: Ranks,
) -> None:
    """Write ``step-N`` and remove older ones; every rank takes part, the first one writes."""
    from safetensors.torch import save_file

    moments = {name: value.cpu().contiguous() for name, value in _moments(model, optimiser) if ranks.first}
    with full_parameters(model):
        if not ranks.first:
            return
        final, begun = folder / f"step-{state.step:06}", folder / f".step-{state.step:06}.tmp"
        mark_made(folder, MADE_BY, [final.name, begun.name])
        shutil.rmtree(begun, ignore_errors=True)
        checkpoint.save(model, begun, tokenizer=tokenizer)
    save_file(moments, begun / OPTIMISER)
    stored = {"step": state.step, "steps": state.steps, **state.identity}
    (begun / STATE).write_text(json.dumps(stored, indent=2) + "\n")
    older = [path for path in _folders(folder) if path != final]
    shutil.rmtree(final, ignore_errors=True)
    begun.rename(final)
    for path in older:
        shutil.rmtree(path)


def latest(folder: Path) -> Path | None:
    """Return the checkpoint that a run goes on from, if there is one."""
    return max(_folders(folder), default=None)


def finish(folder: Path) -> None:
    """Make the model of the latest checkpoint the folder's own, ``model``; its weights come last, each file whole."""
    saved, model = max(_folders(folder)), folder / MODEL
    mark_made(folder, MADE_BY, [MODEL])
    model.mkdir(exist_ok=True)
    for name in (checkpoint.CONFIG, checkpoint.TOKENIZER, checkpoint.WEIGHTS):
        shutil.copyfile(saved / name, model / f".{name}.tmp")
        (model / f".{name}.tmp").replace(model / name)


def read(saved: Path, *, identity: Json) -> TrainState:
    """Return the progress of the run of ``step-N``.

    Raises:
        RunError: if it is of another recipe or seed, or its state is damaged.
    """
    try:
        stored = dict(completed(json.loads((saved / STATE).read_text(encoding="utf-8"))))
        step, steps = stored.pop("step"), stored.pop("steps")
        stored["config"] = as_json(from_json(stored["config"]))
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{saved / STATE} cannot be read ({error}); remove {saved} or train with --overwrite") from error
    for name in (*identity, *stored):
        if identity.get(name) != stored.get(name):
            raise RunError(
                f"{saved} has {name} {stored.get(name)!r}, but now it is {identity.get(name)!r}; "
                "train with --overwrite or another --out"
            )
    return TrainState(step, steps, identity)


def restore(saved: Path, model: Kosmos, optimiser: torch.optim.AdamW) -> None:
    """Fill the optimiser's moments from ``step-N``; a weight that no step has moved yet has none.

    Raises:
        ModelError: if the file is damaged or of another model.
    """
    tensors = checkpoint.read_weights(saved / OPTIMISER)
    try:
        for name, weight in _trained(model).items():
            if f"momentum/{name}" in tensors:
                optimiser.state[weight] = {"momentum": shard_like(tensors[f"momentum/{name}"], like=weight)}
            elif f"step/{name}" in tensors:
                step, *moments = (tensors[f"{kind}/{name}"] for kind in MOMENTS)
                shards = (shard_like(moment, like=weight) for moment in moments)
                optimiser.state[weight] = dict(zip(MOMENTS, (step, *shards), strict=True))
    except KeyError as error:
        raise ModelError(f"{saved / OPTIMISER} lacks {error}; remove {saved} or train with --overwrite") from error


def _folders(folder: Path) -> list[Path]:
    made = made_by(folder, MADE_BY)
    return sorted(path for path in folder.glob(STEPS) if path.is_dir() and path.name in made)


def _trained(model: Kosmos) -> dict[str, torch.nn.Parameter]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def _moments(model: Kosmos, optimiser: torch.optim.AdamW) -> Iterator[tuple[str, Tensor]]:
    for name, weight in _trained(model).items():
        for kind, value in optimiser.state[weight].items():
            yield f"{kind}/{name}", full_tensor(value)
