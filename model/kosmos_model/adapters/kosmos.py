"""The bundled model as the harness sees models; nothing heavy is imported before one is built."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.errors import ModelError
from kosmos_eval.model import Model
from kosmos_eval.models.device import pick_device
from kosmos_eval.request import Failure, LogLikelihood, Output, Request

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from kosmos_eval.model import Work
    from kosmos_eval.prompt import Image
    from kosmos_model.engine.engine import Engine
    from kosmos_model.engine.prefill import Budget
    from kosmos_model.modeling.kosmos import Kosmos
    from kosmos_model.modeling.tokenizer import PromptTokenizer, Tokenizer

WEIGHTS = Path(__file__).parents[1] / "weights" / "kosmos-nano.safetensors"
IMAGE_BYTES = 1 << 28
"""Memory for image embeddings; those of a window are held at once."""


class KosmosModel(Model):
    """A Kosmos that answers requests.

    Args:
        model: the network, on its device.
        tokenizer: what it was trained with.
        name: what reports call it.
        pixels: an image -> (3, H, W); its repr says how. By default, the whole image squashed to a square.
        batch_tokens: new tokens computed at once; None asks the device.
        note: what a report has to say of the weights, such as "untrained".
        changes: whether the weights may change between two calls of `answers`, as they do in training.
    """

    runtime_options: frozenset[str] = frozenset({"batch_tokens"})

    def __init__(
        self,
        model: Kosmos,
        tokenizer: PromptTokenizer,
        *,
        name: str,
        pixels: Callable[[Image], Tensor] | None = None,
        batch_tokens: int | None = None,
        note: str | None = None,
        changes: bool = False,
    ) -> None:
        from kosmos_model.modeling.image import Square

        self.model, self.tokenizer = model, tokenizer
        self._name, self.note = name, note
        self.pixels = pixels or Square(model.config.image_size)
        self._batch_tokens, self._changes = batch_tokens, changes
        self._engine: Engine | None = None
        self._fingerprint: str | None = None

    @property
    def name(self) -> str:
        """The preset or the folder."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """Sha256 over weights and their type, shapes, tokenizer and preprocessing, in hex."""
        found = self._fingerprint or fingerprint(self.model, self.tokenizer, pixels=repr(self.pixels))
        self._fingerprint = None if self._changes else found
        return found

    def fits(self, request: Request) -> bool:
        """Return whether prompt, images and the longest possible answer fit into the model's context."""
        from kosmos_model.engine.encoding import continuation_tree

        length = len(self.tokenizer.prompt(request.prompt)[0])
        texts = request.continuations if isinstance(request, LogLikelihood) else request.choices
        if texts is not None:
            root, after = continuation_tree(self.tokenizer, request.prompt, tuple(texts), terminated=True)
            length = max(length, root + after.depth)
        elif not isinstance(request, LogLikelihood):
            length += request.max_tokens
        return length <= self.model.config.max_length

    def answers(self, requests: Sequence[Request]) -> Iterator[tuple[int, Output | Failure]]:
        """Answer each request once, in any order, with its index; the model is in evaluation mode meanwhile."""
        engine = self._engine or self._built()
        if not self._changes:
            self._engine = engine
        training = [module for module in self.model.modules() if module.training]
        self.model.eval()
        try:
            yield from engine.answers(requests)
        finally:
            for module in training:
                module.training = True

    @property
    def work(self) -> Work:
        """The work of the engine that answers now."""
        from kosmos_eval.model import Work
        from kosmos_model.engine.cost import image_price

        if self._engine is None:
            return Work()
        work = self._engine.work
        return replace(work, flops=work.flops + work.images_encoded * image_price(self.model))

    def _built(self) -> Engine:
        from kosmos_model.engine.engine import Engine

        config, weight = self.model.config, self.model.decoder.embed_tokens.weight
        images = max(64, IMAGE_BYTES // (config.latents * config.width * weight.element_size()))
        budget = _budget(self.model, self._batch_tokens)
        return Engine(self.model, self.tokenizer, pixels=self.pixels, budget=budget, images=images)


def kosmos_nano(
    *,
    device: str = "auto",
    dtype: str = "auto",
    fit: str = "squash",
    batch_tokens: int | str = "auto",
    fsdp: bool = False,
) -> KosmosModel:
    """Load the small KOSMOS-1 that is shipped; without its weights it is untrained and says so.

    Args:
        device: auto, cpu, cuda, cuda:1.
        dtype: auto, float32, bfloat16; auto is bfloat16 on a GPU and float32 elsewhere.
        fit: squash or crop, how an image becomes a square.
        batch_tokens: tokens computed at once; auto asks the device.
        fsdp: spread the layers over the processes of torchrun, which then answer in step.

    Raises:
        ModelError: if an option is invalid.
    """
    settings = checked(device, dtype, fit=fit, batch_tokens=batch_tokens)

    from kosmos_model.modeling.checkpoint import fill, read_weights
    from kosmos_model.modeling.config import PRESETS
    from kosmos_model.modeling.image import Square
    from kosmos_model.modeling.kosmos import build
    from kosmos_model.modeling.tokenizer import NANO, Tokenizer

    config = PRESETS["kosmos-nano"]
    model, tokenizer = build(config, seed=0), Tokenizer.read(NANO, slots=config.latents)
    trained = WEIGHTS.exists()
    if trained:
        fill(model, read_weights(WEIGHTS), source=WEIGHTS)
    _put(model, settings, fsdp=fsdp)
    note = None if trained else "untrained"
    pixels, tokens = Square(config.image_size, fit), settings.batch_tokens
    return KosmosModel(model, tokenizer, name="kosmos-nano", pixels=pixels, batch_tokens=tokens, note=note)


def kosmos(
    path: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    fit: str = "squash",
    batch_tokens: int | str = "auto",
    fsdp: bool = False,
) -> KosmosModel:
    """Load a Kosmos from a folder of ``config.json``, ``model.safetensors`` and ``tokenizer.spm``.

    Args:
        path: the folder.
        device: auto, cpu, cuda, cuda:1.
        dtype: auto, float32, bfloat16; auto is bfloat16 on a GPU and float32 elsewhere.
        fit: squash or crop, how an image becomes a square.
        batch_tokens: tokens computed at once; auto asks the device.
        fsdp: spread the layers over the processes of torchrun, which then answer in step.

    Raises:
        ModelError: if an option is invalid, or the folder holds no model.
    """
    settings = checked(device, dtype, fit=fit, batch_tokens=batch_tokens)

    from kosmos_model.modeling.checkpoint import load
    from kosmos_model.modeling.image import Square

    model, tokenizer = load(path)
    _put(model, settings, fsdp=fsdp)
    place, pixels = Path(path).resolve(), Square(model.config.image_size, fit)
    name = place.parent.name if place.name == "model" else place.name  # `train nano` writes to nano/model
    return KosmosModel(model, tokenizer, name=name, pixels=pixels, batch_tokens=settings.batch_tokens)


def _put(model: Kosmos, settings: Settings, *, fsdp: bool) -> None:
    """Put a model where it answers, in evaluation mode."""
    model.eval().to(settings.dtype)
    if not fsdp:
        model.to(settings.device)
        return
    from kosmos_model.modeling.distributed import shard_for_inference

    shard_for_inference(model, settings.device)


def live(model: Kosmos, tokenizer: Tokenizer, *, name: str = "kosmos", fit: str = "squash") -> KosmosModel:
    """Wrap a Kosmos in memory for evaluation while it is trained; its mode and gradients stay as they were."""
    from kosmos_model.modeling.image import Square

    return KosmosModel(model, tokenizer, name=name, pixels=Square(model.config.image_size, fit), changes=True)


def fingerprint(model: Kosmos, tokenizer: PromptTokenizer, *, pixels: str) -> str:
    """Sha256 over everything that decides a model's answers, in hex."""
    import torch
    from torch.distributed.tensor import DTensor

    total = sha256(f"{model.config!r} {pixels} ".encode() + tokenizer.proto)
    for name, weight in sorted(model.named_parameters()):
        total.update(f"{name} {weight.dtype} {tuple(weight.shape)} ".encode())
        whole = weight.full_tensor() if isinstance(weight, DTensor) else weight  # every rank has to ask
        total.update(whole.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


@dataclass(frozen=True)
class Settings:
    """Options of a factory, checked."""

    device: torch.device
    dtype: torch.dtype
    batch_tokens: int | None


def checked(device: str, dtype: str, *, batch_tokens: int | str, fit: str = "squash") -> Settings:
    """Options that all factories have, resolved; torch is first imported here.

    Raises:
        ModelError: if one is invalid.
    """
    # threads that spin while they wait take the cores from those that work: eight times slower on a busy machine
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is first imported

    import torch

    from kosmos_model.modeling.image import FITS

    if fit not in FITS:
        raise ModelError(f"fit is {fit!r}; expected {' or '.join(FITS)}")
    if batch_tokens != "auto" and (type(batch_tokens) is not int or batch_tokens < 1):
        raise ModelError(f"batch_tokens is {batch_tokens!r}; expected auto or a positive whole number")
    types = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if dtype not in ("auto", *types):
        raise ModelError(f"dtype is {dtype!r}; expected auto, {' or '.join(types)}")
    place = pick_device(device)
    precise = types.get(dtype, torch.bfloat16 if place.type == "cuda" else torch.float32)
    return Settings(place, precise, batch_tokens=None if batch_tokens == "auto" else int(batch_tokens))


def _budget(model: Kosmos, tokens: int | None) -> Budget:
    """Return how much to compute at once: as asked, or what a CPU's cache holds, or what a GPU's free memory allows."""
    import torch

    from kosmos_model.engine.prefill import Budget

    weight = model.decoder.embed_tokens.weight
    if tokens is not None or weight.device.type != "cuda":
        return Budget(tokens or 2048, 16 * (tokens or 2048))
    free, _ = torch.cuda.mem_get_info(weight.device)
    if any(hasattr(weight, "device_mesh") for weight in model.parameters()):
        from kosmos_model.modeling.distributed import all_reduce_min

        free = all_reduce_min(free)
    slot = 2 * model.config.layers * model.config.width * weight.element_size()  # keys and values of a token
    slots = max(8192, min(1 << 20, int(free * 0.25) // slot))  # a batch, and a copy of it for those that go on
    return Budget(min(65_536, slots), slots)
