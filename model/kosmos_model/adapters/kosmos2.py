"""KOSMOS-2's public weights in our own model: ``--model kosmos2:PATH``.

PATH is a folder as transformers saves a ``Kosmos2ForConditionalGeneration``, or its name on the Hub, such as
``microsoft/kosmos-2-patch14-224``. The papers' xPos is not in these weights: positions are sinusoidal, and embeddings,
images' too, are scaled by sqrt(width). Nothing is ever unpickled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.errors import ModelError
from kosmos_eval.files import Json
from kosmos_eval.models.hf.loading import find
from kosmos_model.adapters.kosmos import KosmosModel, checked

if TYPE_CHECKING:
    from torch import Tensor

    from kosmos_eval.prompt import Image
    from kosmos_model.modeling.config import KosmosConfig
    from kosmos_model.modeling.kosmos import Kosmos
    from kosmos_model.modeling.kosmos2_tokenizer import Kosmos2Tokenizer

CONFIG, WEIGHTS, SHARDS, TOKENIZER = "config.json", "model.safetensors", "model-*-of-*.safetensors", "tokenizer.json"
PREFIXES = {
    "text_model.model.": "decoder.",
    "vision_model.model.": "vision.model.",
    "image_to_text_projection.": "resampler.",
}
"""The beginnings of its names, and of ours; the rest of a name is the same."""

FIXED: dict[str, Json] = {
    "text_config": {
        "activation_function": "gelu",
        "layer_norm_eps": 1e-5,
        "add_cross_attention": False,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    },
    "vision_config": {"num_channels": 3, "layer_norm_eps": 1e-5},
}
"""Settings that every KOSMOS-2 shares, as our model has them."""


def load(
    path: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    batch_tokens: int | str = "auto",
    revision: str | None = None,
) -> KosmosModel:
    """Load KOSMOS-2's weights into our own model, from a folder that transformers saved or by their name on the Hub.

    Args:
        path: a folder with config.json, safetensors, tokenizer.json and the image processor's settings.
        device: auto, cpu, cuda, cuda:1.
        dtype: auto, float32, bfloat16; auto is bfloat16 on a GPU and float32 elsewhere.
        batch_tokens: tokens computed at once; auto asks the device.
        revision: of the Hub's repository.

    Raises:
        ModelError: if an option is invalid, or the folder holds no KOSMOS-2 that is safe to load.
    """
    settings = checked(device, dtype, batch_tokens=batch_tokens)
    folder = find(path, revision)
    model, tokenizer = read(folder)
    pixels = _pixels(folder, model.config.image_size)
    model.to(settings.device, settings.dtype)
    name = Path(path).resolve().name if Path(path).exists() else Path(path).name
    return KosmosModel(model, tokenizer, name=name, pixels=pixels, batch_tokens=settings.batch_tokens)


def read(folder: Path) -> tuple[Kosmos, Kosmos2Tokenizer]:
    """Model, in evaluation mode and fp32 on the CPU, and tokenizer.

    Raises:
        ModelError: if a file is missing, damaged or of another model.
    """
    from kosmos_model.modeling.checkpoint import empty, fill
    from kosmos_model.modeling.kosmos2_tokenizer import Kosmos2Tokenizer

    settings = _settings(folder / CONFIG)
    tokenizer = Kosmos2Tokenizer.read(folder / TOKENIZER, slots=settings.latent_query_num)
    config = _config(settings, tokenizer)
    if len(tokenizer) > config.vocab_size:
        raise ModelError(
            f"{folder / TOKENIZER} has {len(tokenizer)} tokens, but the model {config.vocab_size}; "
            "use the tokenizer that the model was trained with"
        )
    model = empty(config)
    fill(model, _weights(folder), source=folder)
    return model.eval(), tokenizer


def _settings(path: Path) -> Any:
    """Return the settings in a file as transformers completes them, checked for what our model takes for granted."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import Kosmos2Config

    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    kind = values.get("model_type") if isinstance(values, dict) else None
    if kind != Kosmos2Config.model_type:
        raise ModelError(f"{path} is of model_type {kind!r}, not 'kosmos-2'; for other models there is --model hf:PATH")
    try:
        settings = Kosmos2Config.from_dict(values)
    except (StrictDataclassError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path} is no configuration of KOSMOS-2: {' '.join(str(error).split())}") from error
    for part, fixed in FIXED.items():
        for name, expected in fixed.items():
            found = getattr(getattr(settings, part), name)
            if found != expected:
                raise ModelError(f"{path} has {part}.{name} {found!r}; a KOSMOS-2 has {expected!r}")
    return settings


