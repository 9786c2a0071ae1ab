"""The image encoder: a CLIP vision transformer whose every token is kept (KOSMOS-1 section 2.2).

Shapes: I images, H = W the side of the input in pixels, N tokens of one image (patches and class token), D width.
"""

from __future__ import annotations

from hashlib import sha1
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kosmos_eval.errors import ModelError
from kosmos_model.modeling.config import KosmosConfig
from kosmos_model.modeling.image import MEAN, STD

KNOWN = 4096
"""The number of images that a frozen encoder remembers, the latest; nano's take 28 kB each."""


class ImageEncoder(nn.Module):
    """CLIP's vision transformer, its last norm on all tokens, each scaled to length one, as KOSMOS-2's code has it.

    Its weights have the same names whatever the version of transformers: those of the vision transformer itself.
    """

    def __init__(self, config: KosmosConfig) -> None:
        from transformers import CLIPVisionConfig, CLIPVisionModel

        super().__init__()
        shape = CLIPVisionConfig(
            hidden_size=config.vision_width,
            intermediate_size=config.vision_ffn,
            num_hidden_layers=config.vision_layers,
            num_attention_heads=config.vision_heads,
            image_size=config.image_size,
            patch_size=config.patch_size,
            hidden_act=config.vision_activation,
        )
        model = CLIPVisionModel(shape)
        self.model: Any = getattr(model, "vision_model", model)  # transformers 5 has dropped the wrapper
        if config.stem == "conv":
            self.model.embeddings.patch_embedding = ConvStem(config.vision_width, config.patch_size)
        self._known: dict[bytes, Tensor] | None = None

    def freeze(self, frozen: bool) -> None:
        """Stop training, and encode an image that comes again only once; or train again."""
        self._known = (self._known or {}) if frozen else None

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode images.

        Args:
            pixels: (I, 3, H, W), normalised.

        Returns:
            (I, N, D), each vector of length one.
        """
        if self._known is None:
            return self._encoded(pixels)
        with torch.no_grad():
            return torch.stack([self._recalled(image, self._known) for image in pixels])

    def _encoded(self, pixels: Tensor) -> Tensor:
        tokens = self.model.post_layernorm(self.model(pixels).last_hidden_state)
        return F.normalize(tokens, dim=-1)

    def _recalled(self, image: Tensor, known: dict[bytes, Tensor]) -> Tensor:
        """(N, D) of one image, encoded by itself: the last bits of a batch depend on its size."""
        key = sha1(image.cpu().numpy().tobytes()).digest()
        if key not in known:
            if len(known) == KNOWN:
                del known[next(iter(known))]
            known[key] = self._encoded(image[None])[0]
        return known[key]


class ConvStem(nn.Module):
    """Patches by a stack of stride-2 convolutions, which small encoders learn from fewer images than one large stride.

    See Xiao et al. 2021, "Early Convolutions Help Transformers See Better". Pixels are measured from a learned ground,
    white at first: otherwise what is drawn on white is a small part of each feature, and reading is hardly learned.
    """

    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        halvings = patch_size.bit_length() - 1
        widths = [3, *(width >> (halvings - 1 - step) for step in range(halvings))]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.GroupNorm(1, after), nn.GELU()]
        self.ground = nn.Parameter((1 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1))
        self.layers = nn.Sequential(*layers)
        self.projection = nn.Conv2d(width, width, 1)

    @property
    def weight(self) -> Tensor:
        """The weight by whose dtype CLIP casts its input."""
        return self.projection.weight

    def forward(self, pixels: Tensor) -> Tensor:
        """(I, 3, H, W) -> (I, D, H / patch, W / patch)."""
        patches: Tensor = self.projection(self.layers(self.ground - pixels))
        return patches


def freeze_all_but_last_layer(encoder: ImageEncoder) -> None:
    """Leave only the last layer, with the norm on it, to be trained (KOSMOS-1 section 2.2)."""
    encoder.requires_grad_(False)
    encoder.model.encoder.layers[-1].requires_grad_(True)
    encoder.model.post_layernorm.requires_grad_(True)


def load_clip(encoder: ImageEncoder, folder: str | Path) -> None:
    """Fill an encoder with the pretrained CLIP that transformers saved in a folder, whole or its vision part.

    Raises:
        ModelError: if there is no such model in safetensors, or it is of another shape.
    """
    from transformers import CLIPVisionConfig, CLIPVisionModel

    try:
        _same_shape(CLIPVisionConfig.from_pretrained(folder, local_files_only=True), encoder.model.config, folder)
        loaded: Any = CLIPVisionModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True, dtype=torch.float32
        )
        clip, report = loaded
    except OSError as error:
        raise ModelError(f"no CLIP in safetensors in {folder}: {str(error).splitlines()[0]}") from error
    if missing := sorted(report["missing_keys"]):
        raise ModelError(f"the CLIP in {folder} lacks {len(missing)} weights, as {missing[0]}; save it again, whole")
    try:
        encoder.model.load_state_dict(getattr(clip, "vision_model", clip).state_dict())
    except RuntimeError as error:
        raise ModelError(f"the CLIP in {folder} makes patches by one convolution; use stem='patch'") from error


def _same_shape(found: object, wanted: object, folder: str | Path) -> None:
    sizes = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size")
    for name in (*sizes, "hidden_act"):
        there, here = getattr(found, name), getattr(wanted, name)
        if there != here:
            raise ModelError(f"the CLIP in {folder} has {name} {there}, but this model {here}; change its config")
