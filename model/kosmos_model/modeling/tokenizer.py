"""Text to token ids and back: SentencePiece with byte fallback and the special tokens of KOSMOS-1.

Every text comes back from its ids letter by letter: nothing is normalised, no space is put in front, and what has no
piece is spelled in bytes. Pieces never run across the start of a word, so a prompt and its continuation have the tokens
of both together wherever the continuation begins with a space or a new line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kosmos_eval.errors import ModelError

if TYPE_CHECKING:
    from kosmos_eval.prompt import Image, Prompt

BOS, PAD, EOS, UNK, SLOT, IMAGE, IMAGE_END = range(7)
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "<image>", "</image>", "</doc>", "</chunk>", "</line>")
"""The first ids of the vocabulary. ``<mask>``, which fairseq adds, keeps the places of image embeddings."""


class PromptTokenizer(Protocol):
    """The tokenizer of a model, whose first four ids are those above.

    Args:
        proto: the bytes that decide all it does.
        slots: how many embeddings stand for one image.
        slot: the id that keeps a place for one of them; no text has it.
        unspoken: ids that no answer may have.
    """

    proto: bytes
    slots: int
    slot: int
    unspoken: tuple[int, ...]

    def __len__(self) -> int: ...

    def __hash__(self) -> int: ...

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without any for an image or for the beginning or end of a document."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, special tokens left out."""
        ...

    def prompt(self, prompt: Prompt) -> tuple[list[int], tuple[Image, ...]]:
        """Return the ids of a prompt, which end in those of its last text, and its images, ``slots`` ids each."""
        ...


SPACE = "\u2581"
"""SentencePiece writes a space as this character; where a text has the character itself, it is spelled in bytes."""


class Tokenizer:
    """Texts and prompts as token ids.

    Args:
        proto: the bytes of a SentencePiece model with the special tokens above, as ``train`` makes them.
        slots: how many embeddings stand for one image.

    Raises:
        ModelError: if the bytes are no such model.
    """

    slot = SLOT
    unspoken: tuple[int, ...] = (BOS, PAD, SLOT, IMAGE, IMAGE_END)

    def __init__(self, proto: bytes, *, slots: int = 64) -> None:
        from sentencepiece import SentencePieceProcessor

        self.proto = proto
        self.slots = slots
        try:
            self._pieces: Any = SentencePieceProcessor(model_proto=proto)
            names: list[str] = [self._pieces.id_to_piece(number) for number in range(self._pieces.get_piece_size())]
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                "the tokenizer is not a SentencePiece model; train one with kosmos_model.modeling.tokenizer"
            ) from error
        if tuple(names[: len(SPECIALS)]) != SPECIALS or f"<0x{255:02X}>" not in names:
            raise ModelError(
                f"the tokenizer begins with {' '.join(names[: len(SPECIALS)])}; "
                f"expected {' '.join(SPECIALS)} and byte pieces, as kosmos_model.modeling.tokenizer trains them"
            )
        self.pieces = tuple(self._spelled(number, name) for number, name in enumerate(names))
        self._space = [names.index(f"<0x{byte:02X}>") for byte in SPACE.encode()]

    @classmethod
    def read(cls, path: str | Path, *, slots: int = 64) -> Tokenizer:
        """Return the tokenizer in a file.

        Raises:
            ModelError: if the file cannot be read or is no such model.
        """
        try:
            return cls(Path(path).read_bytes(), slots=slots)
        except OSError as error:
            raise ModelError(f"cannot read the tokenizer {path}: {error.strerror or error}") from error
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; no special token can come from one, and a lone surrogate counts as U+FFFD.

        >>> nano = Tokenizer.read(NANO)
        >>> nano.encode("Answer:") + nano.encode(" yes") == nano.encode("Answer: yes")
        True
        """
        text = re.sub("[\ud800-\udfff]", "\ufffd", text)
        ids: list[int] = []
        for index, part in enumerate(text.split(SPACE)):
            ids += self._space * (index > 0) + self._pieces.encode(part)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, special tokens left out; bytes that are no UTF-8 (half a character) become U+FFFD."""
        return b"".join(self.pieces[number] for number in ids).decode("utf-8", errors="replace")

    def prompt(self, prompt: Prompt) -> tuple[list[int], tuple[Image, ...]]:
        """Return a prompt as KOSMOS-1's flat sequence ``<s> text <image> slots </image> text`` (KOSMOS-1 Table 21).

        Returns:
            The token ids, with ``slots`` places for each image, and the images in reading order.
        """
        ids = [BOS]
        for part in prompt.parts:
            ids += self.encode(part) if isinstance(part, str) else [IMAGE, *[SLOT] * self.slots, IMAGE_END]
        return ids, prompt.images

    def _spelled(self, number: int, name: str) -> bytes:
        if self._pieces.is_byte(number):
            return bytes([int(name[3:5], 16)])
        return b"" if number < len(SPECIALS) else name.replace(SPACE, " ").encode()


def train(texts: Iterable[str], *, vocab_size: int, path: str | Path) -> Tokenizer:
    """Train a tokenizer (byte-pair encoding) and write it; the same texts in the same order give the same bytes.

    Args:
        texts: what it will read; lines are taken one by one.
        vocab_size: pieces at most, special tokens, 256 bytes and printable ASCII included; poor texts give fewer.
        path: the file to write.

    Raises:
        ModelError: if there is no text, or no room for the pieces that must be.
    """
    import io

    from sentencepiece import SentencePieceTrainer

    written = io.BytesIO()
    lines = [line for text in texts for line in text.replace(SPACE, "").split("\n") if line.strip()]
    if not lines:
        raise ModelError("a tokenizer needs texts to learn from, and there are none")
    printable = [chr(code) for code in range(ord(" "), ord("~") + 1)]
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(lines + printable),
            model_writer=written,
            model_type="bpe",
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            byte_fallback=True,
            character_coverage=0.9999,
            required_chars="".join(printable).replace(" ", SPACE),
            split_digits=True,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            bos_id=BOS,
            pad_id=PAD,
            eos_id=EOS,
            unk_id=UNK,
            unk_piece=SPECIALS[UNK],
            control_symbols=list(SPECIALS[4:]),
            user_defined_symbols=["\n"],
            max_sentence_length=1_000_000,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ModelError(f"a tokenizer of {vocab_size} pieces cannot be trained: {error}".replace("\n", " ")) from error
    tokenizer = Tokenizer(written.getvalue())
    Path(path).write_bytes(tokenizer.proto)
    return tokenizer


NANO = Path(__file__).parents[1] / "weights" / "kosmos-nano.spm"