def _config(settings: Any, tokenizer: Kosmos2Tokenizer) -> KosmosConfig:
    from kosmos_model.modeling.config import KosmosConfig
    from kosmos_model.modeling.tokenizer import BOS, PAD

    text, vision = settings.text_config, settings.vision_config
    return KosmosConfig(
        vocab_size=text.vocab_size,
        width=text.embed_dim,
        layers=text.layers,
        heads=text.attention_heads,
        ffn=text.ffn_dim,
        max_length=text.max_position_embeddings,
        dropout=text.dropout,
        attention_dropout=text.attention_dropout,
        positions="sinusoidal",
        scale_embedding=text.scale_embedding,
        latents=settings.latent_query_num,
        image_size=vision.image_size,
        patch_size=vision.patch_size,
        vision_width=vision.hidden_size,
        vision_layers=vision.num_hidden_layers,
        vision_heads=vision.num_attention_heads,
        vision_ffn=vision.intermediate_size,
        vision_activation=vision.hidden_act,
        slot=tokenizer.slot,
        given=(BOS, PAD, tokenizer.slot, tokenizer.image, tokenizer.image_end),
    )


def _weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights of a folder under our names: without what is tied or computed, whole or in shards."""
    from kosmos_model.modeling.checkpoint import read_weights

    whole = folder / WEIGHTS
    files = [whole] if whole.exists() else sorted(folder.glob(SHARDS))
    if not files:
        raise ModelError(f"{folder} holds neither {WEIGHTS} nor {SHARDS}; expected the weights under such a name")
    found: dict[str, Tensor] = {}
    for path in files:
        found |= {_renamed(name): weight for name, weight in read_weights(path).items()}
    found.pop("vision.model.embeddings.position_ids", None)
    head, words = found.pop("text_model.lm_head.weight", None), found.get("decoder.embed_tokens.weight")
    if head is not None and words is not None and not head.equal(words):
        raise ModelError(f"{folder} has text_model.lm_head.weight unlike its embeddings; in a KOSMOS-2 they are tied")
    return found


def _renamed(name: str) -> str:
    for prefix, ours in PREFIXES.items():
        if name.startswith(prefix):
            return ours + name.removeprefix(prefix)
    return name


@dataclass(frozen=True)
class _Pixels:
    """Images as a processor of transformers prepares them.

    Args:
        processor: it takes a picture and gives (1, 3, H, W).
        settings: what it does, as JSON.
    """

    processor: Any = field(repr=False)
    settings: str

    def __call__(self, image: Image) -> Tensor:
        """(3, H, W) of an image; it raises `BadImage`."""
        prepared: Tensor = self.processor(image.pixels(), return_tensors="pt")["pixel_values"][0]
        return prepared


def _pixels(folder: Path, side: int) -> _Pixels:
    """Return the preprocessing that a folder's own settings ask for."""
    import PIL.Image
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        shape = processor(PIL.Image.new("RGB", (side + 1, side)), return_tensors="pt")["pixel_values"].shape
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{folder} has no usable settings of an image processor: {reason}") from error
    if tuple(shape) != (1, 3, side, side):
        raise ModelError(
            f"the image processor in {folder} makes {tuple(shape[1:])} of an image, not (3, {side}, {side})"
        )
    return _Pixels(processor, json.dumps(processor.to_dict(), sort_keys=True, default=str))
