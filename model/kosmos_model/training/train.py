"""Training: steps over streams, checkpoints to go on from, evaluation on the way (KOSMOS-1 section 3.2)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from safetensors import SafetensorError
from torch.distributed.fsdp import FSDPModule

from kosmos_eval.errors import RunError
from kosmos_eval.evaluation.run_folder import locked
from kosmos_eval.files import clear_made, mark_made, refuse_foreign
from kosmos_eval.hook import EvalHook
from kosmos_model.adapters.kosmos import live
from kosmos_model.data.batches import Batches, Plan, drawn, in_step, loader
from kosmos_model.data.streams import seed_of
from kosmos_model.modeling.distributed import Ranks, joined, whole
from kosmos_model.training import checkpoints
from kosmos_model.training.checkpoints import MADE_BY, MODEL
from kosmos_model.training.flops import Price
from kosmos_model.training.log import LOSSES, SCORES, TENSORBOARD, Log, Measured, Shown, shown
from kosmos_model.training.optim import accumulate, rate, update
from kosmos_model.training.recipes import Recipe
from kosmos_model.training.setup import Options, Run, begin

MEASURED = range(3, 13)
"""The steps of a run whose times decide how many fit into a time budget."""


def train(recipe: Recipe, folder: Path, options: Options | None = None, *, console: Console | None = None) -> Path:
    """Train a model, or go on where the same command was interrupted, to the same losses.

    Args:
        recipe: what is trained, on what.
        folder: where checkpoints, losses and in the end the model are written.
        options: how.
        console: what is told of progress; standard error by default.

    Returns:
        The folder of the trained model, as ``--model kosmos:FOLDER`` takes it.

    Raises:
        KosmosEvalError: if the recipe, its streams or the folder cannot be used.
    """
    options = options or Options()
    with joined(options.device) as ranks, locked(folder) if ranks.first else nullcontext():
        if ranks.first:
            found = (path.name for path in folder.glob(checkpoints.STEPS))
            refuse_foreign(folder, MADE_BY, (LOSSES, SCORES, TENSORBOARD, MODEL, *found))
        ranks.most(0)  # none looks for a checkpoint before the first has the folder
        if console is None:
            console = Console(stderr=True, width=None if sys.stderr.isatty() else 250, quiet=not ranks.first)
        run = begin(recipe, folder, options, ranks=ranks)
        with shown(console, begun=run.position.step) as display:
            if run.position.step:
                display.say(f"going on after step {run.position.step} of {run.position.steps or '?'} in {folder}")
            batches = _batches(run, recipe, options, ranks)
            hook = evaluation(recipe, run, folder=folder, say=display.say)
            if options.overwrite:
                batches[0]  # nothing is removed before what replaces it can be read
                if ranks.first:
                    clear_made(folder, MADE_BY)
                ranks.most(0)
            taken = steps(run, recipe, batches, options=options, ranks=ranks)
            try:
                keep(taken, run, recipe, folder=folder, ranks=ranks, display=display, hook=hook)
            except (OSError, SafetensorError) as error:
                raise RunError(f"{folder}: {error}; its last checkpoint is kept, fix this and run again") from error
        console.print(f"the model is in {folder / MODEL}: kosmos-eval run --model kosmos:{folder / MODEL}")
    return folder / MODEL


def _batches(run: Run, recipe: Recipe, options: Options, ranks: Ranks) -> Batches:
    size = run.model.config.image_size
    plan = Plan(recipe.streams, options.seed, recipe.length, recipe.part_tokens, size, ranks.rank, ranks.ranks)
    return Batches(plan, run.tokenizer)


def steps(run: Run, recipe: Recipe, batches: Batches, *, options: Options, ranks: Ranks) -> Iterator[Measured]:
    """Take the steps that are left, and tell of each what was measured."""
    price = Price.on(ranks.device, run.model.config, frozen=recipe.freeze_vision)
    started, times = time.monotonic(), list[float]()
    left = range(run.position.step, run.position.steps or sys.maxsize)
    read = drawn(loader(batches, left, workers=options.workers))
    while run.position.steps is None or run.position.step < run.position.steps:
        before = time.monotonic()
        parts = next(read)
        if isinstance(run.model, FSDPModule):
            parts = in_step(parts, ranks.most(len(parts)), image_size=run.model.config.image_size)
        torch.manual_seed(seed_of("step", options.seed, run.position.step, ranks.rank))  # dropout's
        run.model.vision.rest(run.position.step in range(*recipe.vision_rests))
        peak = rate(run.position.step, recipe, steps=run.position.steps or sys.maxsize)
        sums = accumulate(run.model, parts, streams=len(recipe.streams))
        norm = update(run.optimiser, rate=peak, clip=recipe.clip)
        losses = {
            stream.kind: loss / weight
            for stream, (loss, weight, _) in zip(recipe.streams, sums.tolist(), strict=True)
            if weight
        }
        times.append(time.monotonic() - before)
        run.position = replace(run.position, step=run.position.step + 1)
        if run.position.steps is None and options.minutes is not None and len(times) == MEASURED.stop:
            rest = options.minutes * 60 - (time.monotonic() - started)
            found = run.position.step + max(1, int(rest / median(times[MEASURED.start :])))
            run.position = replace(run.position, steps=ranks.most(found))
        busy = None if price is None else price.utilisation(parts, seconds=times[-1])
        yield Measured(run.position.step, times[-1], int(sums[:, 2].sum()), peak, norm, losses, busy)


def keep(
    taken: Iterator[Measured],
    run: Run,
    recipe: Recipe,
    *,
    folder: Path,
    ranks: Ranks,
    display: Shown,
    hook: EvalHook | None,
) -> None:
    """Write and show what is measured, save and evaluate on the way, and write the model in the end.

    Every rank saves and evaluates with the others; the first one writes.
    """
    if hook is not None and ranks.first:
        mark_made(folder, MADE_BY, [SCORES])
    kinds = [stream.kind for stream in recipe.streams]
    with closing(Log(folder, kinds, begun=run.position.step)) if ranks.first else nullcontext() as log:
        for measured in taken:
            if log is not None:
                log.add(measured)
                display.step(measured, run.position.steps)
            last = measured.step == run.position.steps
            if last or measured.step % recipe.save_every == 0:
                checkpoints.save(folder, run.position, run.model, run.optimiser, tokenizer=run.tokenizer, ranks=ranks)
            if hook is not None and (last or measured.step % recipe.evaluate_every == 0):
                with whole(run.model):
                    found = hook(measured.step, run.model)
                if log is not None:
                    log.scores(measured.step, found)
    if ranks.first:
        checkpoints.finish(folder)


def evaluation(recipe: Recipe, run: Run, *, folder: Path, say: Callable[[str], None]) -> EvalHook | None:
    """What evaluates the model in training, which leaves no trace in it and whose errors do not end it.

    Raises:
        KosmosEvalError: if a task cannot be evaluated.
    """
    if not recipe.evaluate_every or not recipe.evaluate:
        return None
    return EvalHook(
        list(recipe.evaluate),
        every=1,  # `keep` knows when
        limit=recipe.evaluate_limit,
        budget=recipe.evaluate_budget,
        shots=recipe.evaluate,
        wrap=lambda model: live(model, run.tokenizer, name=recipe.name),
        csv=folder / SCORES,
        say=say,
    )
