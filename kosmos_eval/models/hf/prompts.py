"""From prompts to the inputs of a transformers model: images in their places, lengths and boundaries exact.

Each image placeholder is expanded into as many tokens as the image takes, so everything is counted on expanded
tokens; and a continuation is tokenised together with the text before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Self

from jinja2 import TemplateError

from kosmos_eval.errors import BadImage, ModelError
from kosmos_eval.models.hf.loading import ChatTemplate, Processor, Tokenizer
from kosmos_eval.prompt import Image, Prompt

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels
    from torch import Tensor
    from transformers import PreTrainedConfig

Ids = tuple[int, ...]
Decode = Callable[[Image], "Pixels"]
Expand = Callable[[str, "Tokens", "Sequence[Pixels]"], "Encoded"]


@dataclass(frozen=True)
class Encoded:
    """A prompt as a model's inputs.

    Args:
        ids: its L tokens, images expanded.
        tokenwise: further inputs with a value for each token, (1, L).
        pixels: inputs that belong to the images, in reading order.
    """

    ids: Ids
    tokenwise: Mapping[str, Tensor] = field(default_factory=dict)
    pixels: Mapping[str, Tensor] = field(default_factory=dict)

    def with_ids(self, ids: Sequence[int]) -> Encoded:
        """Return the same images with tokens that differ only after them; additional tokens are text."""
        import torch

        values = {
            name: torch.nn.functional.pad(value, (0, max(0, len(ids) - value.shape[1])))[:, : len(ids)]
            for name, value in self.tokenwise.items()
        }
        return Encoded(tuple(ids), values, self.pixels)


@dataclass(frozen=True)
class SharedPrefix:
    """The text and images that several prompts begin with.

    Args:
        text: as the model reads it, with a placeholder for each image.
        images: in their order.
    """

    text: str
    images: tuple[Image, ...]


@dataclass(frozen=True)
class Continuation:
    """One string after a prompt.

    Args:
        ids: the tokens after those that all strings of the prompt share.
        start: index of the first that belongs to the string. Where a token spans the join of prompt and string,
            it is that token, so no string is without tokens.
    """

    ids: Ids
    start: int


class TokenBoundaryError(Exception):
    """A token of a continuation reaches back into the shared prefix, so that prompt has to be read as a whole."""


@dataclass(frozen=True)
class Tokens:
    """A text's tokens before any image is expanded.

    Args:
        ids: the tokens.
        offsets: the place in the text where each begins and ends.
        special: whether the tokenizer was to add its special tokens.
    """

    ids: Ids
    offsets: tuple[tuple[int, int], ...]
    special: bool = True

    def first_from(self, position: int) -> int:
        """Return the index of the first token that begins at or after a position of the text."""
        return next((i for i, (begin, _) in enumerate(self.offsets) if begin >= position), len(self.ids))

    def first_beyond(self, position: int) -> int:
        """Return the index of the first token that reaches beyond a position of the text."""
        return next((i for i, (_, end) in enumerate(self.offsets) if end > position), len(self.ids))


@dataclass(frozen=True)
class PromptRenderer:
    """Writes and tokenises the text of one model's prompts.

    Args:
        tokenizer: a fast tokenizer.
        placeholder: the string that stands for an image in the text; empty if the model sees none.
        reserved: the part of it that the model takes for an image wherever it stands.
        template: an object with ``apply_chat_template``, if prompts are wrapped as one turn of the user.
        trailing: how many special tokens the tokenizer adds at the end of a text; they are taken away again.
    """

    tokenizer: Tokenizer
    placeholder: str
    reserved: str
    template: ChatTemplate | None
    trailing: int

    @classmethod
    def of(cls, tokenizer: Tokenizer, images: tuple[str, str], template: ChatTemplate | None) -> Self:
        """Make the renderer of a tokenizer, with an image's placeholder and its reserved part."""
        alone = tokenizer("a", add_special_tokens=False)["input_ids"]
        whole = tokenizer("a")["input_ids"]
        starts = [i for i in range(len(whole)) if whole[i : i + len(alone)] == alone]
        return cls(tokenizer, *images, template, len(whole) - starts[0] - len(alone) if starts else 0)

    def text(self, prompt: Prompt) -> str:
        """Return the prompt as one string, each image a placeholder in its true place.

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
        turns = [{"role": "user", "content": content}]
        try:
            turn = self.template.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise ModelError(f"the chat template refuses the prompt ({error}); use chat_template=none") from error
        if self.placeholder and turn.count(self.placeholder) != len(prompt.images):
            raise ModelError("the chat template does not leave images in their places; use chat_template=none")
        return turn

    def join(self, text: str, continuation: str) -> str:
        """Append a continuation, without its leading space where a chat template ends in a line break."""
        if self.template is not None and text[-1:].isspace():
            continuation = continuation.removeprefix(" ")
        return text + continuation

    def tokenize(self, text: str, *, first: bool = True) -> Tokens:
        """Tokenise with the special tokens that begin a text, if it is the first, and without those that end one."""
        return self.tokenize_all([text], first=first)[0]

    def tokenize_all(self, texts: Sequence[str], *, first: bool = True) -> list[Tokens]:
        """Tokenise texts that begin alike."""
        # Special tokens are not added where a chat template has written the BOS already.
        special = first and not (self.tokenizer.bos_token and texts[0].startswith(self.tokenizer.bos_token))
        made = self.tokenizer(list(texts), add_special_tokens=special, return_offsets_mapping=True)
        return [
            Tokens(tuple(ids[: len(ids) - self.trailing * special]), tuple((a, b) for a, b in offsets), special)
            for ids, offsets in zip(made["input_ids"], made["offset_mapping"], strict=True)
        ]

    @property
    def start(self) -> int:
        """The token that begins a sequence that would otherwise be empty: BOS, or the end of the text before."""
        known = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id, self.tokenizer.pad_token_id)
        return next((token for token in known if token is not None), 0)

    def decode(self, ids: Sequence[int]) -> str:
        """Return generated tokens as text, without special tokens."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)


