"""The models that benchmarks measure: the shipped one, trained, and a larger one with random weights."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kosmos_eval.prompt import Image
from kosmos_model.adapters.kosmos import KosmosModel, kosmos_nano
from kosmos_model.engine.engine import Engine
from kosmos_model.engine.prefill import Budget
from kosmos_model.modeling.config import PRESETS
from kosmos_model.modeling.kosmos import build
from kosmos_model.modeling.tokenizer import NANO, Tokenizer, train
from kosmos_tasks.formats import imagenet
from kosmos_tasks.synthetic import digits as synthetic

NAMES = tuple(imagenet.classes().values())
"""ImageNet's 1,000 class names."""
KNOWN = (*NAMES[:990], *synthetic.NAMES)
"""As many, with the ten that kosmos-nano was trained to say of what `digits` shows: the right one is among them."""

WORDS = (
    *("The photo of the", "Here are eight images:", "The following image is:", "Is it correct? Yes No", "An image of"),
    *("Question: What color is the shape? Answer: blue", "small large red green circle square one two three"),
)


def nano() -> KosmosModel:
    """kosmos-nano as shipped: trained, 8 tokens an image."""
    return kosmos_nano(device="cpu", dtype="float32")


def untrained() -> KosmosModel:
    """The same with random weights, to which every name is about as likely as any other."""
    config = PRESETS["kosmos-nano"]
    tokenizer = Tokenizer.read(NANO, slots=config.latents)
    return KosmosModel(build(config, seed=0).eval(), tokenizer, name="untrained", note="untrained")


def mid() -> KosmosModel:
    """A decoder of 98M random parameters, 64 tokens an image; its image encoder is kosmos-nano's.

    Its tokenizer knows ImageNet's names, so that a name has 2.8 tokens: with a vocabulary of 64 thousand words, as
    KOSMOS-1 has it, most words of the names are single tokens too.
    """
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = train([*NAMES, *WORDS], vocab_size=16_384, path=Path(folder) / "mid.spm")
    tokenizer.slots = 64
    preset = PRESETS["kosmos-nano"]
    config = replace(preset, vocab_size=16_384, width=768, layers=12, heads=12, ffn=3072, latents=64)
    model = build(config, seed=0).eval()
    return KosmosModel(model, tokenizer, name="mid", note="untrained")


MODELS: dict[str, Callable[[], KosmosModel]] = {"nano": nano, "mid": mid}


def engine(subject: KosmosModel, *, batch_tokens: int = 2048) -> Engine:
    """An engine that has seen nothing yet, so that every run encodes its images."""
    budget = Budget(batch_tokens, 16 * batch_tokens)
    return Engine(subject.model, subject.tokenizer, pixels=subject.pixels, budget=budget)


def images(count: int, *, seed: int = 0, size: int = 96) -> list[Image]:
    """Different images: coloured noise of a few large squares, PNG."""
    import numpy as np
    import PIL.Image

    random = np.random.default_rng(seed)
    squares = random.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return [
        Image.drawn(PIL.Image.fromarray(small).resize((size, size), PIL.Image.Resampling.NEAREST)) for small in squares
    ]


def digits(count: int) -> list[Image]:
    """Pictures of handwritten digits, which kosmos-nano was trained to name (none of those it was trained on)."""
    return [Image.of(row["image"]) for row, _ in zip(synthetic.rows("test", count), range(count), strict=False)]
