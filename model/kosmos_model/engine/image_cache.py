"""Image embeddings, each distinct image decoded and encoded once, the latest kept within a bound of memory.

Shapes: I images, Q slots of each, D width, H = W their side in pixels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from kosmos_eval.errors import BadImage
from kosmos_eval.prompt import Image
from kosmos_model.engine.prefill import out_of_memory


class ImageCache:
    """The embeddings of images by digest.

    Args:
        encode: (I, 3, H, W) pixels -> (I, Q, D).
        pixels: an image -> (3, H, W); it raises `BadImage`.
        capacity: embeddings kept from one call to the next.
        batch: images encoded at once; halved when memory runs out.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Tensor],
        *,
        pixels: Callable[[Image], Tensor],
        capacity: int = 4096,
        batch: int = 64,
    ) -> None:
        self.encode, self.pixels = encode, pixels
        self.capacity, self.batch = capacity, batch
        self.encoded = 0
        self._kept: OrderedDict[str, Tensor] = OrderedDict()

    def embeddings(self, images: Mapping[str, Image]) -> tuple[dict[str, Tensor], dict[str, BadImage]]:
        """Return the embedding (Q, D) of each image that can be decoded, and why the others cannot, both by digest."""
        found = {digest: self._kept[digest] for digest in images if digest in self._kept}
        failed: dict[str, BadImage] = {}
        for digest in found:
            self._kept.move_to_end(digest)
        missing = {digest: image for digest, image in images.items() if digest not in found}
        with ThreadPoolExecutor(max_workers=max(1, torch.get_num_threads())) as threads:
            for part in _parts(list(missing.items()), self.batch):
                decoded: dict[str, Tensor] = {}
                for (digest, _), result in zip(part, threads.map(self._decoded, part), strict=True):
                    if isinstance(result, BadImage):
                        failed[digest] = result
                    else:
                        decoded[digest] = result
                if decoded:
                    encoded = self._encoded(torch.stack(list(decoded.values())))
                    found.update(zip(decoded, encoded, strict=True))
                    self._keep(zip(decoded, encoded, strict=True))
        return found, failed

    def _decoded(self, item: tuple[str, Image]) -> Tensor | BadImage:
        try:
            return self.pixels(item[1])
        except BadImage as error:
            return error

    def _encoded(self, pixels: Tensor) -> list[Tensor]:
        """(I, 3, H, W) -> I of (Q, D), in as many parts as memory needs."""
        parts: list[Tensor] = []
        while sum(map(len, parts)) < len(pixels):
            start = sum(map(len, parts))
            try:
                parts.append(self.encode(pixels[start : start + self.batch]))
            except RuntimeError as error:
                if self.batch == 1 or not out_of_memory(error):
                    raise
                self.batch //= 2
        self.encoded += len(pixels)
        return [embedding.clone() for part in parts for embedding in part]

    def _keep(self, encoded: Iterator[tuple[str, Tensor]]) -> None:
        self._kept.update(encoded)
        while len(self._kept) > self.capacity:
            self._kept.popitem(last=False)


def _parts(items: Sequence[tuple[str, Image]], size: int) -> Iterator[Sequence[tuple[str, Image]]]:
    return (items[start : start + size] for start in range(0, len(items), size))
