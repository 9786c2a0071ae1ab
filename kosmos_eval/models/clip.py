"""The image embeddings of a CLIP, by which similar images are found."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kosmos_eval.errors import BadImage, ModelError
from kosmos_eval.models.device import pick_device
from kosmos_eval.prompt import Image

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray
    from PIL.Image import Image as Pixels
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection


class ClipImages:
    """Images in the space that CLIP shares with text, as its own processor prepares them.

    Args:
        network: a transformers ``CLIPVisionModelWithProjection``.
        processor: its image processor.
        name: its name in reports.
        fingerprint: of weights and processor.
    """

    def __init__(
        self, network: CLIPVisionModelWithProjection, processor: CLIPImageProcessor, *, name: str, fingerprint: str
    ) -> None:
        self.network, self.processor = network, processor
        self.name, self.fingerprint = name, fingerprint

    def vectors(self, images: Sequence[Image]) -> Sequence[NDArray[float32] | BadImage]:
        """Return for each image its vector (D,), or the error where it is corrupt."""
        import torch

        with ThreadPoolExecutor(max_workers=max(1, torch.get_num_threads())) as threads:
            decoded = list(threads.map(_decoded, images))
        pictures = [pixels for pixels in decoded if not isinstance(pixels, BadImage)]
        if not pictures:
            return [pixels for pixels in decoded if isinstance(pixels, BadImage)]
        inputs = self.processor(images=pictures, return_tensors="pt").to(self.network.device)
        with torch.inference_mode():
            embedded = iter(self.network(**inputs).image_embeds.float().cpu().numpy())
        return [pixels if isinstance(pixels, BadImage) else next(embedded) for pixels in decoded]


def _decoded(image: Image) -> Pixels | BadImage:
    try:
        return image.pixels()
    except BadImage as error:
        return error


def load(path: str = "", *, device: str = "auto") -> ClipImages:
    """Load a CLIP from a folder, or by its name on the Hub, in fp32.

    Raises:
        ModelError: if there is none, or it cannot be loaded safely.
    """
    if not path:
        raise ModelError("--shots-from rices:clip names no model; expected rices:clip:PATH, or a name on the Hub")

    from kosmos_eval.models.hf.loading import check_config, digest, find

    folder, place = find(path, None), pick_device(device, others=True)
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    try:
        config = CLIPVisionConfig.from_pretrained(folder, local_files_only=True)
        check_config(config, folder)
        loaded: Any = CLIPVisionModelWithProjection.from_pretrained(
            folder,
            config=config,
            use_safetensors=True,
            weights_only=True,
            output_loading_info=True,
            local_files_only=True,
            dtype="float32",
        )
        processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"no CLIP can be loaded from {folder}: {' '.join(str(error).split())}") from error
    network, report = loaded
    if report["missing_keys"]:
        raise ModelError(f"{folder} holds no CLIP: its weights lack {min(report['missing_keys'])}")
    return ClipImages(network.to(place).eval(), processor, name=Path(path).name, fingerprint=digest(folder))
