"""The evaluation hook in other people's trainers."""

from __future__ import annotations

from typing import Any

from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.hook.eval_hook import EvalHook


def attach(trainer: Any, hook: EvalHook) -> None:
    """Evaluate inside a ``transformers.Trainer``, after its optimiser's steps; scores go where its losses go.

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