def image_placeholder(processor: Processor, config: PreTrainedConfig) -> tuple[str, str]:
    """Return the string for an image in a text, as the model's own chat template writes it, and its reserved part."""
    token: str = getattr(processor, "boi_token", None) or getattr(processor, "image_token", None) or "<image>"
    around = [getattr(config, f"vision_{edge}_token_id", None) for edge in ("start", "end")]
    plain = token if None in around else token.join(processor.tokenizer.convert_ids_to_tokens(around))
    if getattr(processor, "chat_template", None) is None:
        return plain, token
    parts = [{"type": "text", "text": "\u241e"}, {"type": "image"}, {"type": "text", "text": "\u241f"}]
    try:
        turn = processor.apply_chat_template([{"role": "user", "content": parts}], tokenize=False)
    except TemplateError:
        return plain, token  # a request then fails with the template's own reason
    between: str = turn.partition("\u241e")[2].partition("\u241f")[0].strip()
    return (between if token in between else plain), token


@dataclass(frozen=True)
class PromptEncoder:
    """Encodes prompts for one model.

    Args:
        renderer: writes and tokenises their text.
        expand: expands the image placeholders of a text with these tokens.
        expand_text_only: whether a text without images is to be expanded too.
    """

    renderer: PromptRenderer
    expand: Expand
    expand_text_only: bool = False
    _image_tokens: dict[tuple[int, int, bool], int] = field(default_factory=dict)
    _expanded_tails: dict[tuple[str, ...], tuple[Ids, list[Ids]]] = field(default_factory=dict)

    def encode(self, prompt: Prompt, decode: Decode, prefix: SharedPrefix | None = None) -> Encoded:
        """Return the inputs of a prompt, or of the part after its prefix.

        Raises:
            BadImage: if an image is corrupt, or the processor refuses its form.
            ModelError: if the model cannot read such a prompt.
        """
        text, images = self._after(prompt, prefix)
        return self._expanded(text, self.renderer.tokenize(text, first=prefix is None), images, decode)

    def encode_prefix(self, prefix: SharedPrefix, decode: Decode) -> Encoded:
        """Return the inputs of a prefix."""
        return self._expanded(prefix.text, self.renderer.tokenize(prefix.text), prefix.images, decode)

    def encode_continuations(
        self,
        prompt: Prompt,
        strings: Sequence[str],
        decode: Decode,
        *,
        end: int | None,
        prefix: SharedPrefix | None = None,
    ) -> tuple[Encoded, tuple[Continuation, ...]]:
        """Return the part that all continuations of a prompt share, as inputs, and the further tokens of each.

        Args:
            prompt: what every string continues.
            strings: the continuations.
            decode: decodes an image.
            end: a token that is added to each string, if given.
            prefix: the beginning of the prompt, if only the part after it is wanted.

        Raises:
            TokenBoundaryError: if a token spans the end of the prefix.
        """
        if not strings:
            raise ModelError("the request has no strings to choose from or to score")
        text, images = self._after(prompt, prefix)
        alone = self.renderer.tokenize(text, first=prefix is None)
        base = self._expanded(text, alone, images, decode)
        placeholder = self.renderer.placeholder
        after = text.rfind(placeholder) + len(placeholder) if images else 0  # the end of the last image
        tail = alone.ids[alone.first_from(after) :] if images else base.ids
        before = base.ids[: len(base.ids) - len(tail)]
        if base.ids[len(before) :] == tail:
            joints = self.renderer.tokenize_all([self.renderer.join(text, s) for s in strings], first=prefix is None)
            kept = [joint.first_from(after) if images else 0 for joint in joints]
            sequences = [(*before, *joint.ids[own:]) for joint, own in zip(joints, kept, strict=True)]
            starts = [
                len(before) + joint.first_beyond(len(text)) - own for joint, own in zip(joints, kept, strict=True)
            ]
        else:
            sequences = self._expanded_with(strings, text[after - len(placeholder) :], base)
            starts = [_common([base.ids, ids]) for ids in sequences]
        sequences = [(*ids, *(() if end is None else (end,))) for ids in sequences]
        for string, ids, start in zip(strings, sequences, starts, strict=True):
            if start >= len(ids):
                raise ModelError(f"the continuation {string!r} has no tokens")
        if min(starts) == 0:
            if prefix is not None:
                raise TokenBoundaryError
            sequences, starts = [(self.renderer.start, *ids) for ids in sequences], [start + 1 for start in starts]
        shared = min(_common(sequences), *starts)
        continuations = (
            Continuation(ids[shared:], start - shared) for ids, start in zip(sequences, starts, strict=True)
        )
        return base.with_ids(sequences[0][:shared]), tuple(continuations)

    def _expanded_with(self, strings: Sequence[str], text: str, base: Encoded) -> list[Ids]:
        """Return a prompt's tokens with each string, where a processor changes text after an image, as Idefics2's does.

        Args:
            strings: the continuations.
            text: of the prompt, from its last placeholder on.
            base: the prompt.
        """
        import PIL.Image

        blank = PIL.Image.new("RGB", (32, 32))

        def expanded(whole: str) -> Ids:
            return self.expand(whole, self.renderer.tokenize(whole, first=False), [blank]).ids

        key = (text, *strings)
        if key not in self._expanded_tails:
            self._expanded_tails.clear()  # samples of one task mostly end alike: one is enough
            together = [expanded(self.renderer.join(text, string)) for string in strings]
            self._expanded_tails[key] = expanded(text), together
        alone, together = self._expanded_tails[key]
        after = _common([alone[::-1], base.ids[::-1]])
        return [(*base.ids[: len(base.ids) - after], *ids[len(alone) - after :]) for ids in together]

    def length(self, prompt: Prompt, strings: Sequence[str] = ()) -> int:
        """Return how many tokens a prompt takes with the longest of some strings; images count by their size alone.

        An image that cannot be read counts nothing.
        """
        count = len(self.renderer.tokenize(self.renderer.text(prompt)).ids)
        count += max((len(tokens.ids) for tokens in self.renderer.tokenize_all(strings)), default=0) if strings else 0
        sizes = (_size(image) for image in prompt.images)
        several = len(prompt.images) > 1
        return count + sum(self._growth((*size, several)) for size in sizes if size is not None)

    def _growth(self, kind: tuple[int, int, bool]) -> int:
        """The further tokens of an image of a width and height; LLaVA-OneVision has fewer where there are several."""
        import PIL.Image

        if kind not in self._image_tokens:
            *size, several = kind
            count = 1 + several
            text = self.renderer.text(Prompt(*[Prompt("x", Image(b""))] * count))
            tokens = self.renderer.tokenize(text)
            expanded = self.expand(text, tokens, [PIL.Image.new("RGB", (size[0], size[1]))] * count)
            self._image_tokens[kind] = (len(expanded.ids) - len(tokens.ids)) // count
        return self._image_tokens[kind]

    def _after(self, prompt: Prompt, prefix: SharedPrefix | None) -> tuple[str, tuple[Image, ...]]:
        """Return the text and images of a prompt after its prefix."""
        text = self.renderer.text(prompt)
        return (text[len(prefix.text) :], prompt.images[len(prefix.images) :]) if prefix else (text, prompt.images)

    def _expanded(self, text: str, tokens: Tokens, images: Sequence[Image], decode: Decode) -> Encoded:
        if not images and not self.expand_text_only:
            return Encoded(tokens.ids or (self.renderer.start,))
        return self.expand(text, tokens, [decode(image) for image in images])


def _common(sequences: Sequence[Ids]) -> int:
    """Return how many tokens all sequences begin with alike."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*sequences, strict=False)))


def _size(image: Image) -> tuple[int, int] | None:
    """Return width and height from the header; None for a corrupt image, whose request fails later."""
    try:
        return image.size
    except BadImage:
        return None
