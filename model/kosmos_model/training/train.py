"""Training: steps over datasets, checkpoints to go on from, evaluation on the way (KOSMOS-1 section 3.2)."""

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
from kosmos_model.data.batches import Batches, Plan, in_step, loader, prefetch
from kosmos_model.data.datasets import seed_of
from kosmos_model.modeling.distributed import Ranks, full_parameters, process_group
from kosmos_model.training import checkpoints
from kosmos_model.training.checkpoints import MADE_BY, MODEL
from kosmos_model.training.flops import Price
from kosmos_model.training.log import LOSSES, SCORES, TENSORBOARD, Log, ProgressDisplay, StepMetrics, progress_display
from kosmos_model.training.optim import accumulate, learning_rate, update
from kosmos_model.training.recipes import Recipe
from kosmos_model.training.setup import Options, Run, setup

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
        KosmosEvalError: if the recipe, its datasets or the folder cannot be used.
    """
    options = options or Options()
    with process_group(options.device) as ranks, locked(folder) if ranks.first else nullcontext():
        if ranks.first:
            found = (path.name for path in folder.glob(checkpoints.STEPS))
            refuse_foreign(folder, MADE_BY, (LOSSES, SCORES, TENSORBOARD, MODEL, *found))
        ranks.barrier()  # none looks for a checkpoint before the first has the folder
        if console is None:
            console = Console(stderr=True, width=None if sys.stderr.isatty() else 250, quiet=not ranks.first)
        run = setup(recipe, folder, options, ranks=ranks)
        with progress_display(console, begun=run.state.step) as display:
            if run.state.step:
                display.say(f"going on after step {run.state.step} of {run.state.steps or '?'} in {folder}")
            batches = _batches(run, recipe, options, ranks)
            hook = evaluation(recipe, run, folder=folder, say=display.say)
            if options.overwrite:
                batches[0]  # nothing is removed before what replaces it can be read
                if ranks.first:
                    clear_made(folder, MADE_BY)
                ranks.barrier()
            taken = train_steps(run, recipe, batches, options=options, ranks=ranks)
            try:
                fit(taken, run, recipe, folder=folder, ranks=ranks, display=display, hook=hook)
            except (OSError, SafetensorError) as error:
                raise RunError(f"{folder}: {error}; its last checkpoint is kept, fix this and run again") from error
        console.print(f"the model is in {folder / MODEL}: kosmos-eval run --model kosmos:{folder / MODEL}")
    return folder / MODEL


def _batches(run: Run, recipe: Recipe, options: Options, ranks: Ranks) -> Batches:
    size = run.model.config.image_size
    plan = Plan(
        recipe.datasets, options.seed, recipe.context_length, recipe.micro_batch_tokens, size, ranks.rank, ranks.ranks
    )
    return Batches(plan, run.tokenizer)


def train_steps(run: Run, recipe: Recipe, batches: Batches, *, options: Options, ranks: Ranks) -> Iterator[StepMetrics]:
    """Take the steps that are left, and tell of each what was measured."""
    price = Price.on(ranks.device, run.model.config, frozen=recipe.freeze_vision)
    started, times = time.monotonic(), list[float]()
    left = range(run.state.step, run.state.steps or sys.maxsize)
    read = prefetch(loader(batches, left, workers=options.workers))
    while run.state.steps is None or run.state.step < run.state.steps:
        before = time.monotonic()
        parts = next(read)
        if isinstance(run.model, FSDPModule):
            parts = in_step(parts, ranks.all_reduce_max(len(parts)), image_size=run.model.config.image_size)
        torch.manual_seed(seed_of("step", options.seed, run.state.step, ranks.rank))  # dropout's
        run.model.vision.freeze(run.state.step in range(*recipe.freeze_vision_steps))
        peak = learning_rate(run.state.step, recipe, steps=run.state.steps or sys.maxsize)
        sums = accumulate(run.model, parts, datasets=len(recipe.datasets))
        norm = update(run.optimiser, learning_rate=peak, clip=recipe.clip)
        losses = {
            dataset.kind: loss / weight
            for dataset, (loss, weight, _) in zip(recipe.datasets, sums.tolist(), strict=True)
            if weight
        }
        times.append(time.monotonic() - before)
        run.state = replace(run.state, step=run.state.step + 1)
        if run.state.steps is None and options.minutes is not None and len(times) == MEASURED.stop:
            rest = options.minutes * 60 - (time.monotonic() - started)
            found = run.state.step + max(1, int(rest / median(times[MEASURED.start :])))
            run.state = replace(run.state, steps=ranks.all_reduce_max(found))
        busy = None if price is None else price.utilisation(parts, seconds=times[-1])
        yield StepMetrics(run.state.step, times[-1], int(sums[:, 2].sum()), peak, norm, losses, busy)


def fit(
    taken: Iterator[StepMetrics],
    run: Run,
    recipe: Recipe,
    *,
    folder: Path,
    ranks: Ranks,
    display: ProgressDisplay,
    hook: EvalHook | None,
) -> None:
    """Write and show what is measured, save and evaluate on the way, and write the model in the end.

    Every rank saves and evaluates with the others; the first one writes.
    """
    if hook is not None and ranks.first:
        mark_made(folder, MADE_BY, [SCORES])
    kinds = [dataset.kind for dataset in recipe.datasets]
    with closing(Log(folder, kinds, begun=run.state.step)) if ranks.first else nullcontext() as log:
        for metrics in taken:
            if log is not None:
                log.add(metrics)
                display.step(metrics, run.state.steps)
            last = metrics.step == run.state.steps
            if last or metrics.step % recipe.save_every == 0:
                checkpoints.save(folder, run.state, run.model, run.optimiser, tokenizer=run.tokenizer, ranks=ranks)
            if hook is not None and (last or metrics.step % recipe.evaluate_every == 0):
                with full_parameters(run.model):
                    found = hook(metrics.step, run.model)
                if log is not None:
                    log.scores(metrics.step, found)
    if ranks.first:
        checkpoints.finish(folder)


def evaluation(recipe: Recipe, run: Run, *, folder: Path, say: Callable[[str], None]) -> EvalHook | None:
    """Return the hook that evaluates the model in training; it leaves no trace, and its errors do not end the run.

    Raises:
        KosmosEvalError: if a task cannot be evaluated.
    """
    if not recipe.evaluate_every or not recipe.evaluate:
        return None
    return EvalHook(
        list(recipe.evaluate),
        every=1,  # `fit` knows when
        limit=recipe.evaluate_limit,
        budget=recipe.evaluate_budget,
        shots=recipe.evaluate,
        wrap=lambda model: live(model, run.tokenizer, name=recipe.name),
        csv=folder / SCORES,
        log=say,
    )
