from collections import Counter
from random import Random

import pytest
import torch

from kosmos_eval.models.decoding import drawn, stream
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Generate, Sampling

SHARES = torch.tensor([0.2, 0.5, 0.0, 0.3])


def _drawn(uniform: list[float], sampling: Sampling) -> list[int]:
    return drawn(SHARES.log().expand(len(uniform), -1), [sampling] * len(uniform), uniform).tolist()


def test_numbers_below_a_tokens_share_draw_it_the_most_probable_first() -> None:
    assert _drawn([0.0, 0.49, 0.51, 0.79, 0.81, 0.999999], Sampling()) == [1, 1, 3, 3, 0, 0]


def test_top_p_leaves_the_most_probable_tokens_that_reach_it_and_at_least_one() -> None:
    assert _drawn([0.0, 0.6, 0.63, 0.999], Sampling(top_p=0.8)) == [1, 1, 3, 3]  # 0.5 and 0.3 of 0.8
    assert set(_drawn([0.0, 0.5, 0.999], Sampling(top_p=0.01))) == {1}


def test_temperature_sharpens_and_flattens() -> None:
    """Squared, the shares are 4, 25 and 9 of 38."""
    assert _drawn([24 / 38, 26 / 38, 33 / 38, 35 / 38], Sampling(temperature=0.5)) == [1, 3, 3, 0]


def test_what_is_forbidden_is_never_drawn_and_the_rest_by_its_share() -> None:
    random = Random(0)
    counts = Counter(_drawn([random.random() for _ in range(4000)], Sampling()))
    assert counts[2] == 0
    assert [counts[token] / 4000 for token in (0, 1, 3)] == pytest.approx([0.2, 0.5, 0.3], abs=0.03)


def test_searches_of_one_batch_are_drawn_each_by_its_own_rule() -> None:
    rules = [Sampling(), Sampling(top_p=0.1), Sampling(temperature=0.01)]
    assert drawn(SHARES.log().expand(3, -1), rules, [0.9, 0.9, 0.9]).tolist() == [0, 1, 1]


def test_the_numbers_follow_from_seed_and_prompt_alone() -> None:
    def first(text: str, seed: int, tokens: int = 5) -> float:
        return stream(Generate(Prompt(text), tokens, sampling=Sampling(seed=seed))).random()

    assert first("a", 0) == first("a", 0, tokens=9)
    assert len({first("a", 0), first("a", 1), first("b", 0)}) == 3


def test_what_cannot_be_sampled_is_refused_when_it_is_written() -> None:
    for wrong in ({"temperature": 0.0}, {"top_p": 0.0}, {"top_p": 1.1}):
        with pytest.raises(ValueError, match="temperature above 0 and a top_p"):
            Sampling(**wrong)
    with pytest.raises(ValueError, match="drawn at random or searched with 3 beams"):
        Generate(Prompt("a"), beams=3, sampling=Sampling())
