"""The evaluation hook in other people's trainers."""

from __future__ import annotations

from math import nan
from typing import Any

from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.hook.eval_hook import EvalHook


def attach(trainer: Any, hook: EvalHook) -> None:
    """Evaluate inside a ``transformers.Trainer``, after its optimiser's steps; scores go where its losses go.

    They are also among the metrics of the Trainer's own evaluations, as ``eval_TASK/N-shot/METRIC``: with
    ``metric_for_best_model`` of that name the Trainer keeps the best checkpoint, if the hook evaluates at all steps at
    which the Trainer does (``eval_steps`` is a multiple of ``every``). A step whose evaluation failed is no best one.

    Args:
        trainer: before ``train()``.
        hook: its steps are the trainer's ``global_step``.
    """
    from transformers import TrainerCallback

    class Evaluation(TrainerCallback):  # type: ignore[misc,unused-ignore]
        def on_step_end(self, args: object, state: Any, control: Any, model: object = None, **rest: object) -> None:
            if values := hook(state.global_step, model):
                trainer.log(dict(values))
            control.should_training_stop = control.should_training_stop or hook.should_stop

        def on_evaluate(
            self, args: Any, state: Any, control: object, metrics: dict[str, float], **rest: object
        ) -> None:
            values = {f"eval_{name}": value for name, value in hook.values(state.global_step)}
            watched = f"eval_{(args.metric_for_best_model or '').removeprefix('eval_')}"
            if not values and state.global_step % hook.every == 0 and watched.split("/")[0][5:] in hook.tasks:
                values = {watched: nan}
            metrics.update(values)

    trainer.add_callback(Evaluation())


def lightning_callback(hook: EvalHook) -> object:
    """A Lightning callback for ``Trainer(callbacks=[...])``; scores go to the trainer's loggers.

    Args:
        hook: its steps are the trainer's ``global_step``; its ``wrap`` gets the ``LightningModule``.

    Raises:
        KosmosEvalError: if Lightning is not installed.
    """
    try:
        from lightning.pytorch import Callback  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise KosmosEvalError("lightning is not installed; pip install lightning") from error

    class Evaluation(Callback):  # type: ignore[misc,unused-ignore]
        def on_train_batch_end(self, trainer: Any, pl_module: object, *rest: object) -> None:
            if values := hook(trainer.global_step, pl_module):
                for logger in trainer.loggers:
                    logger.log_metrics(dict(values), step=trainer.global_step)
            trainer.should_stop = trainer.should_stop or hook.should_stop

    return Evaluation()
