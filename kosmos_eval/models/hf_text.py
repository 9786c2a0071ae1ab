"""The text of a prompt as a transformers model reads it: placeholders, chat template, special tokens exactly once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from jinja2 import TemplateError

from kosmos_eval.errors import ModelError
from kosmos_eval.prompt import Prompt


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
