"""The tiny models that tests build, their tokenizer, and a console that shows nothing."""

import io
from dataclasses import replace
from functools import lru_cache

from rich.console import Console

from kosmos_model.modeling.config import PRESETS
from kosmos_model.modeling.kosmos import Kosmos, build
from kosmos_model.modeling.tokenizer import NANO, Tokenizer

TINY = replace(
    PRESETS["kosmos-nano"],
    width=32,
    layers=2,
    heads=4,
    ffn=64,
    latents=3,
    image_size=16,
    vision_width=16,
    vision_layers=1,
    vision_heads=2,
    vision_ffn=32,
)
"""For what a model answers; its weights are random."""
NARROW = replace(TINY, width=16, heads=2, ffn=32, latents=2)
"""For training, which is shorter."""
TOKENIZER = Tokenizer.read(NANO, slots=TINY.latents)


@lru_cache(maxsize=1)
def tiny_model() -> Kosmos:
    """Return the tiny model, in evaluation mode; nobody changes it."""
    return build(TINY, seed=0).eval()


def quiet() -> Console:
    return Console(file=io.StringIO(), width=250)
