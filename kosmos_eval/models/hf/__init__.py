"""Models of the transformers library: ``--model hf:PATH``, or one in memory by `live`."""

from kosmos_eval.models.hf.model import live, load

__all__ = ["live", "load"]
