"""Models behind OpenAI-compatible servers: ``--model openai:NAME@URL``."""

from kosmos_eval.models.openai.model import OpenAIModel

__all__ = ["OpenAIModel"]
