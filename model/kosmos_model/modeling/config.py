"""The shape of a KOSMOS-1 model, and the presets that have a name."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from kosmos_eval.errors import ModelError, UnknownName
from kosmos_eval.files import Json

STEMS = ("patch", "conv")
ACTIVATIONS = ("quick_gelu", "gelu")
POSITIONS = ("xpos", "sinusoidal")
EXPECTED = {
    "int": "a positive whole number",
    "float": "a share from 0 up to 1",
    "str": "a word",
    "bool": "true or false",
}


@dataclass(frozen=True)
class KosmosConfig:
    """Everything that decides the shapes of a model (KOSMOS-1 Tables 17 and 18; sizes in units of one scalar).

    Args:
        vocab_size: words of the tokenizer, special tokens included.
        width: width of the decoder.
        layers: decoder layers.
        heads: attention heads of the decoder.
        ffn: width of the decoder's feed-forward layers.
        max_length: the longest sequence, in tokens, image slots included.
        dropout: after embedding, attention output and feed-forward output.
        attention_dropout: on attention weights.
        positions: how the decoder knows them: ``xpos`` (KOSMOS-1 section 2.2), or ``sinusoidal``, added to the
            embeddings, as KOSMOS-2's public weights have them.
        scale_embedding: whether embeddings, images' too, are multiplied by sqrt(width). The paper does not say;
            KOSMOS-2's code does it, and without it sub-LN's attention, which writes with a deviation of about one,
            drowns the words: what stood by what is then hardly found (``benchmarks/embedding_scale.py``).
        latents: image embeddings that the resampler gives for one image.
        resampler_depth: 0 for the published single cross-attention, N for Flamingo's Perceiver of N layers.
        local_latents: whether each latent of the Perceiver begins by looking at its own part of the image.
        image_size: side of the square input image, in pixels.
        patch_size: side of one patch, in pixels.
        stem: how patches are made: ``patch`` (CLIP's single convolution) or ``conv`` (a stack of stride-2 ones).
        vision_width: width of the image encoder.
        vision_layers: layers of the image encoder.
        vision_heads: attention heads of the image encoder.
        vision_ffn: width of the image encoder's feed-forward layers.
        vision_activation: between them: ``quick_gelu`` as OpenAI's CLIP has it, or ``gelu``.
        slot: the token id that keeps a place for one image embedding (``<mask>``, which no text has).
        given: ids that are only ever given, never predicted: ``<s> <pad>``, the slot, ``<image> </image>``.

    Raises:
        ModelError: if the sizes do not fit each other.
    """

    vocab_size: int
    width: int
    layers: int
    heads: int
    ffn: int
    max_length: int = 2048
    dropout: float = 0.1
    attention_dropout: float = 0.1
    positions: str = "xpos"
    scale_embedding: bool = False
    latents: int = 64
    resampler_depth: int = 0
    local_latents: bool = False
    image_size: int = 224
    patch_size: int = 14
    stem: str = "patch"
    vision_width: int = 1024
    vision_layers: int = 24
    vision_heads: int = 16
    vision_ffn: int = 4096
    vision_activation: str = "quick_gelu"
    slot: int = 4
    given: tuple[int, ...] = (0, 1, 4, 5, 6)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field.name, getattr(self, field.name), str(field.type))
        for whole, part in (
            ("width", "heads"),
            ("vision_width", "vision_heads"),
            ("image_size", "patch_size"),
        ):
            if getattr(self, whole) % getattr(self, part):
                raise ModelError(
                    f"{whole} {getattr(self, whole)} is no multiple of {part} {getattr(self, part)}; choose one that is"
                )
        for kind, name, known in (
            ("stem", self.stem, STEMS),
            ("activation", self.vision_activation, ACTIVATIONS),
            ("position encoding", self.positions, POSITIONS),
        ):
            if name not in known:
                raise UnknownName(kind, name, known)
        if self.positions == "xpos" and self.width // self.heads % 2:
            raise ModelError(f"width / heads is {self.width // self.heads}; xPos rotates pairs, so it has to be even")
        if self.positions == "sinusoidal" and (self.width % 2 or self.width < 4):
            raise ModelError(f"width is {self.width}; half of it are sines, so it has to be even and at least 4")
        if self.stem == "conv" and self.patch_size & (self.patch_size - 1):
            raise ModelError(f"patch_size is {self.patch_size}; stride-2 convolutions need a power of two")


def _check(name: str, value: object, kind: str) -> None:
    if kind == "int":
        right = type(value) is int and value >= (0 if name in ("resampler_depth", "slot") else 1)
    elif kind == "float":
        right = type(value) in (int, float) and 0 <= value < 1  # type: ignore[operator]
    elif kind in ("str", "bool"):
        right = type(value).__name__ == kind
    else:
        right = isinstance(value, tuple) and all(type(one) is int for one in value)
    if not right:
        raise ModelError(f"{name} is {value!r}; expected {EXPECTED.get(kind, 'token ids')}")


def as_json(config: KosmosConfig) -> Json:
    """Return the config as plain values, in the order of the fields."""
    values = dataclasses.asdict(config)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def from_json(values: Json) -> KosmosConfig:
    """Return the config that plain values describe.

    >>> from_json(as_json(PRESETS["kosmos-1"])) == PRESETS["kosmos-1"]
    True

    Raises:
        ModelError: if a value is missing or invalid.
        UnknownName: if there is a value that no config has.
    """
    fields = {field.name: field for field in dataclasses.fields(KosmosConfig)}
    for name in values:
        if name not in fields:
            raise UnknownName("model setting", name, fields)
    missing = [name for name, field in fields.items() if name not in values and field.default is dataclasses.MISSING]
    if missing:
        raise ModelError(f"the model settings lack {', '.join(missing)}")
    settings: Json = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return KosmosConfig(**settings)


PRESETS = {
    "kosmos-1": KosmosConfig(vocab_size=64_007, width=2048, layers=24, heads=32, ffn=8192, scale_embedding=True),
    "kosmos-nano": KosmosConfig(
        vocab_size=1_024,
        width=128,
        layers=4,
        heads=4,
        ffn=512,
        dropout=0.0,
        attention_dropout=0.0,
        scale_embedding=True,
        latents=8,
        resampler_depth=1,
        local_latents=True,
        image_size=96,
        patch_size=16,
        stem="conv",
        vision_width=192,
        vision_layers=2,
        vision_heads=6,
        vision_ffn=384,
        vision_activation="gelu",
    ),
}
