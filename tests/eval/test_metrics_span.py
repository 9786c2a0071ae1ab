"""Exact match and F1 over words: what is folded, what is shared, what happens where nothing is left."""

import pytest

from kosmos_eval.metrics.span import exact, f1, words


@pytest.mark.parametrize(
    ("output", "target", "same"),
    [
        ("Penguin Books, Ltd.", "penguin books ltd", 1.0),
        ("an apple", "the apple", 1.0),
        ("apple pie", "apple", 0.0),
        ('190.7 "', "1907", 1.0),  # punctuation goes, the point of a number with it
        ("the", "", 1.0),
        ("", "yes", 0.0),
    ],
)
def test_exact_match_folds_case_punctuation_and_articles(output: str, target: str, same: float) -> None:
    assert exact(output, target) == same


@pytest.mark.parametrize(
    ("output", "target", "value"),
    [
        ("red lamp", "lamp", 2 / 3),  # precision 1/2, recall 1
        ("red red lamp", "red lamp lamp", 2 / 3),  # two of three shared, as often as both have them
        ("blue", "red", 0.0),
        ("a", "the", 1.0),
        ("a", "red", 0.0),
    ],
)
def test_f1_counts_shared_words(output: str, target: str, value: float) -> None:
    assert f1(output, target) == pytest.approx(value)


def test_articles_within_words_stay() -> None:
    assert words("Theatre and an antler") == ["theatre", "and", "antler"]
