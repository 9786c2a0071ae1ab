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

BLANK = Image(b"")
"""Some image, where only its place counts."""

Ids = tuple[int, ...]
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
        alike: whether a text without images is to be expanded too.
    """

    wording: Wording
    expand: Expand
    alike: bool = False
    _taken: dict[tuple[int, int, bool], int] = field(default_factory=dict)
    _told: dict[tuple[str, ...], tuple[Ids, list[Ids]]] = field(default_factory=dict)

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
        if not strings:
            raise ModelError("the request has no strings to choose from or to score")
        text, images = self._rest(prompt, head)
        alone = self.wording.tokens(text, first=head is None)
        base = self._expanded(text, alone, images, decode)
        after = text.rfind(self.wording.placeholder) + len(self.wording.placeholder) if images else 0
        tail = alone.ids[alone.since(after) :] if images else base.ids
        before = base.ids[: len(base.ids) - len(tail)]
        if base.ids[len(before) :] == tail:
            joints = self.wording.tokenised([self.wording.joined(text, one) for one in strings], first=head is None)
            kept = [joint.since(after) if images else 0 for joint in joints]
            sequences = [(*before, *joint.ids[own:]) for joint, own in zip(joints, kept, strict=True)]
            starts = [len(before) + joint.beyond(len(text)) - own for joint, own in zip(joints, kept, strict=True)]
        else:
            sequences = self._retold(text[after - len(self.wording.placeholder) :], base, strings)
            starts = [_common([base.ids, ids]) for ids in sequences]
        sequences = [(*ids, *(() if end is None else (end,))) for ids in sequences]
        for string, ids, start in zip(strings, sequences, starts, strict=True):
            if start >= len(ids):
                raise ModelError(f"the continuation {string!r} has no tokens")
        if min(starts) == 0:
            if head is not None:
                raise Inseparable
            sequences, starts = [(self.wording.start, *ids) for ids in sequences], [start + 1 for start in starts]
        shared = min(_common(sequences), *starts)
        branches = (Branch(ids[shared:], start - shared) for ids, start in zip(sequences, starts, strict=True))
        return base.retold(sequences[0][:shared]), tuple(branches)

    def _retold(self, text: str, base: Encoded, strings: Sequence[str]) -> list[Ids]:
        """The tokens of a prompt with each string, where the processor changes text after an image, as Idefics2's does.

        Args:
            text: of the prompt, from its last placeholder on.
            base: the prompt.
            strings: the continuations.
        """
        import PIL.Image

        blank = PIL.Image.new("RGB", (32, 32))

        def told(whole: str) -> Ids:
            return self.expand(whole, self.wording.tokens(whole, first=False), [blank]).ids

        key = (text, *strings)
        if key not in self._told:
            self._told.clear()  # samples of one task mostly end alike: one is enough
            self._told[key] = told(text), [told(self.wording.joined(text, string)) for string in strings]
        alone, together = self._told[key]
        after = _common([alone[::-1], base.ids[::-1]])
        return [(*base.ids[: len(base.ids) - after], *ids[len(alone) - after :]) for ids in together]

    def length(self, prompt: Prompt, strings: Sequence[str] = ()) -> int:
        """How many tokens a prompt takes with the longest of some strings; images count by their size alone.

        An image that cannot be read counts nothing.
        """
        count = len(self.wording.tokens(self.wording.text(prompt)).ids)
        count += max((len(tokens.ids) for tokens in self.wording.tokenised(strings)), default=0) if strings else 0
        sizes = (_size(image) for image in prompt.images)
        several = len(prompt.images) > 1
        return count + sum(self._growth((*size, several)) for size in sizes if size is not None)

    def _growth(self, kind: tuple[int, int, bool]) -> int:
        """The further tokens of an image of a width and height; LLaVA-OneVision has fewer where there are several."""
        import PIL.Image

        if kind not in self._taken:
            *size, several = kind
            count = 1 + several
            text = self.wording.text(Prompt(*[Prompt("x", BLANK)] * count))
            tokens = self.wording.tokens(text)
            expanded = self.expand(text, tokens, [PIL.Image.new("RGB", (size[0], size[1]))] * count)
            self._taken[kind] = (len(expanded.ids) - len(tokens.ids)) // count
        return self._taken[kind]

    def _rest(self, prompt: Prompt, head: Head | None) -> tuple[str, tuple[Image, ...]]:
        """The text and images of a prompt after its head."""
        text = self.wording.text(prompt)
        return (text[len(head.text) :], prompt.images[len(head.images) :]) if head else (text, prompt.images)

    def _expanded(self, text: str, tokens: Tokens, images: Sequence[Image], decode: Decode) -> Encoded:
        if not images and not self.alike:
            return Encoded(tokens.ids or (self.wording.start,))
        return self.expand(text, tokens, [decode(image) for image in images])


def _common(sequences: Sequence[Ids]) -> int:
    """How many tokens all sequences begin with alike."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*sequences, strict=False)))


def _size(image: Image) -> tuple[int, int] | None:
    """Width and height from the header; None for what cannot be decoded, which fails when it is asked."""
    try:
        return image.size
    except BadImage:
        return None
