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
from kosmos_eval.prompt import Image, Prompt

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels
    from torch import Tensor
from typing import Any, Self

from jinja2 import TemplateError


@dataclass(frozen=True)
class Tokens:
    """A text's tokens before any image is expanded.

    Args:
        ids: the tokens.
        offsets: where in the text each begins and ends.
        special: whether the tokenizer was to add its special tokens.
    """

    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    special: bool = True

    def since(self, position: int) -> int:
        """Index of the first token that begins at or after a position of the text."""
        return next((i for i, (begin, _) in enumerate(self.offsets) if begin >= position), len(self.ids))

    def beyond(self, position: int) -> int:
        """Index of the first token that reaches beyond a position of the text."""
        return next((i for i, (_, end) in enumerate(self.offsets) if end > position), len(self.ids))


@dataclass(frozen=True)
class Wording:
    """How one model's text is written and tokenised.

    Args:
        tokenizer: a fast tokenizer.
        placeholder: what stands for an image in the text; empty if the model sees none.
        reserved: the part of it that the model takes for an image wherever it stands.
        template: whatever has ``apply_chat_template``, if prompts are wrapped as one turn of the user.
        trailing: how many special tokens the tokenizer adds at the end of a text; they are taken away again.
    """

    tokenizer: Any
    placeholder: str
    reserved: str
    template: Any | None
    trailing: int

    @classmethod
    def of(cls, tokenizer: Any, images: tuple[str, str], template: Any | None) -> Self:
        """The wording of a tokenizer, with an image's placeholder and its reserved part; counts what is trailing."""
        alone = tokenizer("a", add_special_tokens=False)["input_ids"]
        whole = tokenizer("a")["input_ids"]
        starts = [i for i in range(len(whole)) if whole[i : i + len(alone)] == alone]
        return cls(tokenizer, *images, template, len(whole) - starts[0] - len(alone) if starts else 0)

    def text(self, prompt: Prompt) -> str:
        """The prompt as one string, each image a placeholder in its true place.

        Raises:
            ModelError: if the model sees no images, or the text itself holds the placeholder.
        """
        if not self.placeholder:
            if prompt.images:
                raise ModelError(
                    "the prompt has images, but the model reads text alone; take an image-text-to-text model"
                )
        elif any(self.reserved in part for part in prompt.parts if isinstance(part, str)):
            raise ModelError(f"the prompt's text holds {self.reserved!r}, which the model takes for an image")
        flat = prompt.text(self.placeholder)
        if self.template is None:
            return flat
        # One text part with its placeholders, because some templates put all images of a turn first.
        content = [{"type": "text", "text": flat}] if self.placeholder else flat
        turn = self._turn([{"role": "user", "content": content}])
        if self.placeholder and turn.count(self.placeholder) != len(prompt.images):
            raise ModelError("the chat template does not leave images in their places; use chat_template=none")
        return turn

    def _turn(self, turns: list[dict[str, Any]]) -> str:
        assert self.template is not None
        try:
            turn: str = self.template.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise ModelError(f"the chat template refuses the prompt ({error}); use chat_template=none") from error
        return turn

    def joined(self, text: str, continuation: str) -> str:
        """A continuation after a text; without its leading space where a chat template ends in a line break."""
        if self.template is not None and text[-1:].isspace():
            continuation = continuation.removeprefix(" ")
        return text + continuation

    def tokens(self, text: str, *, first: bool = True) -> Tokens:
        """Tokenise with the special tokens that begin a text, if it is the first, and without those that end one."""
        return self.tokenised([text], first=first)[0]

    def tokenised(self, texts: Sequence[str], *, first: bool = True) -> list[Tokens]:
        """The `tokens` of texts that begin alike."""
        special = first and self.specials_added(texts[0])
        made = self.tokenizer(list(texts), add_special_tokens=special, return_offsets_mapping=True)
        return [
            Tokens(tuple(ids[: len(ids) - self.trailing * special]), tuple((a, b) for a, b in offsets), special)
            for ids, offsets in zip(made["input_ids"], made["offset_mapping"], strict=True)
        ]

    def specials_added(self, text: str) -> bool:
        """Whether the tokenizer is to add its special tokens: not where the text already has its BOS."""
        return not (self.tokenizer.bos_token and text.startswith(self.tokenizer.bos_token))

    @property
    def start(self) -> int:
        """What a sequence begins with that would otherwise be empty: BOS, or the end of the text before."""
        known = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id, self.tokenizer.pad_token_id)
        return next((int(token) for token in known if token is not None), 0)

    def spoken(self, ids: Sequence[int]) -> str:
        """Generated tokens as text, without special tokens."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def image_placeholder(processor: Any, config: Any) -> tuple[str, str]:
    """What a text has where an image is, as the model's own chat template writes it, and its reserved part."""
    token: str = getattr(processor, "boi_token", None) or getattr(processor, "image_token", None) or "<image>"
    around = [getattr(config, f"vision_{edge}_token_id", None) for edge in ("start", "end")]
    plain = token if None in around else token.join(processor.tokenizer.convert_ids_to_tokens(around))
    if getattr(processor, "chat_template", None) is None:
        return plain, token
    parts = [{"type": "text", "text": "\u241e"}, {"type": "image"}, {"type": "text", "text": "\u241f"}]
    try:
        turn = processor.apply_chat_template([{"role": "user", "content": parts}], tokenize=False)
    except TemplateError:
        return plain, token  # asked with a prompt, it says so by name
    between: str = turn.partition("\u241e")[2].partition("\u241f")[0].strip()
    return (between if token in between else plain), token


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
