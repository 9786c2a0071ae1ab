"""KOSMOS-2's own tokenizer, from the ``tokenizer.json`` beside its weights.

It drops the space that begins a text, and knows no line break, so an answer comes back without them. Its tags for
grounding (``<grounding>``, ``<phrase>``, ``<patch_index_0000>``, ...) are tokens wherever a text has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from kosmos_eval.errors import ModelError
from kosmos_model.modeling.tokenizer import BOS

if TYPE_CHECKING:
    from kosmos_eval.prompt import Image, Prompt

FIRST = ("<s>", "<pad>", "</s>", "<unk>")
IMAGE, IMAGE_END, SLOT = "<image>", "</image>", "</doc>"
"""``</doc>``, which no prompt has, keeps the places of image embeddings: what stands there is never looked up."""

_GIVEN = re.compile(r"(?<=<)(?=(?:s|pad|/s|unk|mask|/?image|/doc)>)")


class Kosmos2Tokenizer:
    """Texts and prompts as the token ids of KOSMOS-2.

    Args:
        proto: the bytes of a ``tokenizer.json``.
        slots: how many embeddings stand for one image.

    Raises:
        ModelError: if the bytes are no such tokenizer.
    """

    unspoken: tuple[int, ...] = ()

    def __init__(self, proto: bytes, *, slots: int = 64) -> None:
        from tokenizers import Tokenizer

        self.proto, self.slots = proto, slots
        try:
            self._tokens = Tokenizer.from_buffer(proto)
        except Exception as error:  # the library raises nothing narrower
            raise ModelError(f"it is cut short or no tokenizer ({error}); copy it again") from error
        self._tokens.no_padding()
        self._tokens.no_truncation()
        first = tuple(self._tokens.id_to_token(number) for number in range(len(FIRST)))
        if first != FIRST:
            raise ModelError(f"its first tokens are {' '.join(map(str, first))}; KOSMOS-2's are {' '.join(FIRST)}")
        self.image, self.image_end, self.slot = (self._id(token) for token in (IMAGE, IMAGE_END, SLOT))

    @classmethod
    def read(cls, path: Path, *, slots: int) -> Kosmos2Tokenizer:
        """Return the tokenizer in a file.

        Raises:
            ModelError: if the file cannot be read or is no such tokenizer.
        """
        try:
            return cls(path.read_bytes(), slots=slots)
        except OSError as error:
            raise ModelError(
                f"cannot read the tokenizer {path}: {error.strerror or error}; copy it from where the weights are from"
            ) from error
        except ModelError as error:
            raise ModelError(f"{path} is not KOSMOS-2's: {error}") from error

    def __len__(self) -> int:
        return self._tokens.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; what looks like a tag of an image or of a document's bounds is spelled out."""
        text = re.sub("[\ud800-\udfff]", "\ufffd", text)
        return [
            number for part in _GIVEN.split(text) for number in self._tokens.encode(part, add_special_tokens=False).ids
        ]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, special tokens left out, tags for grounding left in."""
        return self._tokens.decode(list(ids), skip_special_tokens=True)

    def prompt(self, prompt: Prompt) -> tuple[list[int], tuple[Image, ...]]:
        """Return a prompt as ``<s> text <image> slots </image> text``; white space before an image counts for nothing.

        Returns:
            The token ids, with ``slots`` places for each image, and the images in reading order.
        """
        ids = [BOS]
        last = len(prompt.parts) - 1
        for index, part in enumerate(prompt.parts):
            if isinstance(part, str):
                ids += self.encode(part if index == last else part.rstrip())
            else:
                ids += [self.image, *[self.slot] * self.slots, self.image_end]
        return ids, prompt.images

    def _id(self, token: str) -> int:
        found = self._tokens.token_to_id(token)
        if found is None:
            raise ModelError(f"it lacks {token}; save it with KOSMOS-2's processor")
        return found
