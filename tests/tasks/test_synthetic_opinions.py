"""The rendered opinions of the synthetic splits."""

import hashlib
from collections import Counter, defaultdict
from itertools import islice

import pytest

from kosmos_tasks.synthetic.opinions import ADJECTIVES, NEGATED, VERBS, Opinion, font, opinions, render, rows, wrap
from kosmos_tasks.synthetic.recipe import Split


def drawn(split: Split, count: int, seed: int = 0) -> list[Opinion]:
    return [opinion for _, opinion in islice(opinions(split, seed), count)]


def words(text: str) -> list[str]:
    return text.replace(",", "").split()


def test_labels_are_balanced_and_texts_have_three_to_eight_words() -> None:
    texts = list(rows("test", 300))
    assert 130 <= sum(row["label"] for row in texts) <= 170
    assert all(3 <= len(row["text"].split()) <= 8 for row in texts)
    assert len({word for row in texts for word in words(row["text"])}) > 100


def test_the_label_follows_from_polar_words_and_negation() -> None:
    polarity = {word: label for label in (0, 1) for word in (*ADJECTIVES[label], *VERBS[label])}
    negations = {"not", "never", "nobody", "hardly", "far"}
    negated = 0
    for opinion in drawn("train", 2000):
        said = [polarity[word] for word in words(opinion.text) if word in polarity]
        denied = bool(negations & set(words(opinion.text)))
        assert opinion.label == (1 - said[0] if denied else said[0])
        assert all(label == opinion.label for label in said[1:])
        negated += denied
    assert len(polarity) == sum(map(len, (*ADJECTIVES, *VERBS)))
    assert 0.28 < negated / 2000 < 0.39
    assert len(NEGATED) == 10


def test_no_single_word_and_no_length_tells_the_label() -> None:
    texts = drawn("test", 2000)
    lengths, negations = defaultdict[int, Counter[int]](Counter), defaultdict[bool, Counter[int]](Counter)
    for opinion in texts:
        lengths[len(words(opinion.text))][opinion.label] += 1
        negations[not {"not", "never"}.isdisjoint(words(opinion.text))][opinion.label] += 1
    assert sum(max(group.values()) for group in lengths.values()) / 2000 < 0.54
    assert sum(max(group.values()) for group in negations.values()) / 2000 < 0.54
    carried = Counter((word, opinion.label) for opinion in texts for word in set(words(opinion.text)))
    for word in {word for word, _ in carried}:
        both = carried[word, 0], carried[word, 1]
        if sum(both) >= 100:
            assert max(both) / sum(both) < 0.6, word


def test_a_guess_by_the_words_without_negation_stays_below_three_quarters() -> None:
    polarity = {word: label for label in (0, 1) for word in (*ADJECTIVES[label], *VERBS[label])}
    texts = drawn("test", 2000)
    first = [next(polarity[word] for word in words(opinion.text) if word in polarity) for opinion in texts]
    assert sum(guess == opinion.label for guess, opinion in zip(first, texts, strict=True)) / 2000 < 0.75


def test_no_combination_of_content_words_is_on_both_sides() -> None:
    tested = {opinion.carried for opinion in drawn("test", 2000)}
    for seed in (0, 7):
        assert not tested & {opinion.carried for opinion in drawn("train", 4000, seed)}


def test_a_line_breaks_between_words() -> None:
    assert wrap("a dull  plot", font(16), 60) == ["a dull", "plot"]
    assert wrap("unforgettable", font(16), 60) is None


def test_a_sentence_of_55_words_fits_224_pixels_with_its_border_white() -> None:
    image = render(" ".join(["interesting"] * 55), 224)
    assert image.size == (224, 224)
    assert image.getextrema() == ((0, 255),) * 3
    ink = image.convert("L").point([255 - level for level in range(256)]).getbbox()
    assert ink is not None
    assert 5 <= ink[0] < ink[2] <= 219
    assert 5 <= ink[1] < ink[3] <= 219


def test_a_text_too_long_for_the_image_is_refused_not_cut() -> None:
    with pytest.raises(ValueError, match="a text of 5000 characters does not fit an image of 96 pixels"):
        render("dull " * 1000, 96)


def test_longer_texts_are_drawn_smaller_but_short_ones_not_huge() -> None:
    def ink(text: str) -> int:
        box = render(text, 224).convert("L").point([255 - level for level in range(256)]).getbbox()
        assert box is not None
        return box[3] - box[1]

    assert ink("I") <= 224 // 6
    assert ink("I " * 300) > 100


def test_a_long_text_has_the_same_pixels_on_every_machine() -> None:
    image = render("it 's a charming and often affecting journey , très naïve : " * 4, 224)
    assert hashlib.sha256(image.tobytes()).hexdigest()[:16] == "1027e120cd02e3c6"
