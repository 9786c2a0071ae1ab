"""The texts of the synthetic tasks, from which kosmos-nano's tokenizer has learned."""

from __future__ import annotations

from collections.abc import Iterator

from kosmos_tasks.synthetic import digits, new_words, opinions, scene_captions, scene_questions

ITEMS = 2000
"""Items of each recipe that are read."""


def texts(seed: int, items: int = ITEMS) -> Iterator[str]:
    """Yield the training sides in the paper's prompts, in the order of the recipes; never an item of a test side."""
    for number in ("three", "four", "eight"):
        for answer in ("Yes", "No"):
            yield f"Here are {number} images: The following image is: Is it correct? {answer}"
    yield "Introduce this picture in detail:"
    for name in digits.NAMES:
        yield from (f"The photo of the {name}", name)
    for caption in scene_captions.captions("train", items, seed):
        yield from (f"An image of {text}" for text in caption["captions"])
    for asked in scene_questions.questions("train", items, seed):
        yield from (f"Question: {asked['question']} Answer: {answer}" for answer in dict.fromkeys(asked["answers"]))
    for opinion in opinions.rows("train", items, seed):
        sentiment = ("negative", "positive")[opinion["label"]]
        yield f"{opinion['text']} Question: what is the sentiment of the opinion? Answer: {sentiment}"
        yield opinion["text"]
    for episode in new_words.rows("train", items // 20, seed):
        yield from (f"Question: what is this? Answer: {name}" for name in episode["names"])
