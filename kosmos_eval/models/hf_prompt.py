"""From prompts to the inputs of a transformers model: images in their places, lengths and boundaries exact.

Each image placeholder is expanded into as many tokens as the image takes, so everything is counted on expanded
tokens; and a continuation is tokenised together with the text before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING

from kosmos_eval.errors import BadImage, ModelError
from kosmos_eval.models.hf_text import Tokens, Wording
from kosmos_eval.prompt import Image, Prompt

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels
    from torch import Tensor

Decode = Callable[[Image], "Pixels"]
Expand = Callable[[str, Tokens, "Sequence[Pixels]"], "Encoded"]


@dataclass(frozen=True)
class Encoded:
    """A prompt as a model's inputs.

    Args:
        ids: its L tokens, images expanded.
        tokenwise: further inputs with a value for each token, (1, L).
        pixels: inputs that belong to the images, in reading order.
    """

    ids: tuple[int, ...]
    tokenwise: Mapping[str, Tensor] = field(default_factory=dict)
    pixels: Mapping[str, Tensor] = field(default_factory=dict)

    def retold(self, ids: Sequence[int]) -> Encoded:
        """The same images under tokens that differ only after them; what is longer is text."""
        import torch

        values = {
            name: torch.nn.functional.pad(value, (0, max(0, len(ids) - value.shape[1])))[:, : len(ids)]
            for name, value in self.tokenwise.items()
        }
        return Encoded(tuple(ids), values, self.pixels)


@dataclass(frozen=True)
class Branch:
    """One string after a prompt.

    Args:
        ids: the tokens after what all strings of the prompt share.
        start: index of the first that belongs to the string. Where a token spans the join of prompt and string,
            it is that token, so no string is without tokens.
    """

    ids: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class Head:
    """What several prompts begin with.

    Args:
        text: as the model reads it, with a placeholder for each image.
        images: in their order.
    """

    text: str
    images: tuple[Image, ...]


class Inseparable(Exception):
    """A token of a continuation reaches back into the head, so that prompt has to be read as a whole."""


@dataclass(frozen=True)
class Reader:
    """Reads prompts for one model.

    Args:
        wording: how its text is written.
        expand: expands the image placeholders of a text with these tokens.
    """

    wording: Wording
    expand: Expand
    _taken: dict[tuple[int, int], int] = field(default_factory=dict)

    def encoded(self, prompt: Prompt, decode: Decode, head: Head | None = None) -> Encoded:
        """The inputs of a prompt, or of what follows its head.

        Raises:
            BadImage: if an image cannot be decoded, or the processor refuses its form.
            ModelError: if the model cannot read such a prompt.
        """
        text, images = self._rest(prompt, head)
        return self._expanded(text, self.wording.tokens(text, first=head is None), images, decode)

    def opening(self, head: Head, decode: Decode) -> Encoded:
        """The inputs of a head."""
        return self._expanded(head.text, self.wording.tokens(head.text), head.images, decode)

    def branched(
        self, prompt: Prompt, strings: Sequence[str], decode: Decode, *, end: int | None, head: Head | None = None
    ) -> tuple[Encoded, tuple[Branch, ...]]:
        """What the continuations of a prompt share, as inputs, and each one's own tokens.

        Args:
            prompt: what every string continues.
            strings: the continuations.
            decode: decodes an image.
            end: a token that is added to each string, if given.
            head: what the prompt begins with, if only what follows it is wanted.

        Raises:
            Inseparable: if that cannot be.
        """
        text, images = self._rest(prompt, head)
        alone = self.wording.tokens(text, first=head is None)
        base = self._expanded(text, alone, images, decode)
        after = text.rfind(self.wording.placeholder) + len(self.wording.placeholder) if images else 0
        tail = alone.ids[alone.since(after) :] if images else base.ids
        before = base.ids[: len(base.ids) - len(tail)]
        if base.ids[len(before) :] != tail:
            raise ModelError("the model's processor changes the text after an image, so no boundary is exact in it")
        if not strings:
            raise ModelError("the request has no strings to choose from or to score")
        sequences, starts = [], []
        together = [self.wording.joined(text, string) for string in strings]
        joints = self.wording.tokenised(together, first=head is None)
        for string, joint in zip(strings, joints, strict=True):
            kept = joint.since(after) if images else 0
            sequences.append((*before, *joint.ids[kept:], *(() if end is None else (end,))))
            starts.append(len(before) + joint.beyond(len(text)) - kept)
            if starts[-1] >= len(sequences[-1]):
                raise ModelError(f"the continuation {string!r} has no tokens")
        if min(starts) == 0:
            if head is not None:
                raise Inseparable
            sequences, starts = [(self.wording.start, *ids) for ids in sequences], [start + 1 for start in starts]
        shared = min(_common(sequences), *starts)
        branches = (Branch(ids[shared:], start - shared) for ids, start in zip(sequences, starts, strict=True))
        return base.retold(sequences[0][:shared]), tuple(branches)

    def length(self, prompt: Prompt, strings: Sequence[str] = ()) -> int:
        """How many tokens a prompt takes with the longest of some strings; images count by their size alone.

        An image that cannot be read counts nothing.
        """
        count = len(self.wording.tokens(self.wording.text(prompt)).ids)
        count += max((len(tokens.ids) for tokens in self.wording.tokenised(strings)), default=0) if strings else 0
        sizes = (_size(image) for image in prompt.images)
        return count + sum(self._growth(size) for size in sizes if size is not None)

    def _growth(self, size: tuple[int, int]) -> int:
        import PIL.Image

        if size not in self._taken:
            tokens = self.wording.tokens(self.wording.placeholder)
            blank = self.expand(self.wording.placeholder, tokens, [PIL.Image.new("RGB", size)])
            self._taken[size] = len(blank.ids) - len(tokens.ids)
        return self._taken[size]

    def _rest(self, prompt: Prompt, head: Head | None) -> tuple[str, tuple[Image, ...]]:
        """The text and images of a prompt after its head."""
        text = self.wording.text(prompt)
        return (text[len(head.text) :], prompt.images[len(head.images) :]) if head else (text, prompt.images)

    def _expanded(self, text: str, tokens: Tokens, images: Sequence[Image], decode: Decode) -> Encoded:
        if not images:
            return Encoded(tokens.ids or (self.wording.start,))
        return self.expand(text, tokens, [decode(image) for image in images])


def _common(sequences: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all sequences begin with alike."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*sequences, strict=False)))


def _size(image: Image) -> tuple[int, int] | None:
    """Width and height from the header; None for what cannot be decoded, which fails when it is asked."""
    try:
        return image.size
    except BadImage:
        return None
