"""Pictures as the tensors that CLIP takes.

Shapes: H = W the side of the input, in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kosmos_eval.errors import UnknownName

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

    from kosmos_eval.prompt import Image

FITS = ("squash", "crop")
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation of each colour channel in CLIP's training images."""


def to_tensor(pixels: Pixels, side: int, *, fit: str = "squash") -> Tensor:
    """One picture, bicubically resized and normalised as for CLIP.

    Args:
        pixels: an RGB picture of any size.
        side: height and width of the result, in pixels.
        fit: ``squash`` stretches the whole picture to a square, as the released inference code of KOSMOS-2 does;
            ``crop`` scales the shorter side and cuts the middle out, as its training code does. The paper says neither.
            Squashing is the default because it loses nothing: a line of text or a shape at the edge is seen whole.

    Returns:
        (3, side, side) float32.

    Raises:
        UnknownName: if there is no such fit.
    """
    from PIL.Image import Resampling

    if fit not in FITS:
        raise UnknownName("fit", fit, FITS)
    width, height = pixels.size
    if fit == "crop":
        width, height = side * width // min(width, height), side * height // min(width, height)
        left, top = round((width - side) / 2), round((height - side) / 2)
        square = pixels.resize((width, height), Resampling.BICUBIC).crop((left, top, left + side, top + side))
    else:
        square = pixels.resize((side, side), Resampling.BICUBIC)
    levels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8).view(side, side, 3)
    scaled = levels.permute(2, 0, 1).float() / 255  # (3, side, side)
    return (scaled - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


@dataclass(frozen=True)
class Square:
    """Images as squares of one size; the arguments are those of ``to_tensor``."""

    side: int
    fit: str = "squash"

    def __call__(self, image: Image) -> Tensor:
        """(3, side, side) of an image; it raises `BadImage`."""
        return to_tensor(image.pixels(), self.side, fit=self.fit)
