"""Evaluation inside a training loop."""

from kosmos_eval.hook.eval_hook import EvalHook

__all__ = ["EvalHook"]
