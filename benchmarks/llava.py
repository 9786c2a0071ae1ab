"""Two LLaVA models of random weights, saved as a transformers folder: what our adapter and its peers are measured on.

``tiny`` has half a million parameters and 49 tokens an image, ``small`` 24 million and 196. It needs transformers
alone, so that a peer's Python can run it too, in whose version the folder is then written:

    python -m benchmarks.llava small FOLDER
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIDE = 224
PAD, BEGIN, END, UNKNOWN, IMAGE = SPECIALS = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
TEMPLATE = (
    "{% for turn in messages %}{% for part in turn['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
)
"""A conversation as it stands, images where they are."""


@dataclass(frozen=True)
class Size:
    """Of a model: side of a patch in pixels, then width, layers and heads of its two parts."""

    patch: int
    vision: tuple[int, int, int]
    text: tuple[int, int, int]


SIZES = {"tiny": Size(32, (64, 2, 4), (64, 2, 4)), "small": Size(16, (256, 6, 4), (384, 8, 8))}


def tokenizer(words: list[str]) -> Any:
    """A byte-level BPE that knows the words of some sentences."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2000, special_tokens=list(SPECIALS), initial_alphabet=alphabet)
    made.train_from_iterator(words, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        unk_token=UNKNOWN,
        model_max_length=4096,
        model_input_names=["input_ids", "attention_mask"],
        extra_special_tokens={"image_token": IMAGE},
    )


def save(kind: str, folder: Path, sentences: list[str]) -> None:
    """Write model, tokenizer and processor; the same size gives the same weights."""
    import torch
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    size, words = SIZES[kind], tokenizer(sentences * 20)
    width, layers, heads = size.vision
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        image_size=SIDE,
        patch_size=size.patch,
        projection_dim=width,
    )
    width, layers, heads = size.text
    ends = {"pad_token_id": words.pad_token_id, "bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id}
    text = LlamaConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=4096,
        **ends,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=words.convert_tokens_to_ids(IMAGE),
        image_seq_length=(SIDE // size.patch) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )
    torch.manual_seed(0)
    network = LlavaForConditionalGeneration(config).eval()
    for name, value in ends.items():
        setattr(network.generation_config, name, value)
    network.save_pretrained(folder)
    LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}),
        words,
        patch_size=size.patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)


if __name__ == "__main__":
    from benchmarks.shapes import sentences

    save(sys.argv[1], Path(sys.argv[2]), sentences())
