"""Words as datatrove's blocks count them, without the language packages that its own tokenizers want."""

from __future__ import annotations

from typing import Any

from datatrove.utils.hashing import HashConfig
from datatrove.utils.word_tokenizers import WordTokenizer


class Words(WordTokenizer):  # type: ignore[misc]  # its blocks ask for their kind by isinstance
    """Words end at spaces: the blocks take punctuation away before."""

    def word_tokenize(self, text: str) -> list[str]:
        """Return the words of a text."""
        return text.split()

    def sent_tokenize(self, text: str) -> list[str]:
        """Return its lines, for which no block asks."""
        return text.splitlines()

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """Return all of it as one, for which no block asks."""
        return [(0, len(text))]


WORDS: Any = Words()
HASHING = HashConfig(precision=64, hash_fc="sha1")
"""Its default, xxhash, takes strings only before its version 4."""
