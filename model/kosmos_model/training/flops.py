"""The operations of a training step, and their share of a device's peak.

Model FLOPs: what a forward and a backward pass need, a multiply-add as two; not padding, and not what is computed again
to save memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from kosmos_model.data.batches import MicroBatch
from kosmos_model.modeling.config import KosmosConfig
from kosmos_model.modeling.kosmos import build
from kosmos_model.modeling.tokenizer import PAD
from kosmos_model.modeling.vision import freeze_all_but_last_layer

PEAKS = {
    "B200": 2250e12,
    "GH200": 989e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "4090": 165e12,
}
"""Dense bf16 operations a second as the makers' data sheets have them, by a part of the device's name, first match."""


@dataclass(frozen=True)
class Price:
    """The price of a model's training, in floating-point operations.

    Args:
        token: of a token, its attention's scores aside.
        pair: of a token and each that it sees.
        predicted: of a token whose prediction counts.
        image: of a different image.
        peak: of the device, each second.
    """

    token: float
    pair: float
    predicted: float
    image: float
    peak: float

    @classmethod
    def on(cls, device: torch.device, config: KosmosConfig, *, frozen: bool) -> Price | None:
        """Return the price on a device; None where its peak is not known.

        Args:
            device: where the model is trained.
            config: of the model.
            frozen: whether only the image encoder's last layer is trained.
        """
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
        peak = next((peak for part, peak in PEAKS.items() if part in name), None)
        return None if peak is None else cls.of(config, frozen=frozen, peak=peak)

    @classmethod
    def of(cls, config: KosmosConfig, *, frozen: bool, peak: float) -> Price:
        """Return the price of a configuration: a backward pass costs twice the forward one."""
        layer = 4 * config.width**2 + 2 * config.width * config.ffn
        return cls(
            token=6 * config.layers * layer,
            pair=12 * config.layers * config.width,
            predicted=6 * config.width * config.vocab_size,
            image=_image(config, frozen=frozen),
            peak=peak,
        )

    def part(self, part: MicroBatch) -> float:
        """Return the operations of a part of a batch."""
        lengths = (part.tokens != PAD).sum(1)  # (B,)
        pairs = int((lengths * (lengths + 1) // 2).sum())
        predicted = int((part.weights[:, 1:] > 0).sum())
        return (
            self.token * int(lengths.sum())
            + self.pair * pairs
            + self.predicted * predicted
            + self.image * len(part.pixels)
        )

    def utilisation(self, parts: Sequence[MicroBatch], *, seconds: float) -> float:
        """Return the part of the peak that some parts take when they are computed in so many seconds."""
        return sum(map(self.part, parts)) / seconds / self.peak


def _image(config: KosmosConfig, *, frozen: bool) -> float:
    """Return the operations of an image up to its embeddings, as torch counts them on the meta device."""
    with torch.device("meta"):
        model = build(config, seed=0)
        pixels = torch.empty(1, 3, config.image_size, config.image_size)
    if frozen:
        freeze_all_but_last_layer(model.vision)
    with FlopCounterMode(display=False) as counter:
        model.embed_images(pixels).sum().backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops())
