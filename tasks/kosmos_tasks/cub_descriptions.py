"""Classification with descriptions: which of two categories a picture shows (KOSMOS-1 section 4.7).

Prompt: ``Description of three toed woodpecker: {description} Description of downy woodpecker: {description}``, the
image, then ``Question:what is the name of the woodpecker in the picture? Answer:``; and without descriptions the image,
then ``Question:what is the name of the woodpecker in the picture, three toed or downy? Answer:``; greedy.

Source: the paper's three pairs of birds, 20 images a category, are not released. The first pair is of CUB-200-2011
(https://www.vision.caltech.edu/datasets/cub_200_2011, for non-commercial research): without a file of yours it is what
is asked, with the first 20 images of each folder. For other pairs put ``groups.json`` beside the folders of images:
``[{"kind": "woodpecker", "categories": [{"name": "downy", "description": "It has ...", "images": FOLDER}, ...]}]``.
Not on the hub.

Our defaults where the paper is silent: it counts "three toe woodpecker" as right, so an answer is right if it names the
right category and not the other one (`names`). The template in its text lacks a "the" that its figure has; we follow
the figure. Extension: the paper is zero-shot here; demonstrations are other images, drawn leave-one-out.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from kosmos_eval.fewshot.selection import few_shot
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.registry import register
from kosmos_eval.request import Completion, Generate, Request
from kosmos_eval.sample import Sample
from kosmos_eval.source import Row, Source
from kosmos_eval.task import Score
from kosmos_tasks.families.splits import Splits, SplitTask
from kosmos_tasks.families.suites import KOSMOS1, SYNTHETIC
from kosmos_tasks.formats import cub
from kosmos_tasks.synthetic import creatures

SPLITS = Splits(
    "cub_descriptions",
    get="https://www.vision.caltech.edu/datasets/cub_200_2011: images/ of two woodpeckers, under cub/; for other "
    "pairs groups.json beside their folders",
    synthetic=lambda split, images: creatures.rows(split),
    sizes={"test": 80, "train": 80},
    files=cub.FILES,
    options=("images",),
)


@register("cub_descriptions")
@dataclass(frozen=True)
class CUBDescriptions(SplitTask):
    """Two categories, one of which a picture shows, with their descriptions and without.

    Args:
        source: where the pictures come from.
        images: how many pictures of a category, the first by name.
        max_tokens: the most tokens of an answer.
    """

    source: Source = field(default_factory=Source)
    images: int = 20
    max_tokens: int = 20

    splits: ClassVar[Splits] = SPLITS
    info = SPLITS.info("accuracy_with_descriptions", suites=(KOSMOS1, SYNTHETIC), extension=True)

    def sample(self, row: Row) -> Sample:
        kind, categories = row["kind"], row["names"]
        question = f"Question:what is the name of the {kind} in the picture"
        described = " ".join(
            f"Description of {name} {kind}: {description}"
            for name, description in zip(categories, row["descriptions"], strict=True)
        )
        image = Image.of(row["image"])
        choices = tuple(f"{name} {kind}" for name in categories)
        return Sample(
            row["id"],
            Prompt(image, f"{question}, {' or '.join(categories)}? Answer:"),
            target=choices[row["target"]],
            choices=choices,
            group=row["id"],
            kind=kind,
            extra={"described": Prompt(described, image, f"{question}? Answer:")},
        )

    def requests(self, sample: Sample, shots: Sequence[Sample]) -> Sequence[Request]:
        prompts = (few_shot(_described(sample), [_described(shot) for shot in shots]), few_shot(sample, shots))
        return [Generate(prompt, self.max_tokens, stop=("\n",)) for prompt in prompts]

    def score(self, sample: Sample, outputs: Sequence[Completion]) -> Score:
        described, plain = (output.text.strip() for output in outputs)
        answers = {"accuracy_with_descriptions": described, "accuracy_without_descriptions": plain}
        values = {name: float(names(answer, sample.target, sample.choices)) for name, answer in answers.items()}
        return Score(values, described, {"without_descriptions": plain})


def names(answer: str, target: str, choices: Sequence[str]) -> bool:
    """Return whether an answer names the target and no other choice.

    A choice is named by the words that the others do not have; a word may lack its ending.

    >>> names("three toe woodpecker", "three toed woodpecker", ["three toed woodpecker", "downy woodpecker"])
    True
    >>> names("woodpecker", "downy woodpecker", ["three toed woodpecker", "downy woodpecker"])
    False
    """
    said = _words(answer)
    named = []
    for choice in choices:
        others = {word for other in choices if other != choice for word in _words(other)}
        own = [word for word in _words(choice) if word not in others]
        named += [choice] if own and all(any(_alike(word, other) for other in said) for word in own) else []
    return named == [target]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _alike(word: str, other: str) -> bool:
    """Return whether two words differ in the ending alone: they share all but the shorter one's last letter."""
    stem = max(3, min(len(word), len(other)) - 1)
    return word == other or (word[:stem] == other[:stem] and abs(len(word) - len(other)) < 3)


def _described(sample: Sample) -> Sample:
    return replace(sample, prompt=sample.extra["described"])
