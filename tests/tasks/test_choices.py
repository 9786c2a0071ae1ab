"""Choosing among texts: what is asked, ties, rules and their scores, endings in several contexts."""

import pytest

from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.sample import Sample
from kosmos_tasks.families.multiple_choice import asked, asked_in_context, chosen, ranked, ranked_in_context


def likelihoods(*logprobs: float, tokens: tuple[int, ...] = ()) -> Likelihoods:
    return Likelihoods(logprobs, tokens or (1,) * len(logprobs), (False,) * len(logprobs))


def test_choices_follow_the_prompt_after_a_space() -> None:
    assert asked(Prompt("Q:"), ("yes", "no")) == [LogLikelihood(Prompt("Q:"), (" yes", " no"))]


def test_the_difference_rule_asks_without_the_prompt_too() -> None:
    _, alone = asked(Prompt("Q:"), ("yes", "no"), rule="difference")
    assert alone == LogLikelihood(Prompt("Answer:"), (" yes", " no"))
    outputs = [likelihoods(-3, -2), likelihoods(-5, -1)]
    assert chosen(("yes", "no"), outputs, target=0, rule="difference") == ("yes", 1.0)


def test_marks_have_the_names_of_their_rules_and_the_headline_comes_first() -> None:
    sample = Sample("s", Prompt("Q:"), target="a long choice", choices=("a long choice", "short"))
    # Sums -6 and -4; per character -6/13 and -4/5; per token -3 and -4.
    output = likelihoods(-6, -4, tokens=(2, 1))
    score = ranked(sample, [output], rule="mean per character", also=("mean per character", "sum"))
    assert list(score.values.items()) == [("acc_norm", 1.0), ("acc", 0.0)]
    assert score.answer == "a long choice"
    assert ranked(sample, [output], rule="mean per token").values == {"acc_per_token": 1.0}


def test_characters_are_those_of_the_choice_without_its_space() -> None:
    # Per character -2/1 and -3.5/2 = -1.75; with the space it would be -1 and -1.17.
    assert chosen(("a", "bb"), [likelihoods(-2, -3.5)], target=1, rule="mean per character") == ("bb", 1.0)


def test_ties_share_credit_and_are_named_once() -> None:
    output = likelihoods(-1, -1, -2)
    assert chosen(("x", "y", "z"), [output], target=1) == ("x=y", 0.5)
    assert chosen(("x", "x", "z"), [output], target=1) == ("x", 0.5)


def test_an_ending_is_asked_for_after_each_context_and_the_demonstrations() -> None:
    sample = Sample("s", Prompt("Ann"), "ran.", (), ("Ann", "Bea"), extra={"contexts": ("Ann", "Bea"), "label": 0})
    shot = Sample("t", Prompt("Cid"), "sat.")
    assert asked_in_context(sample, [shot]) == [
        LogLikelihood(Prompt("Cid sat.\n\nAnn"), (" ran.",)),
        LogLikelihood(Prompt("Cid sat.\n\nBea"), (" ran.",)),
    ]
    assert ranked_in_context(sample, [likelihoods(-2), likelihoods(-1)]).values == {"acc": 0.0}
    assert ranked_in_context(sample, [likelihoods(-1), likelihoods(-1)]).values == {"acc": 0.5}


def test_an_unknown_rule_is_a_bug() -> None:
    with pytest.raises(ValueError, match="'guess' is not one of"):
        chosen(("x",), [likelihoods(-1)], target=0, rule="guess")  # type: ignore[arg-type]
