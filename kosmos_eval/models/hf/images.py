"""The image inputs of each family: placeholders expanded by its processor or, for KOSMOS-2 and PaliGemma, by hand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING

from kosmos_eval.errors import BadImage
from kosmos_eval.files import Json
from kosmos_eval.models.hf.loading import Loaded, Processor
from kosmos_eval.models.hf.prompts import Encoded, Expand, PromptEncoder, PromptRenderer, Tokens, image_placeholder

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels


def prompt_encoder(loaded: Loaded, *, chats: bool) -> PromptEncoder:
    """Make the encoder of a model's prompts; as turns of its chat template, if it has one and ``chats``."""
    template = loaded.processor or loaded.tokenizer
    chosen = template if chats and getattr(template, "chat_template", None) is not None else None
    config = loaded.network.config
    if loaded.processor is None:
        return PromptEncoder(PromptRenderer.of(loaded.tokenizer, ("", ""), chosen), _no_images)
    if config.model_type == "kosmos-2":
        renderer = PromptRenderer.of(loaded.tokenizer, ("<image></image>", "<image>"), chosen)
        return PromptEncoder(renderer, _by_hand_for_kosmos2(loaded.processor, config.latent_query_num))
    if config.model_type == "paligemma":
        image = loaded.processor.image_token
        layout = PaliGemmaLayout(loaded.tokenizer.bos_token or "", image)
        renderer = PromptRenderer.of(loaded.tokenizer, (image, image), layout)
        return PromptEncoder(renderer, _by_hand_for_paligemma(loaded.processor), expand_text_only=True)
    renderer = PromptRenderer.of(loaded.tokenizer, image_placeholder(loaded.processor, config), chosen)
    known = frozenset(signature(loaded.network.forward).parameters)
    return PromptEncoder(renderer, _by_processor(loaded.processor, renderer, known))


def requires_pixels(forward: Callable[..., object]) -> bool:
    """True if a network cannot be called without the pixels of an image, as BLIP-2 cannot."""
    pixels = signature(forward).parameters.get("pixel_values")
    return pixels is not None and pixels.default is pixels.empty


def _no_images(text: str, tokens: Tokens, pictures: Sequence[Pixels]) -> Encoded:
    return Encoded(tokens.ids)


def _by_processor(processor: Processor, renderer: PromptRenderer, known: Collection[str]) -> Expand:
    """Expand as the model's own processor does; of its results, the inputs that the model knows are kept."""

    def expand(text: str, tokens: Tokens, pictures: Sequence[Pixels]) -> Encoded:
        import torch

        special = tokens.special
        try:
            made = processor(text=[text], images=[list(pictures)], add_special_tokens=special, return_tensors="pt")
        except ValueError as error:
            raise BadImage(f"the model's processor refuses the images: {' '.join(str(error).split())}") from error
        shape = made["input_ids"].shape
        ids = made["input_ids"][0].tolist()
        ours = ("input_ids", "attention_mask", "labels")
        inputs = {k: v for k, v in made.items() if k in known and k not in ours and torch.is_tensor(v)}
        encoded = Encoded(
            tuple(ids),
            {name: value for name, value in inputs.items() if value.shape == shape},
            {name: value for name, value in inputs.items() if value.shape != shape},
        )
        return encoded.with_ids(ids[: len(ids) - renderer.trailing * special])

    return expand


def _by_hand_for_kosmos2(processor: Processor, slots: int) -> Expand:
    """Expand for KOSMOS-2, whose processor knows one image only, at the start (the model itself takes many).

    Each image is ``<image>``, ``slots`` places that its vectors fill, ``</image>``.
    """

    def expand(text: str, tokens: Tokens, pictures: Sequence[Pixels]) -> Encoded:
        import torch

        tokenizer = processor.tokenizer
        opens = tokenizer.convert_tokens_to_ids("<image>")
        first = tokenizer.unk_token_id + 1
        ids: list[int] = []
        filled: list[bool] = []
        for token in tokens.ids:
            places = slots if token == opens else 0
            ids += [token, *range(first, first + places)]
            filled += [False] + [True] * places
        pixels = processor.image_processor(list(pictures), return_tensors="pt")["pixel_values"]
        return Encoded(
            tuple(ids), {"image_embeds_position_mask": torch.tensor([filled]).long()}, {"pixel_values": pixels}
        )

    return expand


def _by_hand_for_paligemma(processor: Processor) -> Expand:
    """Expand for PaliGemma: a placeholder as often as an image has vectors, and attention in both directions.

    Its processor would end every text with a line break, also where a continuation follows; `PaliGemmaLayout` has it.
    """

    def expand(text: str, tokens: Tokens, pictures: Sequence[Pixels]) -> Encoded:
        import torch

        image, slots = processor.image_token_id, processor.image_seq_length
        ids = tuple(token for one in tokens.ids for token in [one] * (slots if one == image else 1))
        made = processor.image_processor(list(pictures), return_tensors="pt") if pictures else {}
        pixels = {name: value for name, value in made.items() if name == "pixel_values"}
        return Encoded(ids, {"token_type_ids": torch.zeros(1, len(ids)).long()}, pixels)

    return expand


@dataclass(frozen=True)
class PaliGemmaLayout:
    """The layout of PaliGemma's prompts, in the manner of a chat template: images, BOS, text, line break."""

    bos: str
    image: str

    def apply_chat_template(self, turns: Sequence[Json], /, **_: object) -> str:
        """Return the text of one turn, BOS after its last image, where the processor has it."""
        text: str = turns[0]["content"][0]["text"]
        after = text.rfind(self.image) + len(self.image) if self.image in text else 0
        return f"{text[:after]}{self.bos}{text[after:]}\n"
