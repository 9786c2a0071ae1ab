"""Expanding the image placeholders of a text, by a model's processor or, for KOSMOS-2, by hand."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from kosmos_eval.errors import BadImage
from kosmos_eval.models.hf_prompt import Encoded, Expand
from kosmos_eval.models.hf_text import Tokens, Wording

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels


def unseen(text: str, tokens: Tokens, pictures: Sequence[Pixels]) -> Encoded:
    """The expansion of a model that sees no images: there is none."""
    return Encoded(tokens.ids)


def by_processor(processor: Any, wording: Wording, known: Collection[str]) -> Expand:
    """Expansion as the model's own processor does it; of what that makes, the inputs that the model knows are kept."""

    def expand(text: str, tokens: Tokens, pictures: Sequence[Pixels]) -> Encoded:
        import torch

        special = tokens.special
        try:
            made = processor(text=[text], images=[list(pictures)], add_special_tokens=special, return_tensors="pt")
        except ValueError as error:
            raise BadImage(f"the model's processor refuses the images: {' '.join(str(error).split())}") from error
        shape = made["input_ids"].shape
        ids = made["input_ids"][0].tolist()
        ours = ("input_ids", "attention_mask")
        inputs = {k: v for k, v in made.items() if k in known and k not in ours and torch.is_tensor(v)}
        encoded = Encoded(
            tuple(ids),
            {name: value for name, value in inputs.items() if value.shape == shape},
            {name: value for name, value in inputs.items() if value.shape != shape},
        )
        return encoded.retold(ids[: len(ids) - wording.trailing * special])

    return expand


def by_hand(processor: Any, slots: int) -> Expand:
    """Expansion for KOSMOS-2, whose processor knows one image only, at the start (the model itself takes many).

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
