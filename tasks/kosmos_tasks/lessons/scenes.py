"""Training data of kosmos-nano: the training side of the recipes, asked as the tasks ask.

A lesson is a list of samples, which training reads as one document in the form of few-shot prompts: prompt, answer,
line break, prompt, answer. Some ask more about a picture than its task does (what an opinion says, what a matrix
wants in words). Each function is an endless stream, ``(seed) -> lessons``; another seed gives another one, and no item
of a test side occurs in any.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import count, islice
from typing import TYPE_CHECKING

from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.sample import Sample
from kosmos_tasks.synthetic import digits as handwriting
from kosmos_tasks.synthetic import memes as robots
from kosmos_tasks.synthetic import opinions as reviews
from kosmos_tasks.synthetic import scene_captions, scene_questions
from kosmos_tasks.synthetic.recipe import side
from kosmos_tasks.synthetic.scenes import SIDE, Scene, draw, scenes

if TYPE_CHECKING:
    import PIL.Image

Lesson = list[Sample]

PLAINEST = 0.75
"""The share of pictures whose caption is their first reference, as in a demonstration of the task."""


READ = "Question: what does the opinion say? Answer:"
HATEFUL = "Question: does this picture contain real hate speech? Answer:"


def asked(*prompt: str | Image | Prompt, answer: str) -> Sample:
    """Return a sample whose answer is known."""
    return Sample("", Prompt(*prompt), target=answer)


def captions(seed: int) -> Iterator[Lesson]:
    """Yield scenes described, one or a few in a lesson."""
    rng = random.Random(f"lessons/captions/{seed}")
    pictures = scenes("train", seed)
    while True:
        yield [_caption(next(pictures)[1], rng) for _ in range(rng.choices((1, 2, 4), (8, 1, 1))[0])]


def _caption(scene: Scene, rng: random.Random) -> Sample:
    first, *others = scene_captions.references(scene, rng)
    text = first if rng.random() < PLAINEST else rng.choice(others)
    return asked(picture(draw(scene)), "An image of", answer=text)


def things(seed: int) -> Iterator[Lesson]:
    """Yield captions of single things, from which colors and shapes are learned first."""
    rng = random.Random(f"lessons/things/{seed}")
    return ([_caption(scene, rng)] for _, scene in scenes("train", seed) if len(scene.things) == 1)


def questions(seed: int) -> Iterator[Lesson]:
    """Yield questions about scenes: up to six about the same one, or one about each of a few."""
    rng = random.Random(f"lessons/questions/{seed}")
    tally: Counter[tuple[str, str]] = Counter()
    pictures = scenes("train", seed)
    while True:
        few = rng.choices((1, 2, 4), (8, 1, 1))[0]
        lesson: Lesson = []
        for _, scene in (next(pictures) for _ in range(few)):
            lesson += _questions(scene, tally, rng, number=6 if few == 1 else 1)
        yield lesson


def _questions(scene: Scene, tally: Counter[tuple[str, str]], rng: random.Random, *, number: int) -> Iterator[Sample]:
    found = scene_questions.askable(scene, rng)
    shown: tuple[Image, ...] = (picture(draw(scene)),)
    for _ in range(number):
        question = scene_questions.fairest(found, tally, rng)
        if question is None:
            question = rng.choice(found)
        found = [other for other in found if other.type != question.type]
        tally[question.type, question.answer] += 1
        yield asked(*shown, f"Question: {question.text} Answer:", answer=question.answer)
        shown = ()
        if not found:
            return


def opinions(seed: int) -> Iterator[Lesson]:
    """Yield rendered opinions: their sentiment and their words, in either order, or the sentiments of a few."""
    rng = random.Random(f"lessons/opinions/{seed}")
    texts = reviews.opinions("train", seed)
    while True:
        few = rng.choices((1, 2, 4), (8, 1, 1))[0]
        drawn = [(opinion, picture(reviews.render(opinion.text))) for _, opinion in (next(texts) for _ in range(few))]
        lesson = [_sentiment(opinion, shown) for opinion, shown in drawn]
        if few == 1:
            opinion, shown = drawn[0]
            if rng.random() < 0.7:
                lesson.append(asked(READ, answer=opinion.text))
            else:
                lesson = [asked(shown, READ, answer=opinion.text), _sentiment(opinion)]
        yield lesson


def sentiments(seed: int) -> Iterator[Lesson]:
    """Yield rendered opinions: the sentiments alone, of one or a few."""
    rng = random.Random(f"lessons/sentiments/{seed}")
    texts = reviews.opinions("train", seed)
    while True:
        few = rng.choices((1, 2, 4), (8, 1, 1))[0]
        drawn = (next(texts)[1] for _ in range(few))
        yield [_sentiment(opinion, picture(reviews.render(opinion.text))) for opinion in drawn]


def _sentiment(opinion: reviews.Opinion, *shown: Image) -> Sample:
    answer = ("negative", "positive")[opinion.label]
    return asked(*shown, "Question: what is the sentiment of the opinion? Answer:", answer=answer)


def words(seed: int) -> Iterator[Lesson]:
    """Yield one or two words of opinions, from which reading is learned first."""
    rng = random.Random(f"lessons/words/{seed}")
    known = vocabulary()
    while True:
        text = " ".join(rng.sample(known, rng.choice((1, 2))))
        yield [asked(picture(reviews.render(text)), READ, answer=text)]


@cache
def vocabulary() -> list[str]:
    """Return the words of opinions, in order."""
    texts = (opinion.text for _, opinion in islice(reviews.opinions("train"), 2000))
    return sorted({word for text in texts for word in text.split()})


def memes(seed: int) -> Iterator[Lesson]:
    """Yield memes: their words, and whether they are hateful, in either order."""
    rng = random.Random(f"lessons/memes/{seed}")
    for _, (text, label) in robots.memes("train", seed):
        shown, hateful = picture(reviews.render(text)), ("no", "yes")[label]
        first, second = rng.sample([(READ, text), (HATEFUL, hateful)], 2)
        yield [asked(shown, first[0], answer=first[1]), asked(second[0], answer=second[1])]


def unclear(seed: int) -> Iterator[Lesson]:
    """Yield questions about pictures that show nothing."""
    from PIL import Image

    rng = random.Random(f"lessons/unclear/{seed}")
    for _, scene in scenes("train", seed):
        question = rng.choice(scene_questions.askable(scene, rng)).text
        nothing = Image.new("RGB", (SIDE, SIDE), tuple(rng.choices(range(64), k=3)))
        yield [asked(picture(nothing), f"Question: {question} Answer:", answer="unanswerable")]


def digits(seed: int) -> Iterator[Lesson]:
    """Yield handwritten digits, shifted, turned, scaled and blurred, because there are few."""
    rng = random.Random(f"lessons/digits/{seed}")
    known = _known_digits()
    while True:
        chosen = rng.sample(known, rng.choices((1, 2, 4), (6, 1, 1))[0])
        yield [
            asked(picture(_shaken(handwriting.draw(digit), rng)), "The photo of the", answer=_digit_name(digit))
            for digit in chosen
        ]


def _digit_name(digit: handwriting.Digit) -> str:
    return handwriting.NAMES[digit.label]


@cache
def _known_digits() -> list[handwriting.Digit]:
    held_out = handwriting.TEST_SHARE
    return [digit for digit in handwriting.digits() if side(digit.pixels, held_out) == "train"]


def _shaken(drawn: PIL.Image.Image, rng: random.Random) -> PIL.Image.Image:
    from PIL import Image

    width, height = drawn.size
    wide, high, slant = rng.uniform(0.88, 1.15), rng.uniform(0.88, 1.15), rng.uniform(-0.2, 0.2)
    right, down = rng.uniform(-7, 7), rng.uniform(-7, 7)
    across, along = width / 2 * (1 - wide - slant) + right, height / 2 * (1 - high) + down
    matrix = (wide, slant, across, 0.0, high, along)
    turned = drawn.rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR, fillcolor=(255, 255, 255))
    return turned.transform(
        drawn.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=(255, 255, 255)
    )


def sentences(seed: int) -> Iterator[str]:
    """Yield text alone: captions, opinions and questions with their answers."""
    rng = random.Random(f"lessons/sentences/{seed}")
    pictures, texts = scenes("train", seed), reviews.opinions("train", seed)
    for turn in count():
        if turn % 2:
            yield next(texts)[1].text
            continue
        _, scene = next(pictures)
        yield f"An image of {rng.choice(scene_captions.references(scene, rng))}"


def picture(drawn: PIL.Image.Image) -> Image:
    """Return a drawing as the image of a prompt."""
    from io import BytesIO

    written = BytesIO()
    drawn.save(written, format="PNG", compress_level=1)
    return Image(written.getvalue())
