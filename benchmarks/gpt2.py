"""A GPT-2 of random weights, saved as a transformers folder: a language model that any harness can load.

It needs transformers alone, so that a peer's Python can write it in its own version:

    python -m benchmarks.gpt2 FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.llava import tokenizer

SENTENCES = ["the cat sat on the mat and looked at her", "he took it because she was too big for the house"]


def save(folder: Path) -> None:
    """Write model and tokenizer; the weights are spread wide, so that likelihoods differ."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    words = tokenizer(SENTENCES * 20)
    config = GPT2Config(
        vocab_size=len(words),
        n_positions=1024,
        n_embd=64,
        n_layer=2,
        n_head=4,
        initializer_range=0.2,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    torch.manual_seed(0)
    GPT2LMHeadModel(config).eval().save_pretrained(folder)
    words.save_pretrained(folder)


if __name__ == "__main__":
    save(Path(sys.argv[1]))
